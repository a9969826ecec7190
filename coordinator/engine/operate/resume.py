"""Retries a transaction now, rather than waiting out its backoff."""

from __future__ import annotations

from coordinator.domain.errors import LostTheRace
from coordinator.domain.ids import TransactionId
from coordinator.domain.operating import resumed
from coordinator.domain.permitted import may_resume
from coordinator.domain.transaction import Draft, Transaction, as_recovered
from coordinator.engine.operate.desk import RACES, Desk, Order, require


class Resume:
    """The use case."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def __call__(self, transaction_id: TransactionId, order: Order) -> Transaction:
        """Makes every unfinished step due at once, and has the transaction driven.

        Raises TransactionNotFound, ChangedMeanwhile, NotAllowed, FlowNotServed, LostTheRace,
        StoreUnavailable.
        """
        for _ in range(RACES):
            found = await self._desk.found(transaction_id, order.if_version)
            now, flow = self._desk.now(), self._desk.flow_of(found)
            driven_by = await self._desk.driven_by(found)
            require(found, may_resume(found, flow, driven_by, now))
            draft = resumed(Draft(as_recovered(found)), order, now)
            done = await self._desk.commit(found, draft, order, drive=True)
            if done is not None:
                return done
        raise LostTheRace(transaction_id)
