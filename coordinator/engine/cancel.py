"""Cancels a payment that is not decided yet."""

from __future__ import annotations

from collections.abc import Mapping

from coordinator.domain.decide import may_cancel
from coordinator.domain.errors import LostTheRace, NotFound, WrongState
from coordinator.domain.flow import Flow
from coordinator.domain.ids import TransactionId
from coordinator.domain.machine import CANCELLABLE, RELEASED, Event, State
from coordinator.domain.moves import advance
from coordinator.domain.transaction import Draft, Failure, Transaction, as_recovered
from coordinator.engine.drive import Driver
from coordinator.engine.flows import served
from coordinator.ports import Clock, Committed, Store

RACES = 8
"""How often a cancel that lost a race is tried again; a payment changes a few times at most."""


class Cancel:
    """The use case."""

    def __init__(
        self,
        *,
        store: Store,
        driver: Driver,
        flows: Mapping[str, Flow],
        clock: Clock,
    ) -> None:
        self._store = store
        self._driver = driver
        self._flows = flows
        self._clock = clock

    async def __call__(
        self, caller: str, transaction_id: TransactionId, failure: Failure
    ) -> Transaction:
        """Makes the release durable and has it driven; a released payment is returned as it is.

        Raises NotFound, WrongState once the payment is decided, FlowNotServed, LostTheRace,
        StoreUnavailable.
        """
        for _ in range(RACES):
            found = await self._store.get(transaction_id)
            if found is None or found.caller != caller or found.refund_of is not None:
                raise NotFound(transaction_id)
            if found.state in RELEASED:
                return found
            if not may_cancel(found):
                allowed = [state.value for state in State if state in CANCELLABLE]
                raise WrongState(transaction_id, found.state, "cancel", allowed)
            now = self._clock.now()
            flow = served(self._flows, found)
            draft = advance(Draft(as_recovered(found)), flow, (Event.RELEASE,), now, failure)
            change = draft.change(now=now, due_at=now, keep_claim=True)
            result = await self._driver.submit(change)
            if isinstance(result, Committed):
                return result.transaction
        raise LostTheRace(transaction_id)
