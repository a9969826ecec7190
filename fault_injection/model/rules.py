"""What must hold in every state, and of every step from one to the next: one checker a rule.

The numbers are those of the invariants. A checker of a column sees one participant and the row's
state; a checker of a scene sees all of them; a checker of a commit sees what it cites.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from coordinator.domain.machine import TABLE, State
from coordinator.domain.phase import Operation
from coordinator.domain.step import StepStatus
from fault_injection.model import fence
from fault_injection.model.coordinator import Cause
from fault_injection.model.nodes import Column, Scene
from fault_injection.model.variants import Switches

UNDECIDED = frozenset({State.CREATED, State.RESERVED})
FORWARD = frozenset({State.CAPTURING, State.SETTLING, State.PAID})
RULES = ("S1", "S3", "S4", "S5", "S6", "S7", "S8", "S9", "L1")
DEADLINES = frozenset({"TRY_DEADLINE_EXCEEDED", "RESERVATION_EXPIRED"})


class Breach(NamedTuple):
    """A rule that does not hold, and what is seen of it. `participant` is its number."""

    rule: str
    what: str
    participant: int | None = None


ColumnChecker: TypeAlias = Callable[[State, Column, Switches], Breach | None]


def nothing_confirmed_before_the_decision(
    state: State, column: Column, _switches: Switches
) -> Breach | None:
    """S3: no Confirm leaves before CAPTURING is durable and every Try held; no Cancel either."""
    for operation in (Operation.CONFIRM, Operation.CANCEL):
        if state in UNDECIDED and operation in column.sent:
            return Breach("S3", f"a {operation.capitalize()} has left, and the row is {state}")
    if state in FORWARD and fence.HELD not in column.history:
        return Breach("S3", f"the row is {state}, and this participant never held")
    if state is State.CAPTURING and column.row in {StepStatus.UNTRIED, StepStatus.TRYING}:
        return Breach("S3", f"the row is {state}, and its step is {column.row}")
    return None


def never_confirmed_and_cancelled(
    _state: State, column: Column, _switches: Switches
) -> Breach | None:
    """S4: no participant is confirmed and cancelled, and no Cancel is sent to a confirmed one."""
    confirmed = fence.CONFIRMED in column.history
    if confirmed and fence.CANCELLED in column.history:
        return Breach("S4", "it was confirmed and cancelled")
    if confirmed and Operation.CANCEL in column.sent:
        return Breach("S4", "it is confirmed, and a Cancel was sent to it")
    if column.dropped and Operation.CONFIRM in column.sent:
        return Breach("S4", "nothing was to be taken of it, and a Confirm was sent to it")
    return None


def cancels_without_a_try_succeed(
    _state: State, column: Column, switches: Switches
) -> Breach | None:
    """S7: a Cancel is answered with success whatever came before, and moves nothing by itself."""
    if Operation.CANCEL not in column.sent or fence.now(column.history) != fence.NOTHING:
        return None
    after = fence.delivered(column.history, Operation.CANCEL, switches, pivot=False)
    for history in after or (column.history,):
        if fence.answer(history, Operation.CANCEL) is not fence.Status.CANCELLED:
            return Breach("S7", "a Cancel that comes before its Try is answered with an error")
        if fence.now(history) in fence.HOLDING:
            return Breach("S7", "a Cancel that comes before its Try holds something")
    return None


def nothing_held_once_settled(state: State, column: Column, _switches: Switches) -> Breach | None:
    """S8, S1: a settled row tells the truth of every participant, and no late Try changes it."""
    stands = fence.now(column.history)
    if state is State.FAILED and stands in fence.HOLDING:
        return Breach("S8", f"the row is {state}, and the participant holds")
    if state is State.FAILED and stands == fence.CONFIRMED:
        return Breach("S1", f"the row is {state}, and the participant is confirmed")
    if state is State.PAID and column.dropped and stands in fence.HOLDING:
        return Breach("S8", f"the row is {state} without it, and the participant holds")
    if state is State.PAID and column.dropped == (stands == fence.CONFIRMED):
        wrong = "confirmed, of which nothing was to be taken" if column.dropped else "not confirmed"
        return Breach("S1", f"the row is {state}, and the participant is {wrong}")
    return None


def nothing_cancelled_that_is_to_be_paid(
    state: State, column: Column, _switches: Switches
) -> Breach | None:
    """S5: once it is decided to pay, a Cancel goes only to what a partial capture drops."""
    if state in FORWARD and Operation.CANCEL in column.sent and not column.dropped:
        return Breach("S5", f"a Cancel has left, and the row is {state}")
    return None


COLUMN_CHECKERS: tuple[ColumnChecker, ...] = (
    nothing_confirmed_before_the_decision,
    never_confirmed_and_cancelled,
    cancels_without_a_try_succeed,
    nothing_held_once_settled,
    nothing_cancelled_that_is_to_be_paid,
)


def pivot_first_and_alone(scene: Scene, pivot: int) -> Breach | None:
    """S5: until the pivot is confirmed, and that is durable, no other Confirm leaves."""
    if pivot >= len(scene.columns):
        return None
    last = scene.columns[pivot]
    done = last.dropped or fence.CONFIRMED in last.history
    settled = done and scene.state in {State.SETTLING, State.PAID}
    for i, column in enumerate(scene.columns):
        if i != pivot and Operation.CONFIRM in column.sent and not settled:
            what = f"its Confirm has left, the row is {scene.state} and the pivot may still refuse"
            return Breach("S5", what, i)
    return None


_ROWS = {(row.source, row.target) for row in TABLE}


def along_the_table(before: State, after: State) -> Breach | None:
    """S9: every commit is a way of the table (several rows may be passed in one commit)."""
    reached, frontier = {before}, [before]
    while frontier:
        source = frontier.pop()
        new = {target for start, target in _ROWS if start is source} - reached
        reached |= new
        frontier += new
    if after is before or after not in reached:
        return Breach("S9", f"a commit takes the row from {before} to {after}")
    return None


def releases_cite_a_cause(scene: Scene, target: State, cause: Cause | None) -> Breach | None:
    """S6, S5: a release cites a refusal that was given, a caller, or a deadline before CAPTURING.

    From CAPTURING only the pivot's refusal counts, and only while nothing else was confirmed.
    """
    if target is not State.CANCELLING:
        return None
    if cause is None:
        return Breach("S6", "a release cites nothing")
    if cause.code in DEADLINES:
        late = scene.state not in UNDECIDED
        return Breach("S6", f"released by a deadline while {scene.state}") if late else None
    if cause.participant is None:
        return Breach("S6", f"a release cites {cause.code}, which is nobody's")
    history = scene.columns[cause.participant].history
    refusals = {fence.REFUSED, fence.CONFIRM_REFUSED, fence.CANCELLED}
    if not refusals & set(history):
        what = f"a release cites its refusal, and it never refused (the row is {scene.state})"
        return Breach("S6", what, cause.participant)
    others = (c for i, c in enumerate(scene.columns) if i != cause.participant)
    if scene.state is State.CAPTURING and any(Operation.CONFIRM in c.sent for c in others):
        return Breach("S5", "released from CAPTURING although another Confirm has left")
    return None
