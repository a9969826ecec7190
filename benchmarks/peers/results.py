"""What the comparison found: runs, ratios and targets. It starts nothing and prints nothing."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

KESSAI = "Kessai"
YARDSTICK = "pgbench"


@dataclass(frozen=True, slots=True)
class Run:
    """One measured run. `rate` in payments/s; the CPU of each part in ms a payment.

    `others` counts the payments that did not end paid, by what became of them; they are in no rate.
    The yardstick has no times and no CPU.
    """

    system: str
    in_flight: int
    round: int
    rate: float
    p50_ms: float | None
    p99_ms: float | None
    cpu_ms: dict[str, float]
    others: dict[str, int]


@dataclass(frozen=True, slots=True)
class Target:
    """How many times a peer's rate Kessai is to make, with as many payments in flight."""

    peer: str
    in_flight: int
    times: float


TARGETS = (
    Target("Restate", 64, 3.0),
    Target("Restate", 512, 4.0),
    Target("DBOS", 64, 40.0),
    Target("DBOS", 512, 40.0),
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """A target and the ratios found, one for each round in which both were measured."""

    target: Target
    ratios: tuple[float, ...]

    @property
    def met(self) -> bool:
        """Whether the median reaches the target; no measurement reaches none."""
        return bool(self.ratios) and statistics.median(self.ratios) >= self.target.times


def ratios(runs: Iterable[Run], peer: str, in_flight: int) -> tuple[float, ...]:
    """Kessai's rate by the peer's in each round; infinite where the peer had nothing paid."""
    rates = {(run.system, run.round): run.rate for run in runs if run.in_flight == in_flight}
    return tuple(
        rate / other if (other := rates[peer, number]) else math.inf
        for (system, number), rate in sorted(rates.items())
        if system == KESSAI and (peer, number) in rates
    )


def verdicts(runs: Sequence[Run], targets: Iterable[Target] = TARGETS) -> list[Verdict]:
    """Every target that something was measured for."""
    found = [Verdict(target, ratios(runs, target.peer, target.in_flight)) for target in targets]
    return [verdict for verdict in found if verdict.ratios]


def middle(values: Sequence[float], digits: int = 1) -> str:
    """Median (minimum–maximum)."""
    low, median, high = min(values), statistics.median(values), max(values)
    return f"{median:,.{digits}f} ({low:,.{digits}f}–{high:,.{digits}f})"
