"""Explores breadth first: every state once, every rule in each, and an end from everywhere.

Breadth first, so that the first breach that is found has one of the shortest stories there are.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cache

from coordinator.domain.machine import State
from fault_injection.model import rules
from fault_injection.model.nodes import STATES, Node, column_of, scene_of
from fault_injection.model.protocol import Happening, Protocol
from fault_injection.model.rules import RULES, Breach

STUCK = Breach("L1", "whatever happens from here, it never comes to its end")

LOOK = 10_000
"""How many states are explored between two looks at the progress."""


@dataclass(frozen=True, slots=True)
class Found:
    """A breach, and how it comes about: each happening with the node that it leads to."""

    breach: Breach
    start: Node
    story: tuple[tuple[Happening, Node], ...]


@dataclass(frozen=True, slots=True)
class Explored:
    """What came of it.

    states  different ones; steps  ways from one to the next; ends  states at rest, by their state
    depth   of the state that is furthest from the start, in steps
    found   the first breach; None when there is none
    """

    states: int
    steps: int
    depth: int
    ends: dict[State, int]
    found: Found | None


class Exploration:
    """One run over one protocol.

    `watched` are the rules that count; all by default. `progress` is told now and then how many
    states are explored and how many are known.
    """

    def __init__(
        self,
        protocol: Protocol,
        watched: Collection[str] = RULES,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self._protocol = protocol
        self._progress = progress or (lambda _explored, _known: None)
        self._watched = frozenset(watched)
        self._number: dict[Node, int] = {}
        self._nodes: list[Node] = []
        self._parents = array("q")
        self._depths = array("i")
        self._first = array("q", [0])
        self._targets = array("q")
        self._column = cache(self._column_breach)

    def run(self) -> Explored:
        """Explores until there is nothing new, or a breach."""
        breach, at = self._breadth_first()
        ends: dict[State, int] = {}
        if breach is None:
            resting = [n for n, node in enumerate(self._nodes) if self._protocol.at_rest(node)]
            for number in resting:
                state = STATES[self._nodes[number][0] & 7]
                ends[state] = ends.get(state, 0) + 1
            if "L1" in self._watched:
                stuck = self._first_stuck(resting)
                breach, at = (None, 0) if stuck is None else (STUCK, stuck)
        found = None if breach is None else self._tell(breach, at)
        return Explored(len(self._nodes), len(self._targets), max(self._depths), ends, found)

    def _breadth_first(self) -> tuple[Breach | None, int]:
        """The first breach, and the number of the last node before it."""
        protocol, number_of = self._protocol, self._number
        for node in protocol.starts():
            self._add(protocol.canonical(node), -1)
        at = 0
        while at < len(self._nodes):
            node = self._nodes[at]
            if at % LOOK == 0:
                self._progress(at, len(self._nodes))
            for happening, raw in protocol.following(node):
                if raw == node:
                    continue
                breach = self._commit_breach(node, happening)
                if breach is not None:
                    return breach, at
                reached = protocol.canonical(raw)
                number = number_of.get(reached)
                if number is None:
                    number = self._add(reached, at)
                    breach = self._breach(reached)
                    if breach is not None:
                        return breach, at
                self._targets.append(number)
            self._first.append(len(self._targets))
            at += 1
        return None, at

    def _add(self, node: Node, parent: int) -> int:
        number = self._number[node] = len(self._nodes)
        self._nodes.append(node)
        self._parents.append(parent)
        self._depths.append(0 if parent < 0 else self._depths[parent] + 1)
        return number

    def _breach(self, node: Node) -> Breach | None:
        state = STATES[node[0] & 7]
        for i, column in enumerate(node[1:]):
            breach = self._column(state, column)
            if breach is not None:
                return breach._replace(participant=i)
        if "S5" in self._watched:
            return rules.pivot_first_and_alone(scene_of(node), self._protocol.pivot)
        return None

    def _column_breach(self, state: State, packed: int) -> Breach | None:
        column = column_of(packed)
        for checker in rules.COLUMN_CHECKERS:
            breach = checker(state, column, self._protocol.switches)
            if breach is not None and breach.rule in self._watched:
                return breach
        return None

    def _commit_breach(self, node: Node, happening: Happening) -> Breach | None:
        """Of a commit that moves the row; decisions that are not committed yet are none."""
        if happening.after is None or happening.kind in {"gives back", "decides"}:
            return None
        scene, target = scene_of(node), happening.after.state
        breaches = [rules.along_the_table(scene.state, target)]
        if happening.kind == "commits":
            breaches.append(rules.releases_cite_a_cause(scene, target, happening.cause))
        return next((b for b in breaches if b is not None and b.rule in self._watched), None)

    def _first_stuck(self, resting: list[int]) -> int | None:
        """The first state from which no state at rest can be reached; None when there is none."""
        good = bytearray(len(self._nodes))
        for number in resting:
            good[number] = 1
        first, targets = self._first, self._targets
        waiting = [number for number in range(len(self._nodes) - 1, -1, -1) if not good[number]]
        while True:
            left = []
            for number in waiting:
                for at in range(first[number], first[number + 1]):
                    if good[targets[at]]:
                        good[number] = 1
                        break
                else:
                    left.append(number)
            if len(left) == len(waiting):
                return min(left, default=None)
            waiting = left

    def _tell(self, breach: Breach, number: int) -> Found:
        """The story again from its start, with every participant keeping its own name."""
        numbers = [number]
        while self._parents[numbers[-1]] >= 0:
            numbers.append(self._parents[numbers[-1]])
        path = [self._nodes[each] for each in reversed(numbers)]
        start = node = path[0]
        story = []
        for wanted in path[1:]:
            happening, node = next(
                (happening, raw)
                for happening, raw in self._protocol.following(node)
                if self._protocol.canonical(raw) == wanted
            )
            story.append((happening, node))
        if breach is not STUCK:
            breach, *ending = self._ending(node, breach)
            story += ending
        return Found(breach, start, tuple(story))

    def _ending(self, node: Node, breach: Breach) -> tuple[Breach, tuple[Happening, Node]]:
        """The same breach from a node that may have its participants in another order."""
        for happening, raw in self._protocol.following(node):
            same = self._commit_breach(node, happening) or self._breach(raw)
            if same is not None and same[:2] == breach[:2]:
                return same, (happening, raw)
        raise AssertionError("what was seen of a node is seen of it in any order")


def explore(
    protocol: Protocol,
    watched: Collection[str] = RULES,
    progress: Callable[[int, int], None] | None = None,
) -> Explored:
    """Explores `protocol`; see Exploration for what it is given."""
    return Exploration(protocol, watched, progress).run()
