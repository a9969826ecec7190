"""Stops a transaction where it stands, and lets it go on."""

from __future__ import annotations

from coordinator.domain.errors import LostTheRace
from coordinator.domain.ids import TransactionId
from coordinator.domain.operating import held, unheld
from coordinator.domain.permitted import may_hold
from coordinator.domain.record import Record
from coordinator.domain.transaction import Draft, Transaction, as_recovered
from coordinator.engine.operate.desk import RACES, Desk, Order, require


class Done(Record, frozen=True):
    """The transaction as it stands; `changed` is False when it stood so before."""

    transaction: Transaction
    changed: bool


class Hold:
    """The use case. Whoever drives the transaction loses the race for its next commit."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def __call__(self, transaction_id: TransactionId, order: Order) -> Done:
        """Holds it; an operator's own hold is left as it was.

        Raises TransactionNotFound, ChangedMeanwhile, AlreadySettled, HeldByOperator, LostTheRace,
        StoreUnavailable.
        """
        for _ in range(RACES):
            found = await self._desk.found(transaction_id, order.if_version)
            if found.hold is not None and found.hold.actor == order.actor:
                return Done(found, changed=False)
            require(found, may_hold(found))
            draft = held(Draft(as_recovered(found)), order, self._desk.now())
            done = await self._desk.commit(found, draft, order, drive=False)
            if done is not None:
                return Done(done, changed=True)
        raise LostTheRace(transaction_id)


class Unhold:
    """The use case."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def __call__(self, transaction_id: TransactionId, order: Order) -> Done:
        """Takes the hold off, whoever's it is, and has the transaction driven.

        Raises TransactionNotFound, ChangedMeanwhile, LostTheRace, StoreUnavailable.
        """
        for _ in range(RACES):
            found = await self._desk.found(transaction_id, order.if_version)
            if found.hold is None:
                return Done(found, changed=False)
            draft = unheld(Draft(as_recovered(found)), order, self._desk.now())
            # Whoever does not serve its flow leaves it to those who do.
            drive = self._desk.flow_of(found) is not None
            done = await self._desk.commit(found, draft, order, drive=drive)
            if done is not None:
                return Done(done, changed=True)
        raise LostTheRace(transaction_id)
