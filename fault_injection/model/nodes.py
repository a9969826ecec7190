"""A state of the whole system, packed into integers, and unpacked to be read.

A node is a head and one column for each participant:

head    the row's state, the current process's state (or none), which states processes that were
        left behind are in, whether the payment is captured manually
column  the step's status in the row and in the current process's memory, which requests were ever
        sent, whether it was decided to take nothing of it, the participant's history
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from coordinator.domain.machine import State
from coordinator.domain.phase import Operation
from coordinator.domain.step import StepStatus
from fault_injection.model.coordinator import View
from fault_injection.model.fence import histories
from fault_injection.model.variants import SOUND, VARIANTS

Node: TypeAlias = tuple[int, ...]

STATES = tuple(State)
STATUSES = tuple(StepStatus)
STATE_NUMBER = {state: number for number, state in enumerate(STATES)}
STATUS_NUMBER = {status: number for number, status in enumerate(STATUSES)}
SENT_BIT = {Operation.TRY: 1, Operation.CONFIRM: 2, Operation.CANCEL: 4}

PROCESS, BEHIND, MANUAL = 3, 7, 15
"""Where in a head they begin; the row's state is first, in 3 bits, and process 0 is none."""
OWN, SENT, DROPPED, HISTORY = 3, 6, 9, 10
"""Where in a column they begin; the row's status is first, in 3 bits."""

HISTORIES = tuple(
    dict.fromkeys(
        history
        for switches in (SOUND, *(variant.switches for variant in VARIANTS))
        for history in histories(switches)
    )
)
"""Every history there is, those of broken participants included."""
HISTORY_NUMBER = {history: number for number, history in enumerate(HISTORIES)}


class Column(NamedTuple):
    """One participant, and what is known of it."""

    row: StepStatus
    own: StepStatus
    sent: frozenset[Operation]
    dropped: bool
    history: str


class Scene(NamedTuple):
    """A node, unpacked. `process` is None when no process is current."""

    state: State
    process: State | None
    behind: frozenset[State]
    manual: bool
    columns: tuple[Column, ...]


def column_of(packed: int) -> Column:
    """A column, unpacked."""
    sent = packed >> SENT & 7
    return Column(
        STATUSES[packed & 7],
        STATUSES[packed >> OWN & 7],
        frozenset(operation for operation, bit in SENT_BIT.items() if sent & bit),
        bool(packed >> DROPPED & 1),
        HISTORIES[packed >> HISTORY],
    )


def scene_of(node: Node) -> Scene:
    """A node, unpacked."""
    head = node[0]
    process, behind = head >> PROCESS & 15, head >> BEHIND & 255
    return Scene(
        STATES[head & 7],
        STATES[process - 1] if process else None,
        frozenset(state for number, state in enumerate(STATES) if behind >> number & 1),
        bool(head >> MANUAL & 1),
        tuple(column_of(column) for column in node[1:]),
    )


def start(view: View) -> Node:
    """The node in which `view` was just committed, by a process that goes on with it."""
    number = STATE_NUMBER[view.state]
    head = number | number + 1 << PROCESS | view.manual << MANUAL
    statuses = (STATUS_NUMBER[status] for status in view.statuses)
    return (head, *(status | status << OWN for status in statuses))


def with_column(node: Node, participant: int, column: int) -> Node:
    """The node with one participant's column changed."""
    at = participant + 1
    return (*node[:at], column, *node[at + 1 :])


def with_row(node: Node, view: View) -> Node:
    """The node with this in the table."""
    head = node[0] & ~7 | STATE_NUMBER[view.state]
    steps = zip(node[1:], view.statuses, view.dropped, strict=True)
    return (
        head,
        *(
            column & ~(7 | 1 << DROPPED) | STATUS_NUMBER[status] | dropped << DROPPED
            for column, status, dropped in steps
        ),
    )


def with_process(node: Node, view: View | None) -> Node:
    """The node with a current process that believes this, or with none."""
    head = node[0] & ~(15 << PROCESS)
    if view is None:
        return (head, *(column & ~(7 << OWN) for column in node[1:]))
    head |= STATE_NUMBER[view.state] + 1 << PROCESS
    pairs = zip(node[1:], view.statuses, strict=True)
    return (
        head,
        *(column & ~(7 << OWN) | STATUS_NUMBER[status] << OWN for column, status in pairs),
    )


def with_left_behind(node: Node) -> Node:
    """The node in which the current process is no longer current, and does not know it."""
    process = node[0] >> PROCESS & 15
    if not process:
        return node
    return (node[0] | 1 << BEHIND + process - 1, *node[1:])
