"""Between the messages of kessai.admin.v1 and the engine's values, both ways. Decides nothing."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from datetime import datetime, timedelta
from hashlib import sha256

from google.protobuf.duration_pb2 import Duration
from kessai.admin.v1 import admin_pb2 as pb
from kessai.payments.v1 import payments_pb2
from msgspec.structs import asdict

from coordinator.domain.entries import Act
from coordinator.domain.errors import InvalidRequest, Violation
from coordinator.domain.ids import TransactionId, parse_transaction_id
from coordinator.domain.permitted import Answers, StepAnswer, Verdict, WaitsFor
from coordinator.domain.transaction import JournalEntry, Step, Transaction
from coordinator.engine.operate.doctor import Check, CheckStatus
from coordinator.engine.operate.explain import Story
from coordinator.engine.operate.flows import FlowView
from coordinator.engine.operate.participants import ParticipantView
from coordinator.ports import BreakerState, Claim, Reach, TransactionQuery
from coordinator.rpc.mapping import (
    BAD_PAGE_TOKEN,
    DEFAULT_PAGE,
    STATES,
    STATES_BACK,
    STATUSES,
    Plain,
    minor_fields,
    money_fields,
    timestamp,
)

DEFAULT_LINES = 100
DEFAULT_COUNT = 10_000

ACTIONS: Mapping[Act, pb.OperatorAction] = {
    act: getattr(pb, f"OPERATOR_ACTION_{act.name}") for act in Act
}
ANSWERS: Mapping[StepAnswer, pb.StepAnswer] = {
    answer: getattr(pb, f"STEP_ANSWER_{answer.name}") for answer in StepAnswer
}
ANSWERS_BACK = {number: answer for answer, number in ANSWERS.items()}
BREAKERS: Mapping[BreakerState, pb.BreakerState] = {
    state: getattr(pb, f"BREAKER_STATE_{state.name}") for state in BreakerState
}
REACHABILITIES: Mapping[Reach, pb.Reachability] = {
    reach: getattr(pb, f"REACHABILITY_{reach.name}") for reach in Reach
}
CHECKS: Mapping[CheckStatus, pb.CheckStatus] = {
    status: getattr(pb, f"CHECK_STATUS_{status.name}") for status in CheckStatus
}


# --- what is asked ---------------------------------------------------------------------------


def query(
    filters: pb.TransactionFilter, phases: Mapping[str, tuple[str, ...]], now: datetime
) -> TransactionQuery:
    """The query of a valid filter. `phases` are those of each participant.

    Raises InvalidRequest for a participant that is not known, or a duration that is none.
    """
    return TransactionQuery(
        states=tuple(STATES_BACK[number] for number in filters.states),
        live=filters.live,
        attention=filters.needs_attention,
        held=filters.held,
        in_state_before=_before(filters, now),
        phases=_phases(filters.participant, phases),
        error=filters.error_code,
        caller=filters.caller,
        flow=filters.flow,
    )


def _before(filters: pb.TransactionFilter, now: datetime) -> datetime | None:
    if not filters.HasField("min_time_in_state"):
        return None
    try:
        return now - filters.min_time_in_state.ToTimedelta()
    except (ValueError, OverflowError):
        text = "must be a duration of at most a few thousand years"
        problem = Violation("filter.min_time_in_state", "OUT_OF_RANGE", text)
        raise InvalidRequest([problem]) from None


def _phases(participant: str, phases: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    if not participant:
        return ()
    if participant not in phases:
        text = f"is no participant of a flow that is served; {', '.join(sorted(phases))} are"
        raise InvalidRequest([Violation("filter.participant", "UNKNOWN_PARTICIPANT", text)])
    return phases[participant]


def page_after(request: pb.ListTransactionsRequest) -> TransactionId | None:
    """The transaction that the page follows. Raises InvalidRequest for a bad token."""
    if not request.page_token:
        return None
    try:
        text = base64.urlsafe_b64decode(request.page_token.encode()).decode()
        filters, transaction_id = text.split(" ")
        after = parse_transaction_id(transaction_id)
    except (binascii.Error, ValueError):
        filters, after = "", None
    if after is None or filters != _digest(request.filter):
        raise InvalidRequest([BAD_PAGE_TOKEN])
    return after


def page_token(request: pb.ListTransactionsRequest, last: Transaction) -> str:
    """The token of the page that follows `last`."""
    return base64.urlsafe_b64encode(f"{_digest(request.filter)} {last.id}".encode()).decode()


def page_size(request: pb.ListTransactionsRequest) -> int:
    """How many transactions a page has."""
    return int(request.page_size or DEFAULT_PAGE)


def _digest(filters: pb.TransactionFilter) -> str:
    """A token goes with the filter it was made for."""
    return sha256(filters.SerializeToString(deterministic=True)).hexdigest()[:12]


# --- transactions ----------------------------------------------------------------------------


def transaction(found: Transaction, participants: Mapping[str, str]) -> pb.Transaction:
    """An operator's view of a transaction. `participants` are those of each phase."""
    failure, attention, hold = found.failure, found.attention, found.hold
    automatic, manual = payments_pb2.CAPTURE_MODE_AUTOMATIC, payments_pb2.CAPTURE_MODE_MANUAL
    return pb.Transaction(
        transaction_id=found.id,
        refund_of="" if found.refund_of is None else found.refund_of.payment_id,
        caller=found.caller,
        flow=found.flow,
        state=STATES[found.state],
        state_time=timestamp(found.state_since),
        amount=money_fields(found.amount),
        merchant_id=found.merchant_id,
        order_id=found.order_id,
        customer_id=found.customer_id,
        steps=[_step(step, participants) for step in found.steps],
        failure=None if failure is None else asdict(failure),
        attention=None if attention is None else asdict(attention),
        hold=None if hold is None else {"operator": hold.actor, "reason": hold.reason},
        due_time=_maybe(found.due_at),
        reserve_until=timestamp(found.reserved_until),
        capture=manual if found.manual else automatic,
        create_time=timestamp(found.created_at),
        update_time=timestamp(found.updated_at),
        version=found.version,
    )


