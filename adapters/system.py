"""The real clock, identifiers and randomness: the only place that asks the machine for any of them.

Everything else takes these through `coordinator.ports`, so that the simulator can decide them.
"""

from __future__ import annotations

import asyncio
import random  # noqa: TID251 - the Randomness port's own implementation
import time
from datetime import UTC, datetime

import uuid6  # noqa: TID251 - the Ids port's own implementation

from coordinator.domain.ids import TransactionId


class SystemClock:
    """The machine's clock and the event loop's timers."""

    def now(self) -> datetime:
        """The time, in UTC, with its zone."""
        return datetime.now(UTC)  # noqa: TID251 - the Clock port's own implementation

    async def sleep(self, seconds: float) -> None:
        """Returns after `seconds`; other tasks run meanwhile."""
        await asyncio.sleep(seconds)  # noqa: TID251 - the Clock port's own implementation

    def monotonic(self) -> float:
        """Seconds of the machine's finest counter."""
        return time.perf_counter()


class SystemIds:
    """UUIDv7 (RFC 9562): later ones sort after earlier ones of the same process."""

    def transaction_id(self) -> TransactionId:
        """A new UUIDv7 in its canonical lower-case form."""
        return TransactionId(str(uuid6.uuid7()))


class SystemRandomness:
    """Jitter. It protects no secret, so a fast generator is enough."""

    def __init__(self) -> None:
        self._random = random.Random()  # noqa: S311 - jitter is not cryptography

    def draw(self) -> float:
        """Uniform in 0..1 (1 excluded)."""
        return self._random.random()
