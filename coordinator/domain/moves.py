"""The pure functions that move a transaction: what came back is recorded, events are fired."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from coordinator.domain.entries import Attention, EntryKind, Failure, JournalEntry, OutboxEvent
from coordinator.domain.flow import Flow
from coordinator.domain.ids import event_id
from coordinator.domain.machine import ANNOUNCED, IN_DOUBT, SETTLED, Event, State, fire
from coordinator.domain.outcome import Applied, Outcome, Refused, Unknown, never_left, outcome_name
from coordinator.domain.record import evolve
from coordinator.domain.step import (
    Result,
    Step,
    StepStatus,
    answered,
    credible,
    entered,
    needs_attention,
)
from coordinator.domain.transaction import Draft, Transaction


def record(draft: Draft, flow: Flow, results: Iterable[Result], now: datetime) -> Draft:
    """The draft after these calls came back: steps moved, one journal line an attempt.

    A call that never left is no attempt: the step alone tells why it waits. That the transaction
    needs a person from now on is announced with it.
    """
    transaction, entries = draft.transaction, list(draft.entries)
    sequence, steps = transaction.sequence, list(transaction.steps)
    attention = transaction.attention
    going_on = True
    for result in (credible(transaction.state, each) for each in results):
        phase = flow.by_name[result.phase]
        index = next(i for i, step in enumerate(steps) if step.phase == result.phase)
        before = steps[index]
        steps[index] = step = answered(transaction.state, before, phase, result, now)
        going_on = going_on and isinstance(result.outcome, Applied)
        if never_left(result.outcome):
            continue
        attention = needs_attention(transaction.state, step, phase, result.outcome) or attention
        sequence += 1
        entries.append(_attempt_line(transaction, sequence, result, before.attempts + 1, now))
    moved = evolve(
        transaction,
        steps=tuple(steps),
        sequence=sequence,
        attention=attention or (None if going_on else _too_old(transaction, flow, now)),
        try_deadline=_try_deadline(transaction, steps, flow, now),
    )
    raised = transaction.attention is None and moved.attention is not None
    events = (_attention_event(moved, now),) if raised and flow.announce is not None else ()
    return Draft(moved, tuple(entries), draft.events + events, draft.stored)


def _too_old(transaction: Transaction, flow: Flow, now: datetime) -> Attention | None:
    """What is decided takes seconds: whoever still gets no answer after so long needs a person."""
    age_s = (now - transaction.state_since).total_seconds()
    if transaction.state not in IN_DOUBT or age_s < flow.attention_after_s:
        return None
    return Attention("TOO_OLD", f"it is {transaction.state} for {age_s:.0f} s")


def _attention_event(transaction: Transaction, now: datetime) -> OutboxEvent:
    name = f"{transaction.state}/attention/{transaction.sequence}"
    return evolve(
        _announcement(transaction, now),
        id=event_id(transaction.id, name),
        attention=transaction.attention,
    )


def _attempt_line(
    transaction: Transaction, sequence: int, result: Result, attempt: int, now: datetime
) -> JournalEntry:
    code, detail = _code_and_detail(result.outcome)
    return JournalEntry(
        transaction.id,
        sequence,
        now,
        EntryKind.ATTEMPT,
        transaction.state,
        transaction.state,
        phase=result.phase,
        operation=result.operation.value,
        attempt=attempt,
        outcome=outcome_name(result.outcome),
        code=code,
        detail=detail,
    )


def attempted(draft: Draft, results: Iterable[Result], now: datetime) -> Draft:
    """The draft with a journal line for each of these calls, which move no step."""
    transaction, entries = draft.transaction, list(draft.entries)
    sequence = transaction.sequence
    for result in results:
        sequence += 1
        entries.append(_attempt_line(transaction, sequence, result, 1, now))
    moved = evolve(transaction, sequence=sequence)
    return Draft(moved, tuple(entries), draft.events, draft.stored)


def late_success_undone(draft: Draft, step: Step, now: datetime) -> Draft:
    """The draft with the announcement that this step's late success was undone."""
    transaction = draft.transaction
    assert step.amount is not None, "only a step that calls a participant can be late"
    event = evolve(
        _announcement(transaction, now),
        id=event_id(transaction.id, f"{transaction.state}/{step.phase}/{transaction.sequence}"),
        amount=step.amount,
        late_phase=step.phase,
    )
    return Draft(transaction, draft.entries, (*draft.events, event), draft.stored)


def _try_deadline(
    before: Transaction, steps: Sequence[Step], flow: Flow, now: datetime
) -> datetime:
    """Until when Trys are asked: while one is pending, as long as the reservation lasts.

    Once it is decided, whatever is still to be tried has the flow's budget again.
    """
    if before.state is not State.CREATED:
        return before.try_deadline
    if any(step.status is StepStatus.PENDING for step in steps):
        return before.reserved_until
    if any(step.status is StepStatus.PENDING for step in before.steps):
        return min(before.reserved_until, now + timedelta(seconds=flow.try_budget_s))
    return before.try_deadline


def _code_and_detail(outcome: Outcome) -> tuple[str, str]:
    if isinstance(outcome, Refused):
        return outcome.code, outcome.reason
    if isinstance(outcome, Unknown):
        return outcome.code, outcome.detail
    return "", ""


def advance(
    draft: Draft, flow: Flow, events: Sequence[Event], now: datetime, failure: Failure | None = None
) -> Draft:
    """The draft after `events` fired one after the other, each with its journal line.

    Raises IllegalTransition when the table has no such row.
    """
    before = draft.transaction
    failure = failure or before.failure
    state, steps, sequence = before.state, before.steps, before.sequence
    entries = list(draft.entries)
    for event in events:
        source, state = state, fire(state, event)
        steps = tuple(entered(source, state, step, flow.by_name[step.phase]) for step in steps)
        sequence += 1
        cause = failure if event is Event.RELEASE else None
        entries.append(
            JournalEntry(
                before.id,
                sequence,
                now,
                EntryKind.TRANSITION,
                source,
                state,
                event=event.value,
                phase=cause.phase if cause else "",
                code=cause.code if cause else "",
                detail=cause.reason if cause else "",
            )
        )
    moved = evolve(
        before,
        state=state,
        state_since=now,
        sequence=sequence,
        steps=steps,
        failure=failure,
        attention=None if state in SETTLED else before.attention,
    )
    announced = flow.announce is not None and state in ANNOUNCED and state is not before.state
    announcement = (_announcement(moved, now),) if announced else ()
    return Draft(moved, tuple(entries), draft.events + announcement, draft.stored)


def _announcement(transaction: Transaction, now: datetime) -> OutboxEvent:
    return OutboxEvent(
        id=event_id(transaction.id, transaction.state),
        transaction_id=transaction.id,
        sequence=transaction.sequence,
        state=transaction.state,
        at=now,
        caller=transaction.caller,
        flow=transaction.flow,
        amount=transaction.amount,
        merchant_id=transaction.merchant_id,
        order_id=transaction.order_id,
        customer_id=transaction.customer_id,
        failure=transaction.failure,
        refund_of=transaction.refund_of,
        captured_minor=transaction.captured_minor,
        refunded_minor=transaction.refunded_minor,
    )