def _step(step: Step, participants: Mapping[str, str]) -> Plain:
    amount, action = step.amount, step.next_action
    final = None if amount is None else minor_fields(step.final_minor or 0, amount.currency)
    refused = {"code": step.refusal_code, "reason": step.refusal_reason}
    return {
        "phase": step.phase,
        "participant": participants.get(step.phase, ""),
        "status": STATUSES[step.status],
        "amount": None if amount is None else money_fields(amount),
        "final_amount": final,
        "attempts": step.attempts,
        "last_error": step.last_error,
        "refusal": refused if step.refusal_code else None,
        "participant_reference": step.reference,
        "next_attempt_time": _maybe(step.next_attempt_at),
        "next_action": None if action is None else asdict(action),
    }


def _maybe(moment: datetime | None) -> Plain | None:
    return None if moment is None else timestamp(moment)


def story(
    told: Story, participants: Mapping[str, str], owner: str
) -> pb.ExplainTransactionResponse:
    """The story of a transaction, told by the process called `owner`."""
    return pb.ExplainTransactionResponse(
        transaction=transaction(told.transaction, participants),
        claim=None if told.claim is None else _claim(told.claim, owner),
        waits=[_wait(wait) for wait in told.waits],
        actions=[_verdict(verdict) for verdict in told.verdicts],
        resolvable=[_answers(each) for each in told.answers],
        journal=[_line(line) for line in told.journal],
        earlier_lines=told.earlier,
        now=timestamp(told.now),
    )


def _claim(claim: Claim, owner: str) -> pb.Claim:
    remaining = _duration(claim.seconds_left)
    return pb.Claim(owner=claim.owner, remaining=remaining, here=claim.owner == owner)


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromTimedelta(timedelta(seconds=seconds))
    return duration


def _wait(wait: WaitsFor) -> pb.Wait:
    return pb.Wait(
        code=wait.code.value,
        phase=wait.phase,
        sentence=wait.sentence,
        until_time=_maybe(wait.until),
    )


def _verdict(verdict: Verdict) -> pb.ActionVerdict:
    return pb.ActionVerdict(
        action=ACTIONS[verdict.act],
        allowed=verdict.allowed,
        code=verdict.code,
        reason=verdict.reason,
    )


def _answers(of: Answers) -> pb.StepAnswers:
    possible = [ANSWERS[answer] for answer in of.possible]
    return pb.StepAnswers(phase=of.phase, answers=possible, reason=of.reason)


def _line(line: JournalEntry) -> pb.JournalEntry:
    return pb.JournalEntry(
        sequence=line.sequence,
        time=timestamp(line.at),
        kind=line.kind.value,
        event=line.event,
        from_state=STATES[line.from_state] if line.from_state else None,
        to_state=STATES[line.to_state],
        phase=line.phase,
        operation=line.operation,
        attempt=line.attempt,
        outcome=line.outcome,
        code=line.code,
        detail=line.detail,
        actor=line.actor,
        evidence=line.evidence,
    )


# --- flows, participants, checks -------------------------------------------------------------


def flow(view: FlowView) -> pb.Flow:
    """A flow as it stands."""
    phases = () if view.flow is None else view.flow.phases
    pause = view.pause
    return pb.Flow(
        name=view.name,
        phases=[phase.name for phase in phases],
        participants=sorted({phase.participant for phase in phases if phase.participant}),
        pause=None
        if pause is None
        else pb.Pause(
            operator=pause.actor,
            reason=pause.reason,
            since_time=timestamp(pause.since),
            until_time=_maybe(pause.until),
        ),
        served=view.flow is not None,
    )


def participant(view: ParticipantView, address: str) -> pb.Participant:
    """A participant as it was found."""
    return pb.Participant(
        name=view.name,
        address=address,
        phases=view.phases,
        breaker=BREAKERS[view.status.breaker],
        calls_in_flight=view.status.in_flight,
        reachability=REACHABILITIES[view.reached.reach],
        detail=view.reached.detail,
        waiting=view.waiting,
        oldest_waiting=_duration(view.oldest_s) if view.waiting else None,
    )


def check(of: Check) -> pb.Check:
    """A check as it ended."""
    return pb.Check(name=of.name, status=CHECKS[of.status], finding=of.finding, advice=of.advice)
