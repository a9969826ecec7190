"""Keeps the claims of what this process drives, however long its calls take.

Every commit renews its transaction's claim, so most claims need nothing. Here those are renewed
whose transaction has not been committed for a while, many in one statement. What another process
holds by now is dropped: it goes on there.
"""

from __future__ import annotations

from coordinator.engine.drive import Driver
from coordinator.ports import Store

BATCH = 500
"""How many claims one statement renews."""
SHARE = 1 / 3
"""How much of its lease a claim may have used when it is renewed; also how much of the lease lies
between two passes, so that a claim is renewed when at least a third of its lease is left."""


class Renew:
    """One pass over what the driver drives. `lease_s` is how long a claim lasts, in seconds."""

    def __init__(self, *, store: Store, driver: Driver, lease_s: float) -> None:
        self._store = store
        self._driver = driver
        self.interval_s = lease_s * SHARE

    async def run_once(self) -> int:
        """Renews what has to be; returns 0: the next pass is due after the interval in any case."""
        stale = self._driver.not_committed_for(self.interval_s)
        for start in range(0, len(stale), BATCH):
            batch = stale[start : start + BATCH]
            ours = await self._store.renew_claims([each.id for each in batch])
            for each in batch:
                if each.id not in ours:
                    self._driver.lose(each)
        return 0
