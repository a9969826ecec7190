"""What must hold at any moment: one checker a rule, each raising Violation.

They are asked after every commit, of what it wrote, and after every effect at a participant. So a
breach is told when it happens, and not only if it can still be seen at rest.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from coordinator.domain.decide import Call
from coordinator.domain.entries import Act
from coordinator.domain.flow import Flow
from coordinator.domain.ids import TransactionId
from coordinator.domain.machine import TABLE, TERMINAL, Event, State
from coordinator.domain.phase import Operation
from coordinator.domain.transaction import (
    Change,
    EntryKind,
    JournalEntry,
    OutboxEvent,
    StepStatus,
    Transaction,
)
from fault_injection.invariants import Violation
from fault_injection.model_participant import Held, ModelParticipant
from fault_injection.world import LEASE_S

IDLE_EVERY_S = 60.0
"""How often a coordinator without work looks for some: simulating each look costs real time."""
_ROWS = {(row.source, row.event.value, row.target) for row in TABLE}
_HOLDS = {Held.HELD, Held.PENDING, Held.CONFIRMED}


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit, and what was durable before it.

    before     the row as it was; None: there was none
    earlier    its journal until then
    announced  states that were announced until then
    pivot      the phase whose Confirm goes first, if any
    payment    the payment that is paid or given back, as it is now
    refunds    all of the payment's refunds, as they are now
    """

    before: Transaction | None
    change: Change
    earlier: tuple[JournalEntry, ...]
    announced: AbstractSet[tuple[TransactionId, State]]
    pivot: str
    payment: Transaction | None
    refunds: tuple[Transaction, ...]


def _require(condition: bool, rule: str, what: str) -> None:
    if not condition:
        raise Violation(f"{rule}: {what}")


def a_stale_version_writes_nothing(commit: Commit) -> None:
    """S15: what somebody else wrote or claimed since is not written over."""
    stands, expected = commit.before.version if commit.before else 0, commit.change.expected_version
    _require(expected >= stands, "S15", f"written over version {stands} as if it were {expected}")


def what_is_terminal_stays(commit: Commit) -> None:
    """S9: a row that has ended does not move."""
    before = commit.before
    if before is not None and before.state in TERMINAL:
        after = commit.change.after.state
        _require(after is before.state, "S9", f"{after} after {before.state}")


def the_journal_goes_on(commit: Commit) -> None:
    """S10: sequence numbers are contiguous, and the last line is where the row stands."""
    number = commit.earlier[-1].sequence if commit.earlier else 0
    for line in commit.change.entries:
        number += 1
        _require(line.sequence == number, "S10", f"line {line.sequence} where {number} was to come")
    after = commit.change.after
    _require(after.sequence == number, "S10", f"the row says {after.sequence} lines of {number}")


def every_move_is_in_the_table(commit: Commit) -> None:
    """S9: each line begins where the one before ended, and moves as the table says."""
    state = commit.earlier[-1].to_state if commit.earlier else None
    for line in commit.change.entries:
        _require(line.from_state == state, "S9", f"line {line.sequence} starts elsewhere")
        if line.kind is EntryKind.TRANSITION and state is not None:
            step = (line.from_state, line.event, line.to_state)
            _require(step in _ROWS, "S9", f"no row {step}")
        state = line.to_state
    _require(state is commit.change.after.state, "S10", "the row is not where the journal ends")


def paying_is_decided_with_every_hold(commit: Commit) -> None:
    """S3: CAPTURING is durable only where every Try is durably held."""
    if any(line.event == Event.CAPTURE for line in commit.change.entries):
        for step in commit.change.after.steps:
            held = step.amount is None or step.status is StepStatus.HELD
            _require(held, "S3", f"decided to pay while {step.phase} is {step.status}")


def a_decision_is_kept(commit: Commit) -> None:
    """S5: a capture is released only for the pivot's refusal, while no other Confirm was sent."""
    for line in commit.change.entries:
        if line.event != Event.RELEASE or line.from_state is not State.CAPTURING:
            continue
        lines = (*commit.earlier, *commit.change.entries)
        refused = any(
            (each.outcome == "refused" or each.event == Act.RESOLVE) and each.phase == commit.pivot
            for each in lines
        )
        _require(refused, "S5", f"released after {State.CAPTURING} without the pivot's refusal")
        for each in lines:
            sent = each.operation == Operation.CONFIRM and each.phase != commit.pivot
            _require(not sent, "S5", f"released although a Confirm of {each.phase} was sent")


def each_state_is_announced_once(commit: Commit) -> None:
    """S14: an event is of the state that its own commit reached, and the only one of it."""
    after = commit.change.after
    for event in commit.change.events:
        if event.attention is None and not event.late_phase:
            _require(event.state is after.state, "S14", f"announced {event.state} at {after.state}")
            again = (after.id, event.state) in commit.announced
            _require(not again, "S14", f"announced {event.state} once more")


