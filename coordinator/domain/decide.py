"""Every branch of the coordinator, without any I/O: `decide(transaction, flow, now) -> Action`.

The driver performs the action, records what came back, and asks again. The rules that keep the
money right (docs/architecture.md) are kept here:

- a decision is an `Advance`, committed by the driver before anything that follows from it;
- the pivot's Confirm leaves first and alone, and `settle` is committed before any other Confirm;
- Unknown is never a refusal: before the decision it is retried until the try deadline, which
  releases; after the decision it is retried for ever.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import datetime
from typing import TypeAlias

from coordinator.domain.flow import Flow
from coordinator.domain.ids import TransactionId
from coordinator.domain.machine import CANCELLABLE, Event, State
from coordinator.domain.phase import Operation, Phase
from coordinator.domain.record import Record
from coordinator.domain.transaction import MAY_HOLD, Failure, Step, StepStatus, Transaction

MIN_TIMEOUT_S = 0.05
"""A Try that is sent just before the try deadline gets at least this long, in seconds."""


class Call(Record, frozen=True):
    """One request to one participant; `refund_of` is the payment whose step it gives back."""

    phase: Phase
    operation: Operation
    step: Step
    timeout_s: float
    refund_of: TransactionId | None = None


class Perform(Record, frozen=True):
    """Make these calls, all at once, and record what comes back."""

    calls: tuple[Call, ...]


class Advance(Record, frozen=True):
    """Fire these events and commit."""

    events: tuple[Event, ...]
    failure: Failure | None = None


class Wait(Record, frozen=True):
    """Nothing to do before this time."""

    until: datetime


class Rest(Record, frozen=True):
    """Nothing to do by itself: it is settled, or an operator holds it."""


Action: TypeAlias = Perform | Advance | Wait | Rest


def decide(transaction: Transaction, flow: Flow, now: datetime) -> Action:
    """What to do next with `transaction`; nothing while an operator holds it."""
    if transaction.hold is not None:
        return Rest()
    match transaction.state:
        case State.CREATED:
            return _created(transaction, flow, now)
        case State.RESERVED:
            return _reserved(transaction, flow, now)
        case State.CAPTURING:
            return _capturing(transaction, flow, now)
        case State.SETTLING:
            return _settling(transaction, flow, now)
        case State.CANCELLING:
            return _cancelling(transaction, flow, now)
        case State.PAID | State.FAILED | State.REFUNDED:  # pragma: no branch - mypy: all are here
            return Rest()


def may_cancel(transaction: Transaction) -> bool:
    """Whether a caller may still cancel: it is not decided yet."""
    return transaction.state in CANCELLABLE


def _created(transaction: Transaction, flow: Flow, now: datetime) -> Action:
    refused = next((s for s in transaction.steps if s.status is StepStatus.REFUSED), None)
    if refused is not None:
        failure = Failure(refused.refusal_code, refused.refusal_reason, refused.phase)
        return Advance((Event.RELEASE,), failure)
    waiting = _stage_under_way(transaction, flow)
    if not waiting and now >= transaction.reserved_until:
        return _expired()  # holds were asked to last so long, and no longer
    if not waiting:
        if transaction.manual:
            return Advance((Event.HOLD,))
        return Advance((Event.HOLD, *capture_events(transaction, flow)))
    if now >= transaction.try_deadline:
        return Advance((Event.RELEASE,), _deadline_failure(transaction, waiting, flow, now))
    left_s = (transaction.try_deadline - now).total_seconds()
    due = tuple(
        _call(
            transaction,
            flow,
            Operation.QUERY if step.status is StepStatus.PENDING else Operation.TRY,
            step,
            left_s,
        )
        for step in waiting
        if _is_due(step, now)
    )
    return Perform(due) if due else Wait(min(_next_attempt(waiting), transaction.try_deadline))


def _stage_under_way(transaction: Transaction, flow: Flow) -> list[Step]:
    """The steps that are not held yet in the first stage that has any."""
    for stage in flow.stages:
        waiting = [
            step for step in _steps(transaction, stage) if step.status is not StepStatus.HELD
        ]
        if waiting:
            return waiting
    return []


def _steps(transaction: Transaction, phases: Iterable[Phase]) -> list[Step]:
    """The transaction's steps of these phases: a refund has none for tenders that get nothing."""
    names = {phase.name for phase in phases}
    return [step for step in transaction.steps if step.phase in names]


