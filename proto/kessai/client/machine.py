"""All that the client asks of the machine it runs on: the time, waiting, chance and fresh keys.

The client stands alone, so these are its own; nothing else in it touches them.
"""

from __future__ import annotations

import asyncio
import random  # noqa: TID251 - spreads retries out; nothing secret or durable depends on it
import time
import uuid


def now_s() -> float:
    """Seconds on a clock that never goes back; only differences mean anything."""
    return time.monotonic()  # noqa: TID251 - the client's own clock


def sleep(seconds: float) -> None:
    """Waits in this thread."""
    time.sleep(seconds)


async def sleep_async(seconds: float) -> None:
    """Waits in this task."""
    await asyncio.sleep(seconds)  # noqa: TID251 - the client's own clock


def chance() -> float:
    """Evenly spread over [0, 1)."""
    return random.random()  # noqa: S311 - spreads retries out


def new_key() -> str:
    """An idempotency key that nobody used before."""
    return str(uuid.uuid4())  # noqa: TID251 - the client's own identifiers
