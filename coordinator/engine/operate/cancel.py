"""Releases a payment or a refund that is not decided yet, by an operator's order."""

from __future__ import annotations

from coordinator.domain.entries import Act
from coordinator.domain.errors import LostTheRace
from coordinator.domain.ids import TransactionId
from coordinator.domain.machine import RELEASED, Event
from coordinator.domain.moves import advance
from coordinator.domain.operating import noted, unheld
from coordinator.domain.permitted import may_cancel
from coordinator.domain.transaction import Draft, Failure, as_recovered
from coordinator.engine.operate.desk import RACES, Desk, Order, require
from coordinator.engine.operate.hold import Done


class CancelByOperator:
    """The use case."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def __call__(self, transaction_id: TransactionId, order: Order) -> Done:
        """Makes the release durable, takes a hold off, and has the transaction driven.

        Raises TransactionNotFound, ChangedMeanwhile, AlreadyDecided, AlreadySettled, FlowNotServed,
        LostTheRace, StoreUnavailable.
        """
        for _ in range(RACES):
            found = await self._desk.found(transaction_id, order.if_version)
            if found.state in RELEASED:
                return Done(found, changed=False)
            now, flow = self._desk.now(), self._desk.flow_of(found)
            require(found, may_cancel(found, flow))
            assert flow is not None, "it may not be cancelled without"
            draft = Draft(as_recovered(found))
            if found.hold is not None:
                draft = unheld(draft, order, now)
            draft = noted(draft, Act.CANCEL, order, now)
            failure = Failure("CANCELLED_BY_OPERATOR", order.reason)
            draft = advance(draft, flow, (Event.RELEASE,), now, failure)
            done = await self._desk.commit(found, draft, order, drive=True)
            if done is not None:
                return Done(done, changed=True)
        raise LostTheRace(transaction_id)
