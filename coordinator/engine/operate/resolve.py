"""Says of a step in doubt what became of it, after its participant was asked once more.

What counts is decided in `domain.resolving`. A pivot that was not captured is cancelled at its
participant before the answer is written down. A crash between the two leaves the payment CAPTURING
with a pivot whose Confirm can only fail: the same answer, given again, ends it, and so does the
Query that `decide` asks from time to time.
"""

from __future__ import annotations

from collections.abc import Mapping

from coordinator.domain.decide import Call
from coordinator.domain.errors import InvalidRequest, LostTheRace, Violation
from coordinator.domain.flow import Flow
from coordinator.domain.ids import TransactionId
from coordinator.domain.moves import attempted
from coordinator.domain.operator_errors import (
    AnswerNotPossible,
    ContradictedByParticipant,
    EvidenceRequired,
    ParticipantSilent,
)
from coordinator.domain.outcome import Applied, Outcome, Refused, Unknown, outcome_name
from coordinator.domain.permitted import StepAnswer, answers, may_resolve, open_calls
from coordinator.domain.phase import Operation
from coordinator.domain.record import Record, evolve
from coordinator.domain.resolving import (
    CancelFirst,
    Contradicted,
    NeedsEvidence,
    Said,
    judge,
    resolved,
    said,
)
from coordinator.domain.step import Result, Step
from coordinator.domain.transaction import Draft, Transaction
from coordinator.engine.operate.desk import RACES, Desk, Order, require
from coordinator.ports import Participant


class Resolved(Record, frozen=True):
    """The transaction as it stands, and what the participant had said."""

    transaction: Transaction
    said: Said


class Resolve:
    """The use case."""

    def __init__(self, *, desk: Desk, participants: Mapping[str, Participant]) -> None:
        self._desk = desk
        self._participants = participants

    async def __call__(
        self, transaction_id: TransactionId, phase: str, answer: StepAnswer, order: Order
    ) -> Resolved:
        """Writes the answer down if it counts, and has the transaction driven unless it is held.

        Raises InvalidRequest for an unknown phase, TransactionNotFound, ChangedMeanwhile,
        NotAllowed, ParticipantSilent, FlowNotServed, LostTheRace, StoreUnavailable.
        """
        for _ in range(RACES):
            found = await self._desk.found(transaction_id, order.if_version)
            call = self._open_call(found, phase, answer)
            step = call.step
            known = await self._ask(found, call, Operation.QUERY)
            word, results = said(known), [Result(phase, Operation.QUERY, known)]
            judgement = judge(found.state, answer, word, order)
            if isinstance(judgement, Contradicted):
                reason = f"{call.phase.title} was asked, and says otherwise: {judgement.reason}"
                raise ContradictedByParticipant(found.id, reason, participant_said=word.value)
            if isinstance(judgement, NeedsEvidence):
                raise EvidenceRequired(found.id, judgement.reason, participant_said=word.value)
            if isinstance(judgement, CancelFirst):
                undone = await self._ask(found, call, Operation.CANCEL)
                results.append(Result(phase, Operation.CANCEL, undone))
                if not isinstance(undone, Applied):
                    await self._note(found, results, order)
                    raise ParticipantSilent(found.id, phase, _why(undone))
            if isinstance(known, Applied):
                step = evolve(step, reference=known.reference or step.reference)
            now = self._desk.now()
            draft = attempted(Draft(found, stored=found.steps), results, now)
            draft = resolved(draft, step, answer, order, now)
            done = await self._desk.commit(found, draft, order, drive=found.hold is None)
            if done is not None:
                return Resolved(done, word)
        raise LostTheRace(transaction_id)

    def _open_call(self, found: Transaction, phase: str, answer: StepAnswer) -> Call:
        """The call that is in doubt. Raises what refuses the answer before anybody is asked."""
        now, flow = self._desk.now(), self._desk.flow_of(found)
        _require_step(found, flow, phase)
        require(found, may_resolve(found, flow, now))
        [its] = [each for each in answers(found, flow, now) if each.phase == phase]
        if answer not in its.possible:
            possible = " or ".join(each.value for each in its.possible) or "none"
            reason = f"{phase} cannot be resolved as {answer}; possible: {possible} ({its.reason})"
            raise AnswerNotPossible(found.id, reason, phase=phase)
        [call] = [each for each in open_calls(found, flow, now) if each.phase.name == phase]
        return call

    async def _ask(self, found: Transaction, call: Call, operation: Operation) -> Outcome:
        timeout_s = call.phase.retry.timeout_s
        asked = evolve(call, operation=operation, timeout_s=timeout_s)
        try:
            participant = self._participants[call.phase.participant]
            return await participant.perform(found.id, asked, found.reserved_until)
        except Exception as error:  # noqa: BLE001 - whatever it raises, it is no answer
            return Unknown("ADAPTER_ERROR", type(error).__name__)

    async def _note(self, found: Transaction, results: list[Result], order: Order) -> None:
        """Writes the calls down although they settled nothing: the Cancel may have arrived.

        Once: when somebody else is faster, the caller is about to be told to repeat it anyway.
        """
        now = self._desk.now()
        draft = attempted(Draft(found, stored=found.steps), results, now)
        await self._desk.commit(found, draft, order, drive=found.hold is None)


def _require_step(found: Transaction, flow: Flow | None, phase: str) -> None:
    known = [step.phase for step in found.steps if _is_called(step)]
    if flow is not None and phase not in known:
        text = f"is no phase of this transaction that calls a participant; {', '.join(known)} are"
        raise InvalidRequest([Violation("phase", "UNKNOWN_PHASE", text)])


def _is_called(step: Step) -> bool:
    return step.amount is not None


def _why(outcome: Outcome) -> str:
    code = outcome.code if isinstance(outcome, Unknown | Refused) else ""
    return f"{outcome_name(outcome)}{' ' if code else ''}{code}"
