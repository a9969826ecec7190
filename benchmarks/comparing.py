"""Sets two results beside each other.

Two builds are measured in different runs, and a shared machine drifts between them: what is
compared is each scenario's rate as a multiple of pgbench's in the same round.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from benchmarks.results import Results

NOISE = 0.05
"""Less than this is no difference, even where the rounds do not overlap."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One scenario in both. Multiples of pgbench's rate, by round; CPU in ms a transaction."""

    scenario: str
    title: str
    before: tuple[float, ...]
    after: tuple[float, ...]
    cpu_before_ms: float
    cpu_after_ms: float

    @property
    def ratio(self) -> float:
        """The second one's median as a multiple of the first one's."""
        return statistics.median(self.after) / statistics.median(self.before)

    @property
    def verdict(self) -> str:
        """Faster or slower only where no round of one reaches into those of the other."""
        if min(self.after) > max(self.before) and self.ratio > 1 + NOISE:
            return "faster"
        if max(self.after) < min(self.before) and self.ratio < 1 - NOISE:
            return "slower"
        return "no difference shown"


def compare(before: Results, after: Results) -> list[Compared]:
    """What both have measured, in the order of the second."""
    return [
        Compared(
            scenario=name,
            title=title,
            before=tuple(before.against_yardstick(name)),
            after=tuple(after.against_yardstick(name)),
            cpu_before_ms=_cpu_ms(before, name),
            cpu_after_ms=_cpu_ms(after, name),
        )
        for name, title in after.titles.items()
        if before.of(name) and after.of(name) and _ran(before, name)
    ]


def _ran(results: Results, name: str) -> bool:
    """Whether anything was paid at all: nothing is a multiple of nothing."""
    return statistics.median(results.against_yardstick(name)) > 0


def _cpu_ms(results: Results, name: str) -> float:
    return statistics.median(run.cpu_ms["coordinator"] for run in results.of(name))
