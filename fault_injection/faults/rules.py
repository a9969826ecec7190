"""One rule: which fault happens where, and how often. Immutable, and checked when it is made.

Whether the n-th call at a place meets the fault depends on the rule and on n alone, so the same
rules over the same calls in the same order do the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import grpc

from fault_injection.faults.kinds import (
    COMMIT_METHOD,
    KINDS,
    REFUSED,
    SIMULATED_ONLY,
    Area,
    Kind,
)
from fault_injection.faults.places import Place, place_of
from fault_injection.simulation.swarm import draw
from phases.flows import FLOW_ROWS
from phases.registry import PHASES

LONGEST_S = 3600.0
"""Nothing lasts longer, in seconds."""
_FLOW_IS_KNOWN = {Area.PARTICIPANTS, Area.PUBLISHER}


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    kind         what happens
    place        where
    flow         only to payments of this flow; empty: of any
    probability  0..1: of those that the position allows, how many meet the fault
    first        the first call (1, 2, …) that may meet it
    count        how many calls from there on may; None: all
    every        only every n-th of them
    duration_s   how long it lasts, or delays, in seconds; None: the kind has no time
    code         the gRPC status' name, for kinds that are one
    seed         decides which calls meet it, where chance does
    """

    kind: Kind
    place: Place
    flow: str = ""
    probability: float = 1.0
    first: int = 1
    count: int | None = None
    every: int = 1
    duration_s: float | None = None
    code: str = ""
    seed: int = 0

    def hits(self, number: int) -> bool:
        """Whether the n-th call (1, 2, …) at the place meets the fault."""
        after = number - self.first
        if after < 0 or after % self.every or (self.count is not None and after >= self.count):
            return False
        key = (self.seed, self.kind.name, self.place.text, number)
        return self.probability == 1.0 or draw(*key) < self.probability

    def __str__(self) -> str:
        """The rule as `read` reads it, with what it has of its own."""
        shown: list[tuple[str, object, object]] = [
            ("flow", self.flow, ""),
            ("probability", self.probability, 1.0),
            ("from", self.first, 1),
            ("count", self.count, None),
            ("every", self.every, 1),
            ("duration_s", self.duration_s, None),
            ("code", self.code, ""),
            ("seed", self.seed, 0),
        ]
        parts = [f"{name}={value}" for name, value, usual in shown if value != usual]
        return ",".join([f"{self.kind.name}@{self.place.text}", *parts])


