"""Takes in what a participant reports by itself: what was pending is decided, or a late success.

A report is a hint. What is pending is asked for again at once; and when a transaction is released,
but the participant, asked again, still holds its part, that is undone, journaled and announced
before the report is answered. A report that is not answered is repeated, so nothing of this needs a
memory of its own.
"""

from __future__ import annotations

from collections.abc import Mapping

from coordinator.domain.decide import Call
from coordinator.domain.errors import LostTheRace, NotFound, NotUndone
from coordinator.domain.flow import Flow
from coordinator.domain.ids import TransactionId
from coordinator.domain.machine import LIVE, RELEASED
from coordinator.domain.moves import attempted, late_success_undone
from coordinator.domain.outcome import (
    UNKNOWN_TRANSACTION,
    Applied,
    Outcome,
    Pending,
    Refused,
    Unknown,
)
from coordinator.domain.phase import Operation, Phase
from coordinator.domain.record import evolve
from coordinator.domain.step import Result, Step, StepStatus
from coordinator.domain.transaction import Draft, Transaction, as_recovered, flow_of
from coordinator.engine.drive import Driver
from coordinator.ports import Clock, Committed, Observer, Participant, Store

_OVER = {StepStatus.CANCELLED, StepStatus.REFUSED}
RACES = 8
"""How often a report that lost a race is looked at again."""


class Report:
    """The use case."""

    def __init__(
        self,
        *,
        store: Store,
        driver: Driver,
        participants: Mapping[str, Participant],
        flows: Mapping[str, Flow],
        clock: Clock,
        observer: Observer,
    ) -> None:
        self._observer = observer
        self._store = store
        self._driver = driver
        self._participants = participants
        self._flows = flows
        self._clock = clock

    async def __call__(self, participant: str, transaction_id: TransactionId, phase: str) -> None:
        """Deals with a report of `participant` on its step; returns when that is durable.

        Raises NotFound when it has no such step, NotUndone when it still holds what it should not,
        LostTheRace, StoreUnavailable: the report is to be repeated.
        """
        for _ in range(RACES):
            found = await self._store.get(transaction_id)
            step, its = self._theirs(found, participant, phase)
            if found is None or step is None or its is None:
                raise NotFound(transaction_id)
            if step.status in _OVER and (found.state in RELEASED or step.dropped):
                return await self._undo(found, step, its)
            if found.state in RELEASED or step.dropped:
                # It is being cancelled; whether that came before this success is not known yet.
                raise NotUndone(found.id, phase)
            if step.status in _OVER or found.state not in LIVE or step.next_attempt_at is None:
                return None  # it is known already, or being asked for just now
            if await self._ask_now(found, step):
                return None
        raise LostTheRace(transaction_id)

    def _theirs(
        self, found: Transaction | None, participant: str, phase: str
    ) -> tuple[Step | None, Phase | None]:
        if found is None or found.flow not in self._flows:
            return None, None
        its = flow_of(self._flows, found).by_name.get(phase)
        if its is None or its.participant != participant:
            return None, None
        return next((step for step in found.steps if step.phase == phase), None), its

    async def _ask_now(self, found: Transaction, step: Step) -> bool:
        """Makes the step due, and has it driven; False when somebody else was faster."""
        now = self._clock.now()
        recovered = as_recovered(found)
        steps = tuple(
            evolve(each, next_attempt_at=None) if each.phase == step.phase else each
            for each in recovered.steps
        )
        draft = Draft(evolve(recovered, steps=steps))
        change = draft.change(now=now, due_at=now, keep_claim=True)
        return isinstance(await self._driver.submit(change), Committed)

    async def _undo(self, found: Transaction, step: Step, phase: Phase) -> None:
        """Cancels what is held although the step is over; nothing when nothing is held."""
        known = await self._call(found, step, phase, Operation.QUERY)
        knows_nothing = isinstance(known, Unknown) and known.code == UNKNOWN_TRANSACTION
        if isinstance(known, Refused) or knows_nothing:
            return
        results = [Result(phase.name, Operation.QUERY, known)]
        undone: Outcome = known
        if isinstance(known, Applied | Pending):
            undone = await self._call(found, step, phase, Operation.CANCEL)
            results.append(Result(phase.name, Operation.CANCEL, undone))
        if not isinstance(undone, Applied):
            # Unknown is no proof of anything: whoever reports asks again.
            error = NotUndone(found.id, phase.name)
            self._observer.troubled(f"late success of {phase.name}", error, found.id)
            raise error
        await self._journal(found.id, step, results)

    async def _call(
        self, found: Transaction, step: Step, phase: Phase, operation: Operation
    ) -> Outcome:
        of = found.refund_of
        payment_id = None if of is None else of.payment_id
        call = Call(phase, operation, step, phase.retry.timeout_s, payment_id)
        participant = self._participants[phase.participant]
        return await participant.perform(found.id, call, found.reserved_until)

    async def _journal(
        self, transaction_id: TransactionId, step: Step, results: list[Result]
    ) -> None:
        """Writes down what was done, however often others change the row meanwhile."""
        for _ in range(RACES):
            found = await self._store.get(transaction_id)
            assert found is not None, "nothing is ever deleted"
            now = self._clock.now()
            draft = attempted(Draft(found, stored=found.steps), results, now)
            draft = late_success_undone(draft, step, now)
            change = draft.change(now=now, due_at=found.due_at, keep_claim=False)
            if isinstance(await self._store.commit(change), Committed):
                return
        raise LostTheRace(transaction_id)
