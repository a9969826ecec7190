"""What an operator may do with a transaction as it stands, what not and why, and what it waits for.

All of it asks `decide` what would be done if nothing had to be waited for, so that no rule of the
state machine is written down twice. Pure.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from coordinator.domain.decide import Action, Call, Perform, Wait, decide
from coordinator.domain.entries import Act
from coordinator.domain.flow import Flow
from coordinator.domain.machine import CANCELLABLE, RELEASED, SETTLED, State
from coordinator.domain.operator_errors import (
    AlreadyDecided,
    AlreadyReleased,
    AlreadySettled,
    AnswerNotPossible,
    BeingDriven,
    HeldByOperator,
    NotHeld,
    NothingToRetry,
)
from coordinator.domain.outcome import HELD_BACK
from coordinator.domain.phase import Operation
from coordinator.domain.record import Record, evolve
from coordinator.domain.transaction import Step, StepStatus, Transaction

FLOW_NOT_SERVED = "FLOW_NOT_SERVED"


class Verdict(Record, frozen=True):
    """Whether one act is allowed. `code` is what it is refused with; empty when it is allowed."""

    act: Act
    reason: str
    code: str = ""

    @property
    def allowed(self) -> bool:
        """Whether it is."""
        return not self.code


class StepAnswer(StrEnum):
    """What may be said of a step in doubt."""

    CONFIRMED = "confirmed"
    CANCELLED = "cancelled"


class WaitCode(StrEnum):
    """What a transaction can wait for."""

    HELD = "HELD"
    """An operator who holds it."""
    CALLER = "CALLER"
    """The caller: a capture or a cancel."""
    CUSTOMER = "CUSTOMER"
    """The customer, who has to do something."""
    PARTICIPANT = "PARTICIPANT"
    """A participant that decides later."""
    RETRY = "RETRY"
    """The next attempt, after one that was not answered."""
    PARKED = "PARKED"
    """The next attempt, after one that was refused though it must not be."""
    DRIVER = "DRIVER"
    """Nothing: a process works on it."""
    CLAIM = "CLAIM"
    """A process that takes it up."""
    FLOW = "FLOW"
    """A coordinator that serves its flow."""


class WaitsFor(Record, frozen=True):
    """One thing that a transaction waits for; `until` where that is known."""

    code: WaitCode
    sentence: str
    phase: str = ""
    until: datetime | None = None


def unhindered(transaction: Transaction, flow: Flow, now: datetime) -> Action:
    """What would be done now if nobody held it and no step had to wait."""
    steps = tuple(evolve(step, next_attempt_at=None) for step in transaction.steps)
    return decide(evolve(transaction, steps=steps, hold=None), flow, now)


def open_calls(transaction: Transaction, flow: Flow | None, now: datetime) -> tuple[Call, ...]:
    """The calls that it is about, due or not, each with its step as it stands."""
    action = None if flow is None else unhindered(transaction, flow, now)
    calls = action.calls if isinstance(action, Perform) else ()
    return tuple(evolve(call, step=transaction.step(call.phase.name)) for call in calls)


# --- acts ------------------------------------------------------------------------------------


def verdicts(
    transaction: Transaction, flow: Flow | None, driven_by: str, now: datetime
) -> tuple[Verdict, ...]:
    """Every act, allowed or not. `driven_by` holds its claim, `flow` is None if not served."""
    return (
        may_resume(transaction, flow, driven_by, now),
        may_hold(transaction),
        may_unhold(transaction),
        may_cancel(transaction, flow),
        may_resolve(transaction, flow, now),
    )


def may_resume(
    transaction: Transaction, flow: Flow | None, driven_by: str, now: datetime
) -> Verdict:
    """Whether its steps may be retried now."""
    act, hold = Act.RESUME, transaction.hold
    if transaction.settled:
        return Verdict(act, f"it is {transaction.state}: it has ended", AlreadySettled.code)
    if hold is not None:
        reason = f"{hold.actor} holds it ({hold.reason}); unhold it to let it go on"
        return Verdict(act, reason, HeldByOperator.code)
    if flow is None:
        return _not_served(act, transaction)
    action = unhindered(transaction, flow, now)
    if isinstance(action, Wait):
        reason = "it waits for its caller, who captures or cancels; there is nothing to retry"
        return Verdict(act, reason, NothingToRetry.code)
    if driven_by and not any(_waits(call.step, now) for call in open_calls(transaction, flow, now)):
        reason = f"{driven_by} works on it at this moment; look again in a few seconds"
        return Verdict(act, reason, BeingDriven.code)
    return Verdict(act, "asks every unfinished step again at once; attempts are kept")


def may_hold(transaction: Transaction) -> Verdict:
    """Whether it may be held."""
    act, hold = Act.HOLD, transaction.hold
    if transaction.settled:
        return Verdict(act, f"it is {transaction.state}: it has ended", AlreadySettled.code)
    if hold is not None:
        return Verdict(act, f"{hold.actor} holds it already ({hold.reason})", HeldByOperator.code)
    return Verdict(act, "asks nothing more of participants until it is unheld")


def may_unhold(transaction: Transaction) -> Verdict:
    """Whether it may be unheld."""
    hold = transaction.hold
    if hold is None:
        return Verdict(Act.UNHOLD, "nobody holds it", NotHeld.code)
    return Verdict(Act.UNHOLD, f"lets it go on at once; {hold.actor} holds it ({hold.reason})")


def may_cancel(transaction: Transaction, flow: Flow | None) -> Verdict:
    """Whether it may be cancelled."""
    act, state = Act.CANCEL, transaction.state
    if state in RELEASED:
        return Verdict(act, f"it is {state}: it is released already", AlreadyReleased.code)
    if state in SETTLED:
        hint = "" if transaction.refund_of else "; a refund gives the money back"
        return Verdict(act, f"it is {state}: it has ended{hint}", AlreadySettled.code)
    if state not in CANCELLABLE:
        reason = f"it is {state}: it is decided, and from there the way back is not the operator's"
        if state is State.CAPTURING:
            reason += "; the step in doubt may be resolved as not captured"
        return Verdict(act, reason, AlreadyDecided.code)
    if flow is None:
        return _not_served(act, transaction)
    also = "" if transaction.hold is None else ", and takes the hold off"
    return Verdict(act, f"releases everything that is held at participants{also}")


def may_resolve(transaction: Transaction, flow: Flow | None, now: datetime) -> Verdict:
    """Whether one of its steps may be resolved."""
    act = Act.RESOLVE
    if transaction.settled:
        return Verdict(act, f"it is {transaction.state}: it has ended", AlreadySettled.code)
    if flow is None:
        return _not_served(act, transaction)
    if transaction.state in CANCELLABLE:
        reason = "nothing is decided yet, so that nothing is in doubt; cancel it instead"
        return Verdict(act, reason, AnswerNotPossible.code)
    phases = [call.phase.name for call in open_calls(transaction, flow, now)]
    if not phases:
        return Verdict(act, "no step is in doubt; it goes on by itself", AnswerNotPossible.code)
    return Verdict(act, f"says what became of {' or '.join(phases)}, after it was asked once more")


def _not_served(act: Act, transaction: Transaction) -> Verdict:
    reason = f"its flow {transaction.flow} is not served by this coordinator"
    return Verdict(act, reason, FLOW_NOT_SERVED)


# --- answers ---------------------------------------------------------------------------------


class Answers(Record, frozen=True):
    """Which answers are possible for one step, and what they do; or why there are none."""

    phase: str
    possible: tuple[StepAnswer, ...]
    reason: str


def answers(transaction: Transaction, flow: Flow | None, now: datetime) -> tuple[Answers, ...]:
    """For every step that calls a participant."""
    if flow is None:
        return ()
    state = transaction.state
    asked = {call.phase.name: call for call in open_calls(transaction, flow, now)}
    called = [step for step in transaction.steps if step.amount is not None]
    return tuple(_answers(state, step, asked.get(step.phase)) for step in called)


def _answers(state: State, step: Step, call: Call | None) -> Answers:
    name = step.phase
    if state in CANCELLABLE:
        return Answers(name, (), "nothing is decided yet: cancel the transaction instead")
    if call is None:
        return Answers(name, (), f"it is {step.status}: it is not in doubt, or not its turn")
    if call.operation is Operation.CANCEL:
        reason = "cancelled: nothing is held any more; the release goes on without asking it"
        return Answers(name, (StepAnswer.CANCELLED,), reason)
    if state is State.CAPTURING:
        reason = (
            "confirmed: it was captured, and the payment goes on to be paid; cancelled: it was "
            "not, its hold is undone, and the payment is released"
        )
        return Answers(name, (StepAnswer.CONFIRMED, StepAnswer.CANCELLED), reason)
    reason = "confirmed: its part is final; the other part is confirmed, so there is no way back"
    return Answers(name, (StepAnswer.CONFIRMED,), reason)


# --- waits -----------------------------------------------------------------------------------


def waits_for(
    transaction: Transaction, flow: Flow | None, driven_by: str, now: datetime
) -> tuple[WaitsFor, ...]:
    """What it waits for; nothing once it is settled."""
    hold = transaction.hold
    if transaction.settled:
        return ()
    if hold is not None:
        return (WaitsFor(WaitCode.HELD, f"held by {hold.actor}: {hold.reason}"),)
    if flow is None:
        text = f"flow {transaction.flow} is not served here; a coordinator that serves it goes on"
        return (WaitsFor(WaitCode.FLOW, text),)
    action = unhindered(transaction, flow, now)
    if isinstance(action, Wait):
        text = f"the caller captures or cancels until {_time(action.until)}"
        return (WaitsFor(WaitCode.CALLER, text, until=action.until),)
    calls = open_calls(transaction, flow, now)
    found = tuple(_wait(transaction, call, now) for call in calls if _stands_still(call, now))
    if driven_by and len(found) < max(len(calls), 1):
        return (*found, WaitsFor(WaitCode.DRIVER, f"{driven_by} works on it now"))
    due = transaction.due_at
    if not driven_by and (due is None or due <= now):
        since = "" if due is None else f" since {_time(due)}"
        text = f"it is due{since}, and no process has taken it up yet"
        return (*found, WaitsFor(WaitCode.CLAIM, text))
    return found or (WaitsFor(WaitCode.CLAIM, "it is taken up when it is due", until=due),)


def _stands_still(call: Call, now: datetime) -> bool:
    return _waits(call.step, now) or bool(call.step.last_error)


def _waits(step: Step, now: datetime) -> bool:
    return step.next_attempt_at is not None and step.next_attempt_at > now


def _wait(transaction: Transaction, call: Call, now: datetime) -> WaitsFor:
    step, title = call.step, call.phase.title
    until = step.next_attempt_at
    again = f"asked again at {_time(until)}" if _waits(step, now) and until else "asked again now"
    if step.status is StepStatus.PENDING:
        ends = _time(transaction.reserved_until)
        if step.next_action is not None:
            text = f"{title}: the customer has to act ({step.next_action.kind}) until {ends}"
            return WaitsFor(WaitCode.CUSTOMER, f"{text}; {again}", step.phase, until)
        text = f"{title} decides later, until {ends}; {again}"
        return WaitsFor(WaitCode.PARTICIPANT, text, step.phase, until)
    # Now and then a pivot is asked what holds, instead of being asked to confirm.
    asked = Operation.CONFIRM if transaction.state is State.CAPTURING else call.operation
    what = asked.value.capitalize()
    if step.refusal_code and step.last_error == step.refusal_code:
        why = f"{step.refusal_code}: {step.refusal_reason}"
        return WaitsFor(
            WaitCode.PARKED, f"{title}: {what} was refused ({why}); {again}", step.phase, until
        )
    why = step.last_error or "not decided"
    times = "once" if step.attempts == 1 else f"{step.attempts} times"
    if step.attempts:
        how = f"did not answer {times} ({why})"
    elif why in HELD_BACK:
        how = f"was held back here ({why})"
    else:  # what was asked before it failed with this
        how = f"has no answer yet (the last error: {why})"
    text = f"{title}: {what} {how}; {again}"
    if transaction.state is State.CREATED:
        text += f"; released at {_time(transaction.try_deadline)} if it does not"
    return WaitsFor(WaitCode.RETRY, text, step.phase, until)


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