class BadField(ValueError):
    """A field of a rule that cannot be used."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")


def rule_of(fields: Mapping[str, object]) -> Rule:
    """The rule with these fields, of which kind and place are required. Raises BadField."""
    unknown = sorted(fields.keys() - _FIELDS)
    if unknown:
        raise BadField(unknown[0], f"no field of a rule; there are {', '.join(_FIELDS)}")
    kind = _kind(fields.get("kind"))
    place = _place(kind, fields.get("place"))
    first, count, every = _position(fields)
    return Rule(
        kind=kind,
        place=place,
        flow=_flow(place, fields.get("flow", "")),
        probability=_number(fields, "probability", 1.0, 1.0),
        first=first,
        count=count,
        every=every,
        duration_s=_duration(kind, fields),
        code=_code(kind, fields.get("code")),
        seed=_whole(fields, "seed", 0, at_least=0) or 0,
    )


_FIELDS = (
    "kind",
    "place",
    "flow",
    "probability",
    "nth",
    "every",
    "from",
    "count",
    "duration_s",
    "code",
    "seed",
)


def _kind(given: object) -> Kind:
    if isinstance(given, str) and given in KINDS:
        return KINDS[given]
    if isinstance(given, str) and given in SIMULATED_ONLY:
        raise BadField("kind", f"{given} is for `kessai simulate` alone; {_those_there_are()}")
    raise BadField("kind", f"{_no(given)}; {_those_there_are()}")


def _those_there_are() -> str:
    return f"there are {', '.join(KINDS)}"


def _no(given: object) -> str:
    return "required" if given in (None, "") else f"there is no {given}"


def _place(kind: Kind, given: object) -> Place:
    if not isinstance(given, str):
        raise BadField("place", "required, as text such as card_charge/confirm")
    try:
        place = place_of(given)
    except ValueError as error:
        raise BadField("place", str(error)) from None
    if not kind.happens_at(place.area, place.detail):
        where = "; ".join(
            f"{area}/{'|'.join(details)}" if details else area
            for area, details in kind.areas.items()
        )
        raise BadField("place", f"{kind.name} cannot happen at {given}; it can at {where}")
    phase = PHASES.get(place.name)
    refusable = phase is None or phase.confirm_refusable
    if kind.name == REFUSED and place.detail == "confirm" and not refusable:
        raise BadField("place", f"{place.name} cannot refuse a Confirm: it is no pivot")
    return place


def _flow(place: Place, given: object) -> str:
    known = [row.name for row in FLOW_ROWS]
    if given == "":
        return ""
    if given not in known:
        raise BadField("flow", f"there is no {given}; there are {', '.join(known)}")
    commits = place.area is Area.STORE and place.detail == COMMIT_METHOD
    if place.area not in _FLOW_IS_KNOWN and not commits:
        raise BadField("flow", f"at {place.text} nobody knows the flow")
    return str(given)


def _position(fields: Mapping[str, object]) -> tuple[int, int | None, int]:
    nth = _whole(fields, "nth", None, at_least=1)
    every = _whole(fields, "every", None, at_least=1)
    first = _whole(fields, "from", None, at_least=1)
    count = _whole(fields, "count", None, at_least=1)
    if nth is None:
        return first or every or 1, count, every or 1
    if every is not None or first is not None or count is not None:
        raise BadField("nth", "goes with none of every, from and count")
    return nth, 1, 1


def _duration(kind: Kind, fields: Mapping[str, object]) -> float | None:
    if kind.duration_s is None:
        if "duration_s" in fields:
            raise BadField("duration_s", f"{kind.name} has none")
        return None
    return _number(fields, "duration_s", kind.duration_s, LONGEST_S)


def _code(kind: Kind, given: object) -> str:
    if not kind.coded:
        if given is not None:
            raise BadField("code", f"{kind.name} has none")
        return ""
    if given is None:
        return grpc.StatusCode.UNAVAILABLE.name
    known = [code.name for code in grpc.StatusCode if code is not grpc.StatusCode.OK]
    if given not in known:
        raise BadField("code", f"there is no {given}; there are {', '.join(known)}")
    return str(given)


def _number(fields: Mapping[str, object], name: str, usual: float, high: float) -> float:
    given: Any = fields.get(name, usual)
    good = isinstance(given, int | float) and not isinstance(given, bool) and math.isfinite(given)
    if not good or not 0 <= given <= high:
        raise BadField(name, f"must be in 0..{high:g}, and is {given}")
    return float(given)


def _whole(
    fields: Mapping[str, object], name: str, usual: int | None, *, at_least: int
) -> int | None:
    if name not in fields:
        return usual
    given = fields[name]
    if not isinstance(given, int) or isinstance(given, bool) or given < at_least:
        raise BadField(name, f"must be a whole number, at least {at_least}, and is {given}")
    return given


class Armed:
    """A rule at work: it counts the calls at its place, and remembers how long a fault lasts.

    seen   the calls so far
    timer  gives seconds since some fixed moment

    For one thread at a time.
    """

    def __init__(self, rule: Rule, timer: Callable[[], float]) -> None:
        self.rule = rule
        self._timer = timer
        self.seen = 0
        self._until = -math.inf

    def strikes(self) -> bool:
        """Whether the call that comes now meets the fault."""
        self.seen += 1
        if self.rule.kind.lasts and self._timer() < self._until:
            return True
        if not self.rule.hits(self.seen):
            return False
        if self.rule.kind.lasts:
            assert self.rule.duration_s is not None, "what lasts has a duration"
            self._until = self._timer() + self.rule.duration_s
        return True