def capture_events(transaction: Transaction, flow: Flow) -> tuple[Event, ...]:
    """What fires when a transaction is decided to be paid, from RESERVED on."""
    pivot = flow.pivot
    if pivot is None or transaction.step(pivot.name).dropped:
        return (Event.CAPTURE, Event.SETTLE)
    return (Event.CAPTURE,)


def _deadline_failure(
    transaction: Transaction, waiting: list[Step], flow: Flow, now: datetime
) -> Failure:
    step = next((each for each in waiting if each.status is StepStatus.PENDING), waiting[0])
    title = flow.by_name[step.phase].title
    if step.status is StepStatus.PENDING and now >= transaction.reserved_until:
        return Failure("RESERVATION_EXPIRED", f"{title} was not completed in time", step.phase)
    because = f" (last error: {step.last_error})" if step.last_error else ""
    return Failure("TRY_DEADLINE_EXCEEDED", f"{title} did not answer in time{because}", step.phase)


def _reserved(transaction: Transaction, flow: Flow, now: datetime) -> Action:
    if now >= transaction.reserved_until:
        return _expired()
    if transaction.manual:
        return Wait(transaction.reserved_until)
    return Advance(capture_events(transaction, flow))


def _expired() -> Action:
    failure = Failure("RESERVATION_EXPIRED", "the reservation's time is over")
    return Advance((Event.RELEASE,), failure)


def _capturing(transaction: Transaction, flow: Flow, now: datetime) -> Action:
    if flow.pivot is None:
        return Advance((Event.SETTLE,))
    step = transaction.step(flow.pivot.name)
    if step.status is StepStatus.CONFIRMED:
        return Advance((Event.SETTLE,))
    if step.status is StepStatus.REFUSED:
        failure = Failure(step.refusal_code, step.refusal_reason, step.phase)
        return Advance((Event.RELEASE,), failure)
    return _ask(transaction, [step], flow, now)


def _settling(transaction: Transaction, flow: Flow, now: datetime) -> Action:
    left = [
        step
        for step in _steps(transaction, flow.called)
        if step.status is not (StepStatus.CANCELLED if step.dropped else StepStatus.CONFIRMED)
    ]
    return _ask(transaction, left, flow, now) if left else Advance((Event.PAY,))


def _cancelling(transaction: Transaction, flow: Flow, now: datetime) -> Action:
    left = [step for step in _steps(transaction, flow.called) if step.status in MAY_HOLD]
    return _ask(transaction, left, flow, now) if left else Advance((Event.FAIL,))


def _ask(transaction: Transaction, steps: list[Step], flow: Flow, now: datetime) -> Action:
    """Cancels while the transaction is released, and what a partial capture drops; confirms."""
    due = tuple(
        _call(transaction, flow, _operation(transaction.state, step, flow), step)
        for step in steps
        if _is_due(step, now)
    )
    return Perform(due) if due else Wait(_next_attempt(steps))


def _operation(state: State, step: Step, flow: Flow) -> Operation:
    """A pivot that does not answer its Confirm is now and then asked what holds.

    Its participant may have forgotten the Confirm's answer, or cancelled (by an operator's order,
    of which a crash left no trace): then every Confirm fails for ever, and only a Query tells.
    """
    if state is State.CANCELLING or step.dropped:
        return Operation.CANCEL
    often = max(2, flow.by_name[step.phase].retry.attempts)  # or it would only be asked for ever
    if state is State.CAPTURING and step.attempts and step.attempts % often == 0:
        return Operation.QUERY
    return Operation.CONFIRM


def _call(
    transaction: Transaction,
    flow: Flow,
    operation: Operation,
    step: Step,
    within_s: float = math.inf,
) -> Call:
    phase, refund_of = flow.by_name[step.phase], transaction.refund_of
    timeout_s = max(MIN_TIMEOUT_S, min(within_s, phase.retry.timeout_s))
    payment_id = None if refund_of is None else refund_of.payment_id
    return Call(phase, operation, step, timeout_s, payment_id)


def _is_due(step: Step, now: datetime) -> bool:
    return step.next_attempt_at is None or step.next_attempt_at <= now


def _next_attempt(steps: Iterable[Step]) -> datetime:
    return min(step.next_attempt_at for step in steps if step.next_attempt_at is not None)
