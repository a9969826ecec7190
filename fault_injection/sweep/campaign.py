"""Which cases a campaign has: every single fault, every outage, and those of two or three at once.

The points come from a clean run of each path, so a new flow, phase or path brings its own cases.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from fault_injection.business_paths import paths_on
from fault_injection.coverage.tally import Cell
from fault_injection.simulation.swarm import draw
from fault_injection.sweep import places
from fault_injection.sweep.cases import Case, Injection
from fault_injection.sweep.run import Tried, play
from fault_injection.world import FLOWS

WINDOWS = (4, 8, 16, 32)
"""How many times in a row something fails in an outage, unless it is said."""
_EITHER = (places.CRASH_BEFORE, places.CRASH_AFTER)
"""Before a commit is durable, and after: a crash in between leaves the same behind."""
AGAIN = (1, 2)
"""At which commits of the coordinator that takes over it dies as well."""


@dataclass(frozen=True, eq=False)
class Surveyed:
    """A path of a flow, run without faults: which points there are."""

    flow: str
    path: str
    clean: Tried

    @property
    def singles(self) -> tuple[Case, ...]:
        """A case for each fault at each point, and for each crash that comes twice."""
        found = [self._case(each) for each in self._faults()]
        for crash in (each for each in self._faults() if each.fault in _EITHER):
            found += [
                self._case(crash, Injection(places.RECOVERY, number, again))
                for number in AGAIN
                for again in _EITHER
            ]
        return tuple(found)

    def windows(self, lengths: Sequence[int]) -> tuple[Case, ...]:
        """A case for each outage of each length from each point."""
        flow = FLOWS[self.flow]
        return tuple(
            self._case(Injection(place, number, fault, times))
            for place, number in self.clean.points
            for fault in places.faults_at(place, flow)
            for times in places.lengths_of(place, fault, lengths)
        )

    def pairs(self) -> Iterator[Case]:
        """Every two single faults at different points."""
        for first, second in itertools.combinations(self._faults(), 2):
            if (first.place, first.number) != (second.place, second.number):
                yield self._case(first, second)

    def some(self, size: int, count: int, seed: int) -> tuple[Case, ...]:
        """At most `count` cases of so many single faults at different points, drawn by the seed."""
        single = self._faults()
        found: dict[Case, None] = {}
        for attempt in range(4 * count):
            key = (seed, self.flow, self.path, size, attempt)
            chosen = sorted({int(draw(*key, each) * len(single)) for each in range(size)})
            injections = [single[each] for each in chosen]
            if len({(each.place, each.number) for each in injections}) == size:
                found[self._case(*injections)] = None
            if len(found) == count:
                break
        return tuple(found)

    def _case(self, *injections: Injection) -> Case:
        return Case(self.flow, self.path, injections)

    def _faults(self) -> list[Injection]:
        flow = FLOWS[self.flow]
        return [
            Injection(place, number, fault)
            for place, number in self.clean.points
            if not place.startswith(places.PARTICIPANT)  # once it is a request that is lost
            for fault in places.faults_at(place, flow)
        ]


def survey(flow: str, path: str, seed: int = 0) -> Surveyed:
    """Runs the path without faults. What does not hold then is in `clean.finding`."""
    return Surveyed(flow, path, play(Case(flow, path), seed))


def walks(flows: Sequence[str], paths: Sequence[str]) -> list[tuple[str, str]]:
    """Every (flow, path) of these flows; of these paths where a flow has them, or of all."""
    return [(flow, path) for flow in flows for path in paths_on(flow) if not paths or path in paths]


class Kind(StrEnum):
    """What the cases of a campaign have in common."""

    CLEAN = "clean"
    SINGLES = "singles"
    WINDOWS = "windows"
    PAIRS = "pairs"
    TRIPLES = "triples"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which cases a campaign has besides the singles.

    windows  lengths of outages
    pairs    how many of each path are drawn; None: all
    triples  how many of each path are drawn
    """

    seed: int = 0
    windows: tuple[int, ...] = WINDOWS
    pairs: int | None = 0
    triples: int = 0


@dataclass(frozen=True, slots=True)
class Portion:
    """Some of the cases of one kind on one path: those from `start` to before `stop`."""

    flow: str
    path: str
    kind: Kind
    wanted: Wanted
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Played:
    """A portion that is over: how many cases it had, and the first that failed, if any.

    cells  what was tried, and what came of it
    """

    portion: Portion
    cases: int
    failed: Case | None
    cells: Mapping[Cell, int]


PORTION = 50
"""How many cases a portion has at most: a second or so."""


def portions(flow: str, path: str, wanted: Wanted) -> Iterator[Portion]:
    """All that is wanted of a path. Its clean run is the first."""
    surveyed = surveyed_once(flow, path, wanted.seed)
    for kind in Kind:
        count = len(cases_of(surveyed, kind, wanted))
        for start in range(0, count, PORTION):
            yield Portion(flow, path, kind, wanted, start, min(count, start + PORTION))


def play_portion(portion: Portion) -> Played:
    """Plays its cases up to the first that fails."""
    wanted = portion.wanted
    surveyed = surveyed_once(portion.flow, portion.path, wanted.seed)
    cases = cases_of(surveyed, portion.kind, wanted)[portion.start : portion.stop]
    cells: Counter[Cell] = Counter()
    for number, case in enumerate(cases, 1):
        tried = play(case, wanted.seed)
        cells.update(tried.cells)
        if tried.finding is not None:
            return Played(portion, number, case, cells)
    return Played(portion, len(cases), None, cells)


@lru_cache(maxsize=4)
def surveyed_once(flow: str, path: str, seed: int) -> Surveyed:
    """The same as `survey`, remembered for the portions that follow."""
    return survey(flow, path, seed)


@lru_cache(maxsize=8)
def cases_of(surveyed: Surveyed, kind: Kind, wanted: Wanted) -> tuple[Case, ...]:
    """The cases of this kind, in their order."""
    match kind:
        case Kind.CLEAN:
            return (surveyed.clean.case,)
        case Kind.SINGLES:
            return surveyed.singles
        case Kind.WINDOWS:
            return surveyed.windows(wanted.windows)
        case Kind.PAIRS if wanted.pairs is None:
            return tuple(surveyed.pairs())
        case Kind.PAIRS:
            return surveyed.some(2, wanted.pairs or 0, wanted.seed)
        case Kind.TRIPLES:
            return surveyed.some(3, wanted.triples, wanted.seed)
