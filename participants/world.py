"""The clock, waiting and new identifiers, in one place.

`participants/` stands alone (it imports nothing of the coordinator), so it cannot use the
coordinator's ports; this is its only module that touches what the style otherwise keeps behind
them.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime

import uuid6  # noqa: TID251  a tool on the participant's side has no Ids port


def now() -> datetime:
    """The time, in UTC, with its zone."""
    return datetime.now(UTC)  # noqa: TID251  this module adapts the clock


def elapsed_s() -> float:
    """Seconds from an arbitrary start; only differences mean something."""
    return time.monotonic()  # noqa: TID251  this module adapts the clock


async def sleep(seconds: float) -> None:
    """Returns after `seconds`."""
    await asyncio.sleep(seconds)  # noqa: TID251  this module adapts waiting


def new_transaction_id() -> str:
    """A new UUIDv7 in its canonical spelling. Only the conformance kit makes transaction IDs."""
    return str(uuid6.uuid7())
