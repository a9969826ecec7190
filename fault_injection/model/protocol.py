"""Everything that may happen next: the coordinators, the network and the participants together.

Three reductions keep the states few, and none of them loses a story:

one current process   a claim and every commit raise the row's version, so at most one process can
                      commit; it is modelled whole. Any number of others are *left behind*: they
                      can still send whatever their state lets a process send, at any time, and are
                      one bit for each state.
one call at a time    a process records its calls' answers one after the other, in any order and
                      between other events. What is sent counts as unanswered at once, and an
                      answer that comes after all is that of a repeated call.
symmetry              ordinary participants differ in nothing: their columns are sorted.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from coordinator.domain.flow import Flow
from coordinator.domain.machine import LIVE, SETTLED, State
from coordinator.domain.phase import Operation
from coordinator.domain.step import StepStatus
from fault_injection.model import fence
from fault_injection.model.coordinator import Cause, Coordinator, Move, Request, View
from fault_injection.model.fence import Status
from fault_injection.model.nodes import (
    BEHIND,
    DROPPED,
    HISTORIES,
    HISTORY,
    HISTORY_NUMBER,
    MANUAL,
    OWN,
    PROCESS,
    SENT,
    SENT_BIT,
    STATE_NUMBER,
    STATES,
    STATUS_NUMBER,
    STATUSES,
    Node,
    start,
    with_column,
    with_left_behind,
    with_process,
    with_row,
)
from fault_injection.model.variants import SOUND, Switches

MAX_STAGES = 2


class Happening(NamedTuple):
    """One thing that happens: its kind (see `story`), and what it concerns."""

    kind: str
    participant: int | None = None
    operation: Operation | None = None
    status: Status | None = None
    letter: str = ""
    after: View | None = None
    cause: Cause | None = None


class Protocol:
    """The system of one flow: where it starts, and what may follow.

    Raises ValueError for a flow whose ordinary participants are not alike.
    """

    def __init__(self, flow: Flow, switches: Switches = SOUND) -> None:
        self.coordinator = Coordinator(flow, switches)
        self.switches = switches
        self.phases = flow.called
        self.size = len(flow.called)
        self.pivot = self.size - 1 if flow.pivot is not None else self.size
        if flow.pivot not in {None, flow.called[-1]} or len(flow.stages) > MAX_STAGES:
            raise ValueError(f"flow {flow.name}: all but a pivot in the last place must be alike")
        self._sorted_to = 1 + self.pivot
        self._grown = cache(self._grown_anew)
        self._view = cache(self._view_anew)
        self._heard = cache(self._heard_anew)
        self._belated = cache(self._belated_anew)

    def starts(self) -> list[Node]:
        """A payment just accepted, to be captured automatically or manually."""
        return [start(self.coordinator.first(manual=manual)) for manual in (False, True)]

    def canonical(self, node: Node) -> Node:
        """The one of all nodes that differ in the order of ordinary participants alone."""
        end = self._sorted_to
        return (node[0], *sorted(node[1:end]), *node[end:])

    def at_rest(self, node: Node) -> bool:
        """Whether it is over: settled, and no request still on its way can change anything."""
        return STATES[node[0] & 7] in SETTLED and not any(
            self._grown(column >> SENT, i == self.pivot) for i, column in enumerate(node[1:])
        )

    def following(self, node: Node) -> Iterator[tuple[Happening, Node]]:
        """All that may happen next, each with the node that it leads to."""
        yield from self._arrivals(node)
        yield from self._callers(node)
        yield from self._takeovers(node)
        yield from self._sent_from_behind(node)
        process = node[0] >> PROCESS & 15
        if process:
            state = STATES[process - 1]
            owns = tuple(column >> OWN & (7 | 1 << DROPPED - OWN) for column in node[1:])
            view = self._view(state, node[0] >> MANUAL & 1, owns, DROPPED - OWN)
            yield Happening("crashes"), with_process(node, None)
            yield from self._calls(node, view)
            yield from self._moves(node, view)

    def row(self, node: Node) -> View:
        """The transaction as it stands in the table."""
        rows = tuple(column & (7 | 1 << DROPPED) for column in node[1:])
        return self._view(STATES[node[0] & 7], node[0] >> MANUAL & 1, rows, DROPPED)

    def _view_anew(
        self, state: State, manual: int, numbers: tuple[int, ...], dropped_at: int
    ) -> View:
        statuses = tuple(STATUSES[number & 7] for number in numbers)
        dropped = tuple(bool(number >> dropped_at & 1) for number in numbers)
        return View(state, bool(manual), statuses, dropped)

    def _arrivals(self, node: Node) -> Iterator[tuple[Happening, Node]]:
        for i in range(self.size):
            column = node[i + 1]
            for happening, history in self._grown(column >> SENT, i == self.pivot):
                grown = column & ((1 << HISTORY) - 1) | history << HISTORY
                yield happening._replace(participant=i), with_column(node, i, grown)

    def _grown_anew(self, column: int, is_pivot: bool) -> tuple[tuple[Happening, int], ...]:
        """What requests on their way, and the customer, can change at one participant."""
        sent, history = column & 7, HISTORIES[column >> HISTORY - SENT]
        grown = [
            (Happening("arrives", operation=operation, letter=after[-1]), after)
            for operation, bit in SENT_BIT.items()
            if sent & bit
            for after in fence.delivered(history, operation, self.switches, pivot=is_pivot)
        ]
        grown += [
            (Happening("customer", letter=after[-1]), after) for after in fence.decided(history)
        ]
        return tuple((happening, HISTORY_NUMBER[after]) for happening, after in grown)

    def _callers(self, node: Node) -> Iterator[tuple[Happening, Node]]:
        """A caller's cancel and capture are commits of their own, by whichever process."""
        row = self.row(node)
        cancelled, captured = self.coordinator.cancelled(row), self.coordinator.captured(row)
        if cancelled is not None:
            left = with_process(with_left_behind(node), None)
            yield Happening("cancel", after=cancelled), with_row(left, cancelled)
        for after in captured:
            left = with_process(with_left_behind(node), None)
            yield Happening("capture", after=after), with_row(left, after)

    def _takeovers(self, node: Node) -> Iterator[tuple[Happening, Node]]:
        """The row is claimed: after a crash, or while the one that had it still runs."""
        row = self.row(node)
        if row.state not in LIVE or self.switches.nobody_recovers:
            return
        taken = with_process(with_left_behind(node), self.coordinator.recovered(row))
        yield Happening("taken up"), taken
        if self.switches.claim_keeps_version and node[0] >> PROCESS & 15:
            behind = node[0] | 1 << BEHIND + STATE_NUMBER[row.state]
            yield Happening("taken up too"), (behind, *node[1:])

    def _sent_from_behind(self, node: Node) -> Iterator[tuple[Happening, Node]]:
        behind = node[0] >> BEHIND & 255
        if not behind:
            return
        dropped = tuple(column >> DROPPED & 1 for column in node[1:])
        for i, operation, bit in self._belated(behind, dropped):
            column = node[i + 1]
            if not column & bit:
                happening = Happening("sent late", i, operation)
                yield happening, with_column(node, i, column | bit)
        if self.switches.version_ignored and behind >> STATE_NUMBER[State.CREATED] & 1:
            trying, whole = (StepStatus.TRYING,) * self.size, (False,) * self.size
            known = View(State.CREATED, bool(node[0] >> MANUAL & 1), trying, whole)
            after = self.coordinator.cancelled(known)
            if after is not None:
                yield Happening("overwrites", after=after), with_row(node, after)

    def _belated_anew(
        self, behind: int, dropped: tuple[int, ...]
    ) -> tuple[tuple[int, Operation, int], ...]:
        """What processes left behind in these states may still send: to whom, what, its bit."""
        found = {
            (i, operation)
            for number, state in enumerate(STATES)
            if behind >> number & 1
            for i in range(self.size)
            for operation in self._may_send(state, bool(dropped[i]), is_pivot=i == self.pivot)
        }
        return tuple((i, operation, SENT_BIT[operation] << SENT) for i, operation in sorted(found))

    def _may_send(self, state: State, dropped: bool, *, is_pivot: bool) -> tuple[Operation, ...]:
        match state:
            case State.CREATED:
                return (Operation.TRY,)
            case State.CAPTURING:
                may = not dropped and (is_pivot or self.switches.confirms_in_parallel)
                return (Operation.CONFIRM,) if may else ()
            case State.SETTLING:
                return (Operation.CANCEL if dropped else Operation.CONFIRM,)
            case State.CANCELLING:
                return (Operation.CANCEL,)
            case _:
                return ()

    def _calls(self, node: Node, view: View) -> Iterator[tuple[Happening, Node]]:
        """The current process sends, or hears an answer."""
        for request in self.coordinator.options(view).requests:
            i, operation = request
            column = node[i + 1]
            bit = SENT_BIT.get(operation, 0) << SENT
            if bit:
                unanswered = self._heard(view, request, None)
                changed = column & ~(7 << OWN) | unanswered << OWN | bit
                if changed != column:
                    yield Happening("sends", i, operation), with_column(node, i, changed)
            if bit and not column & bit:
                continue
            history = HISTORIES[column >> HISTORY]
            for status in fence.heard(history, operation):
                answered = self._heard(view, request, status)
                changed = column & ~(7 << OWN) | answered << OWN
                if changed != column:
                    yield Happening("hears", i, operation, status), with_column(node, i, changed)

    def _heard_anew(self, view: View, request: Request, status: Status | None) -> int:
        after = self.coordinator.after(view, request, status)
        return STATUS_NUMBER[after.statuses[request.participant]]

    def _moves(self, node: Node, view: View) -> Iterator[tuple[Happening, Node]]:
        """The current process decides, and commits what it decided; or it gives the row back."""
        row = self.row(node)
        for move in self.coordinator.options(view).moves:
            yield self._move(node, move)
        if self.switches.decision_not_durable and view.state is not row.state:
            stays = None if view.state in SETTLED else view
            yield Happening("commits late", after=view), with_process(with_row(node, view), stays)
        elif view.state is row.state and view.statuses != row.statuses:
            yield Happening("gives back", after=view), with_process(with_row(node, view), None)

    def _move(self, node: Node, move: Move) -> tuple[Happening, Node]:
        after = move.after
        if self.switches.decision_not_durable:
            return Happening("decides", after=after, cause=move.cause), with_process(node, after)
        waits = after.state is State.RESERVED and after.manual
        stays = None if after.state in SETTLED or waits else after
        happening = Happening("commits", after=after, cause=move.cause)
        return happening, with_process(with_row(node, after), stays)
