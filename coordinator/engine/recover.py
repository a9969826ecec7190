"""Takes up transactions that are due and that nobody holds, and lets the ordinary driver run them.

This is the only recovery there is: after a crash, after a long wait, after a lost claim. What this
process drives already has merely had its claim renewed by being claimed again.

After an outage thousands are due at once. They are taken up gradually: only so many at a time are
under way, a window that starts small and grows by one for each that ended (so it doubles in the
time that one takes), and is small again once the database failed or the backlog is over. Neither
participants that have just come back nor new payments meet all of them at once.
"""

from __future__ import annotations

from collections.abc import Collection

from coordinator.domain.errors import StoreUnavailable
from coordinator.domain.ids import TransactionId
from coordinator.domain.transaction import as_recovered
from coordinator.engine.drive import Driver
from coordinator.ports import Clock, Store

SMALL = 50
LARGEST = 1000
"""How many that were taken up may be under way at once: at first, and at most."""
BATCH = 200
"""How many transactions one pass claims, if there is room."""
LEAST = 10
"""How many it claims even without room, so that overload never stops recovery."""
CROWD = 256
"""While so many commits are under way nothing is taken up: new payments wait for the same writer.
As many as one group of the writer holds."""
LOOK_S = 0.05
PATIENCE_S = 1.0
"""How often a pass without room looks again, and for how long, in seconds."""


class Recover:
    """One pass over the table. `max_in_flight` bounds what one process drives when it takes up.

    Only transactions of these `flows` are taken up: others are left to a process that serves them.
    """

    def __init__(
        self,
        *,
        store: Store,
        driver: Driver,
        flows: Collection[str],
        max_in_flight: int,
        clock: Clock,
    ) -> None:
        self._store = store
        self._flows = flows
        self._driver = driver
        self._max_in_flight = max_in_flight
        self._clock = clock
        self._window = SMALL
        self._under_way: set[TransactionId] = set()

    @property
    def window(self) -> int:
        """How many that were taken up may be under way now."""
        return self._window

    async def run_once(self) -> int:
        """Claims a batch and starts driving it; returns how many were claimed.

        Waits a little while there is no room.
        """
        asked = min(BATCH, await self._room())
        try:
            claimed = await self._store.claim_due(asked, self._flows)
        except StoreUnavailable:
            self._window = SMALL
            raise
        for transaction in claimed:
            self._driver.start(as_recovered(transaction))
            self._under_way.add(transaction.id)
        if len(claimed) < asked:
            self._window = SMALL
        return len(claimed)

    async def _room(self) -> int:
        """How many may be taken up; at least LEAST."""
        for _ in range(round(PATIENCE_S / LOOK_S)):
            ended = {each for each in self._under_way if not self._driver.drives(each)}
            self._under_way -= ended
            self._window = min(LARGEST, self._window + len(ended))
            room = min(
                self._window - len(self._under_way), self._max_in_flight - self._driver.in_flight
            )
            if room >= LEAST and self._driver.committing < CROWD:
                return room
            await self._clock.sleep(LOOK_S)
        return LEAST
