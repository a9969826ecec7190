"""One case of an exhaustive campaign: a path on a flow, and exactly what goes wrong on it.

A case has a name that replays it: `card_only/refund-all/commit@3:crash-before+broker@1:…`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from fault_injection.business_paths import paths_on
from fault_injection.sweep.places import faults_at
from fault_injection.world import FLOWS

CLEAN = "clean"
"""What stands in a case's name for nothing that goes wrong."""
MOST_TIMES = 1000
_INJECTION = re.compile(r"([a-z0-9_.-]+)@([1-9][0-9]{0,5}):([a-z-]+)(?::([1-9][0-9]{0,3}))?")


@dataclass(frozen=True, slots=True)
class Injection:
    """At `place`, from the `number`-th time (1, 2, …) that it is reached, `fault`, `times` times.

    place  see `places`
    """

    place: str
    number: int
    fault: str
    times: int = 1

    def __str__(self) -> str:
        """As it stands in a case's name."""
        times = f":{self.times}" if self.times > 1 else ""
        return f"{self.place}@{self.number}:{self.fault}{times}"

    def covers(self, number: int) -> bool:
        """Whether it befalls the `number`-th time."""
        return self.number <= number < self.number + self.times


@dataclass(frozen=True, slots=True)
class Case:
    """What happens on which path of which flow.

    Raises ValueError when there is no such flow, path, place or fault.
    """

    flow: str
    path: str
    injections: tuple[Injection, ...] = ()

    def __post_init__(self) -> None:
        if self.flow not in FLOWS:
            raise ValueError(f"there is no flow {self.flow}; there are {', '.join(FLOWS)}")
        paths = paths_on(self.flow)
        if self.path not in paths:
            names = ", ".join(map(dashed, paths))
            raise ValueError(f"{self.flow} has no path {dashed(self.path)}; it has {names}")
        for injection in self.injections:
            known = faults_at(injection.place, FLOWS[self.flow])
            if injection.fault not in known:
                some = f"there are {', '.join(known)}" if known else "there is no such place"
                raise ValueError(f"{injection} cannot be on {self.flow}: {some}")
            if not 1 <= injection.times <= MOST_TIMES:
                raise ValueError(f"{injection}: times must be in 1..{MOST_TIMES}")

    def __str__(self) -> str:
        """The name that replays it."""
        what = "+".join(map(str, self.injections)) or CLEAN
        return f"{self.flow}/{dashed(self.path)}/{what}"


def dashed(path: str) -> str:
    """A path's name without spaces: what a shell takes as one word."""
    return path.replace(" ", "-")


def path_named(flow: str, name: str) -> str:
    """The path that is called so, with spaces or with dashes. Raises ValueError."""
    for path in paths_on(flow):
        if name in {path, dashed(path)}:
            return path
    return name  # Case says what there is


def case_named(name: str) -> Case:
    """The case of this name. Raises ValueError when there is none."""
    flow, _, rest = name.partition("/")
    path, _, what = rest.partition("/")
    if not what:
        raise ValueError(f"a case is called FLOW/PATH/FAULTS, not {name!r}")
    if flow not in FLOWS:
        raise ValueError(f"there is no flow {flow}; there are {', '.join(FLOWS)}")
    injections = () if what == CLEAN else tuple(map(_injection, what.split("+")))
    return Case(flow, path_named(flow, path), injections)


def _injection(text: str) -> Injection:
    found = _INJECTION.fullmatch(text)
    if found is None:
        raise ValueError(
            f"a fault is called PLACE@NUMBER:FAULT or PLACE@NUMBER:FAULT:TIMES, not {text!r}"
        )
    place, number, fault, times = found.groups()
    return Injection(place, int(number), fault, int(times or 1))
