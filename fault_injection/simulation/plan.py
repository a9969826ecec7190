"""What a run will do, drawn from its seed before it starts.

Every part depends on the seed and its own number alone: leaving a payment, a crash or a kind of
fault out leaves the others as they were.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from fault_injection.business_paths import PATHS
from fault_injection.simulation.swarm import (
    FROZEN,
    MAX_CRASHES,
    TWO_COORDINATORS,
    Swarm,
    draw,
    swarm_of,
)
from fault_injection.sweep import places
from fault_injection.world import FLOWS, LEASE_S

PAYMENTS = 10
MOST_PAYMENTS = 1000
"""How many payments a run has if it is not told, and at most."""

ACTS = ("cancel", "capture", "refund")
"""What a shop's second till does to a payment, at any time."""


@dataclass(frozen=True, slots=True)
class Act:
    """At `at_s` seconds another till of the shop does something to the payment, or tries to."""

    at_s: float
    what: str


@dataclass(frozen=True, slots=True)
class Buying:
    """One payment: who walks which path on which flow, from when, and what comes across it."""

    number: int
    flow: str
    path: str
    at_s: float
    acts: tuple[Act, ...]

    @property
    def caller(self) -> str:
        """A shop of its own."""
        return f"shop-{self.number}"


class Moment(StrEnum):
    """When a coordinator dies, seen from a commit of its own."""

    BEFORE = places.CRASH_BEFORE
    DURING = places.CRASH_DURING
    AFTER = places.CRASH_AFTER


@dataclass(frozen=True, slots=True)
class Crash:
    """From `at_s` on, the coordinator dies at a commit; another is there `down_s` later.

    commits   after so many more; 0: at once
    moment    before it is handed over, while it is under way, or after it is done
    """

    at_s: float
    commits: int
    moment: Moment
    down_s: float


@dataclass(frozen=True, slots=True)
class Freeze:
    """From `start_s` to `end_s` the coordinator stands still.

    alone  nobody else is there meanwhile; otherwise another one comes
    """

    start_s: float
    end_s: float
    alone: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """A run. `seconds` holds from when to when a second coordinator is there."""

    seed: int
    swarm: Swarm
    buyings: tuple[Buying, ...]
    crashes: tuple[Crash, ...]
    seconds: tuple[tuple[float, float], ...]
    freezes: tuple[Freeze, ...]
    asked: Asked

    @property
    def healed_s(self) -> float:
        """When the last fault is over, in seconds from the beginning."""
        return max(self.swarm.healed_s, *(each.end_s for each in self.freezes), 0.0)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a run is asked for, besides its seed; None leaves it to the seed.

    payments  how many, numbered from 1
    only      the numbers of those that are made; None: all of them
    flows     payments are of these
    faults    names of kinds
    crashes   0..6

    Raises ValueError when there is no such flow or fault, or a number is out of range.
    """

    payments: int = PAYMENTS
    only: tuple[int, ...] | None = None
    flows: tuple[str, ...] | None = None
    faults: tuple[str, ...] | None = None
    crashes: int | None = None

    def __post_init__(self) -> None:
        unknown = sorted(set(self.flows or ()) - set(FLOWS))
        if unknown:
            raise ValueError(f"there is no flow {', '.join(unknown)}")
        if not 1 <= self.payments <= MOST_PAYMENTS:
            raise ValueError(f"payments must be in 1..{MOST_PAYMENTS}")
        if not set(self.only or ()) <= set(range(1, self.payments + 1)):
            raise ValueError(f"only payments 1..{self.payments} can be picked")
        if not 0 <= (self.crashes or 0) <= MAX_CRASHES:
            raise ValueError(f"crashes must be in 0..{MAX_CRASHES}")
        swarm_of(0, self.faults)


def plan_of(seed: int, asked: Asked | None = None) -> Plan:
    """The seed's plan."""
    asked = asked or Asked()
    swarm = swarm_of(seed, asked.faults)
    numbers = range(1, asked.payments + 1) if asked.only is None else asked.only
    flows = tuple(FLOWS) if asked.flows is None else asked.flows
    crashes = asked.crashes
    if crashes is None:
        crashes = int(draw(seed, "crashes") * (MAX_CRASHES + 1))
    return Plan(
        seed=seed,
        swarm=swarm,
        buyings=tuple(_buying(swarm, number, flows) for number in numbers),
        crashes=tuple(_crash(swarm, number) for number in range(crashes)),
        seconds=swarm.windows(TWO_COORDINATORS),
        freezes=tuple(_freeze(seed, start_s) for start_s, _ in swarm.windows(FROZEN)),
        asked=replace(asked, faults=swarm.kinds, crashes=crashes, only=tuple(numbers)),
    )


def _buying(swarm: Swarm, number: int, flows: Sequence[str]) -> Buying:
    key = (swarm.seed, "payment", number)
    paths = tuple(PATHS)
    start_s = draw(*key, "at") * swarm.healed_s / 2
    acts = tuple(
        Act(start_s + 40.0 * draw(*key, "act at", each), _one_of(ACTS, *key, "act", each))
        for each in range(int(3 * draw(*key, "acts") ** 2))
    )
    return Buying(number, _one_of(flows, *key, "flow"), _one_of(paths, *key, "path"), start_s, acts)


def _freeze(seed: int, start_s: float) -> Freeze:
    length_s = LEASE_S * (0.1 + 1.9 * draw(seed, FROZEN, start_s, "for"))
    alone = draw(seed, FROZEN, start_s, "alone") < 0.3  # noqa: PLR2004 - now and then
    return Freeze(start_s, start_s + length_s, alone)


def _crash(swarm: Swarm, number: int) -> Crash:
    key = (swarm.seed, "crash", number)
    return Crash(
        at_s=draw(*key, "at") * swarm.healed_s,
        commits=int(8 * draw(*key, "commits")),
        moment=tuple(Moment)[int(len(Moment) * draw(*key, "moment"))],
        down_s=2 * LEASE_S * draw(*key, "down") ** 3,
    )


def _one_of(choices: Sequence[str], *key: object) -> str:
    return choices[int(draw(*key) * len(choices))]
