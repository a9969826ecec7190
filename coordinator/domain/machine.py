"""The state machine of a transaction, as one literal table.

Everything that depends on which transitions exist comes from `TABLE`: the `transitions` machine,
the Mermaid diagram in the docs, the CHECK constraints of the schema and the exhaustive tests. There
are no guards, callbacks or wildcards: a choice is a different event, and `decide` makes it.

`transitions` is used as one model-less `Machine` for the whole process; a cursor with a `state`
attribute is moved through it. A machine per payment costs six times as much.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cache

from transitions import Machine, MachineError

from coordinator.domain.errors import IllegalTransition


class State(StrEnum):
    """Where a transaction stands."""

    CREATED = "CREATED"
    RESERVED = "RESERVED"
    CAPTURING = "CAPTURING"
    SETTLING = "SETTLING"
    PAID = "PAID"
    CANCELLING = "CANCELLING"
    FAILED = "FAILED"
    REFUNDED = "REFUNDED"


class Event(StrEnum):
    """What moves a transaction."""

    HOLD = "hold"
    RELEASE = "release"
    CAPTURE = "capture"
    SETTLE = "settle"
    PAY = "pay"
    FAIL = "fail"
    REFUND = "refund"


@dataclass(frozen=True, slots=True)
class Transition:
    """One row of the table."""

    source: State
    event: Event
    target: State
    meaning: str


TABLE: tuple[Transition, ...] = (
    Transition(State.CREATED, Event.HOLD, State.RESERVED, "every Try is durably held"),
    Transition(
        State.CREATED,
        Event.RELEASE,
        State.CANCELLING,
        "a Try was refused, the deadline passed, or the caller cancelled",
    ),
    Transition(State.RESERVED, Event.CAPTURE, State.CAPTURING, "decided to pay"),
    Transition(
        State.RESERVED,
        Event.RELEASE,
        State.CANCELLING,
        "cancelled by the caller, or the reservation expired",
    ),
    Transition(
        State.CAPTURING,
        Event.SETTLE,
        State.SETTLING,
        "the pivot is confirmed: from here the only way is forward",
    ),
    Transition(
        State.CAPTURING,
        Event.RELEASE,
        State.CANCELLING,
        "the pivot was definitely refused, nothing else was confirmed",
    ),
    Transition(State.SETTLING, Event.PAY, State.PAID, "every Confirm is durably done"),
    Transition(State.CANCELLING, Event.FAIL, State.FAILED, "every Cancel is durably done"),
    Transition(State.PAID, Event.REFUND, State.REFUNDED, "refunds have reached the paid amount"),
)

INITIAL = State.CREATED
SETTLED = frozenset({State.PAID, State.FAILED, State.REFUNDED})
"""Nothing moves by itself any more."""
TERMINAL = frozenset({State.FAILED, State.REFUNDED})
"""Nothing moves at all any more."""
LIVE = frozenset(State) - SETTLED
"""Somebody still has to drive it."""
IN_DOUBT = frozenset({State.CAPTURING, State.SETTLING, State.CANCELLING})
"""Decided, and not done at every participant yet."""
CANCELLABLE = frozenset({State.CREATED, State.RESERVED})
"""Not decided yet: a caller may still cancel."""
RELEASED = frozenset({State.CANCELLING, State.FAILED})
"""Will never be paid: an order with only such payments is free for another one."""
ANNOUNCED = frozenset({State.PAID, State.FAILED, State.REFUNDED})
"""Reaching one of these writes an outbox row in the same commit."""


class _Cursor:
    """What `transitions` moves: just a state."""

    __slots__ = ("state",)

    def __init__(self, state: str) -> None:
        self.state = state


_MACHINE = Machine(
    model=None,
    states=[state.value for state in State],
    initial=INITIAL.value,
    transitions=[[row.event.value, row.source.value, row.target.value] for row in TABLE],
    auto_transitions=False,
)


@cache
def fire(state: State, event: Event) -> State:
    """The state that `event` leads to from `state`.

    Raises IllegalTransition when the table has no such row. The machine has no memory, so that each
    row is asked of it once.
    """
    cursor = _Cursor(state.value)
    try:
        _MACHINE.events[event.value].trigger(cursor)
    except MachineError as error:
        raise IllegalTransition(state=state.value, event=event.value) from error
    return State(cursor.state)


def mermaid() -> str:
    """The table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", f"    [*] --> {INITIAL}"]
    lines += [f"    {row.source} --> {row.target}: {row.event}" for row in TABLE]
    lines += [f"    {state} --> [*]" for state in State if state in TERMINAL]
    return "\n".join(lines)


def state_check(column: str, states: frozenset[State] | None = None) -> str:
    """SQL: `column` is one of `states` (all of them by default)."""
    wanted = ", ".join(f"'{state}'" for state in State if states is None or state in states)
    return f"{column} IN ({wanted})"


def transition_check(source: str, event: str, target: str) -> str:
    """SQL: the three columns together are a row of the table."""
    rows = (
        f"({source} = '{row.source}' AND {event} = '{row.event}' AND {target} = '{row.target}')"
        for row in TABLE
    )
    return " OR ".join(rows)
