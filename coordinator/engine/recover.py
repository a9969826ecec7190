"""Takes up transactions that are due and that nobody holds, and lets the ordinary driver run them.

This is the only recovery there is: after a crash, after a long wait, after a lost claim. What this
process drives already has merely had its claim renewed by being claimed again.
"""

from __future__ import annotations

from coordinator.domain.transaction import as_recovered
from coordinator.engine.drive import Driver
from coordinator.ports import Store

BATCH = 200
"""How many transactions one pass claims, if there is room."""
LEAST = 10
"""How many it claims even without room, so that overload never stops recovery."""


class Recover:
    """One pass over the table. `max_in_flight` bounds what one process takes up."""

    def __init__(self, *, store: Store, driver: Driver, max_in_flight: int) -> None:
        self._store = store
        self._driver = driver
        self._max_in_flight = max_in_flight

    async def run_once(self) -> int:
        """Claims a batch and starts driving it; returns how many were claimed."""
        room = max(LEAST, min(BATCH, self._max_in_flight - self._driver.in_flight))
        claimed = await self._store.claim_due(room)
        for transaction in claimed:
            self._driver.start(as_recovered(transaction))
        return len(claimed)