def no_more_is_given_back_than_was_paid(commit: Commit) -> None:
    """S13: in all, and of each tender."""
    payment = commit.payment
    if payment is None or not commit.refunds:
        return
    done = [refund for refund in commit.refunds if refund.state is State.PAID]
    total = sum(refund.amount.minor for refund in done)
    _require(total <= payment.captured_minor, "S13", f"{total} of {payment.captured_minor}")
    for step in payment.steps:
        given = sum(
            each.amount.minor
            for refund in done
            for each in refund.steps
            if each.phase == step.phase and each.role == step.role and each.amount is not None
        )
        _require(given <= (step.final_minor or 0), "S13", f"{step.phase} got {given}")


def it_ends_in_time(commit: Commit, flow: Flow, seconds: float) -> None:
    """L1: settled within T of the last fault, or of what set it going since."""
    after, before = commit.change.after, commit.before
    if after.settled and before is not None and not before.settled:
        limit_s = longest_s(flow)
        _require(seconds <= limit_s, "L1", f"took {seconds:.0f} s of {limit_s:.0f} s at most")


def longest_s(flow: Flow) -> float:
    """T, in seconds: claim lifetime + scan period + steps x (1.5 x backoff cap + call timeout).

    A step is an operation: each participant is asked to hold, and then to confirm or to cancel.
    """
    retries = [phase.retry for phase in flow.called]
    return LEASE_S + IDLE_EVERY_S + sum(2 * (1.5 * each.cap_s + each.timeout_s) for each in retries)


def set_going_at(commit: Commit) -> datetime:
    """When it was accepted, or left the state in which it waited for its caller."""
    lines = (*commit.earlier, *commit.change.entries)
    return max(
        line.at for line in lines if line.from_state is None or line.from_state is State.RESERVED
    )


COMMIT_CHECKERS: tuple[Callable[[Commit], None], ...] = (
    a_stale_version_writes_nothing,
    what_is_terminal_stays,
    the_journal_goes_on,
    every_move_is_in_the_table,
    paying_is_decided_with_every_hold,
    a_decision_is_kept,
    each_state_is_announced_once,
    no_more_is_given_back_than_was_paid,
)


def a_call_was_decided(call: Call, reached: AbstractSet[State], *, operators: bool = False) -> None:
    """S3: no Confirm, and no Cancel, leaves before its decision is durable.

    An operator's answer that the pivot was not captured has it cancelled first (S5).
    """
    decided = _decisions(call)
    if operators and call.operation is Operation.CANCEL and call.phase.confirm_refusable:
        decided = decided | {State.CAPTURING}
    what = f"{call.operation.value} of {call.phase.name} left before it was decided"
    _require(not decided or bool(decided & reached), "S3", what)


def _decisions(call: Call) -> set[State]:
    """One of these has to be durable before the call leaves; none: nothing has to."""
    match call.operation:
        case Operation.CONFIRM if call.phase.confirm_refusable:
            return {State.CAPTURING, State.SETTLING}
        case Operation.CONFIRM:
            return {State.SETTLING}
        case Operation.CANCEL if call.step.dropped:
            return {State.CANCELLING, State.SETTLING}
        case Operation.CANCEL:
            return {State.CANCELLING}
        case _:
            return set()


def an_event_was_written(event: OutboxEvent, written: OutboxEvent | None) -> None:
    """S14: nothing is sent before its row is durable, and only what the row says."""
    _require(event == written, "S14", f"sent {event.state}, which is not in the outbox")


Place: TypeAlias = tuple[TransactionId, str]
"""A transaction and a phase."""


def nothing_takes_effect_twice(at: ModelParticipant, place: Place, _cancelled: bool) -> None:
    """S2: at most one effect per (transaction, phase, operation)."""
    for operation in Operation:
        count = at.effects[*place, operation]
        _require(count <= 1, "S2", f"{place[1]} {operation} took effect {count} times")


def nothing_is_confirmed_and_cancelled(
    at: ModelParticipant, place: Place, _cancelled: bool
) -> None:
    """S4: no participant has both effects."""
    both = at.effects[*place, Operation.CONFIRM] and at.effects[*place, Operation.CANCEL]
    _require(not both, "S4", f"{place[1]} was confirmed and cancelled")


def what_was_cancelled_holds_nothing(at: ModelParticipant, place: Place, cancelled: bool) -> None:
    """S8: a Try after its Cancel holds nothing. `cancelled`: a Cancel was answered."""
    record = at.records.get(place)
    _require(not cancelled or record not in _HOLDS, "S8", f"{place[1]} is {record} once cancelled")


EFFECT_CHECKERS: tuple[Callable[[ModelParticipant, Place, bool], None], ...] = (
    nothing_takes_effect_twice,
    nothing_is_confirmed_and_cancelled,
    what_was_cancelled_holds_nothing,
)
