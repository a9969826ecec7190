"""What the figures have to reach, and whether they did."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from benchmarks import scenario as named
from benchmarks.results import Results, Run, middle
from benchmarks.scenario import Scenario

Figures: TypeAlias = Sequence[float]
"""One for each round; none where it was not measured."""


@dataclass(frozen=True, slots=True)
class Target:
    """One line of the table.

    at_least  whether more is better; else less is
    figures   of some results, by round
    """

    title: str
    bound: float
    unit: str
    at_least: bool
    figures: Callable[[Results], Figures]
    digits: int = 2

    @property
    def wanted(self) -> str:
        """For people."""
        return f"{'≥' if self.at_least else '≤'} {self.bound:g}{self.unit}"

    def judge(self, results: Results) -> Verdict:
        """By the median of the rounds."""
        figures = self.figures(results)
        met = None
        if figures:
            median = statistics.median(figures)
            met = median >= self.bound if self.at_least else median <= self.bound
        return Verdict(self, f"{middle(figures, self.digits)}{self.unit if figures else ''}", met)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found; `met` is None for what was not measured."""

    target: Target
    found: str
    met: bool | None

    @property
    def word(self) -> str:
        """For people."""
        return {True: "met", False: "missed", None: "not measured"}[self.met]


def _yardstick(scenario: Scenario) -> Callable[[Results], Figures]:
    return lambda results: results.against_yardstick(scenario.name)


def _rates(over: Scenario, under: Scenario) -> Callable[[Results], Figures]:
    """How many times the rate of `under`, in each round in which both ran."""

    def figures(results: Results) -> Figures:
        known = {run.round: run.rate for run in results.of(under.name)}
        return [
            run.rate / known[run.round] for run in results.of(over.name) if known.get(run.round)
        ]

    return figures


def _slower(over: Scenario, under: Scenario) -> Callable[[Results], Figures]:
    """How many times the 99th per cent of `under`, in each round in which both ran."""

    def figures(results: Results) -> Figures:
        known = {run.round: run.latency(99) for run in results.of(under.name)}
        return [
            run.latency(99) / known[run.round]
            for run in results.of(over.name)
            if known.get(run.round)
        ]

    return figures


def _of_runs(scenario: Scenario, figure: Callable[[Run], float]) -> Callable[[Results], Figures]:
    return lambda results: [figure(run) for run in results.of(scenario.name)]


def _cpu_of(process: str, run: Run) -> float:
    return run.cpu_ms[process]


def _memory(least: int) -> Callable[[Results], Figures]:
    return lambda results: [
        each.bytes_each / 1024 for each in results.memory if each.in_flight >= least
    ]


def _targets() -> Iterator[Target]:
    times, ms = " ×", " ms"
    yield Target("64 in flight, against pgbench", 0.9, times, True, _yardstick(named.FEW))
    yield Target("512 in flight, against pgbench", 1.0, times, True, _yardstick(named.MANY))
    stream, single = named.STREAM, named.SINGLE
    yield Target("one stream against single calls", 2.0, times, True, _rates(stream, single))
    yield Target("one stream, against pgbench", 0.6, times, True, _yardstick(stream))
    for process, bound in (("coordinator", 0.6), ("database", 0.2)):
        cpu = _of_runs(named.MANY, partial(_cpu_of, process))
        yield Target(f"512 in flight, CPU of the {process} a payment", bound, ms, False, cpu)
    commits = _of_runs(named.MANY, lambda run: run.commits)
    yield Target("512 in flight, commits a payment", 0.1, "", False, commits)
    median = _of_runs(named.OPEN, lambda run: run.latency(50))
    yield Target("400 a second at 20 ms, median", 55.0, ms, False, median, digits=1)
    alone = _of_runs(named.ONE, lambda run: run.latency(50))
    yield Target("one in flight, median", 6.0, ms, False, alone, digits=1)
    yield Target(
        "thousands in flight, memory of each", 20.0, " KB", False, _memory(4_000), digits=1
    )
    behind = _rates(named.OLD, named.FRESH)
    yield Target("much in the database against 10,000 payments", 0.95, times, True, behind)
    shed, many = named.OVERLOAD, named.MANY
    yield Target(
        "twice the peak offered: goodput, of the peak", 0.9, times, True, _rates(shed, many)
    )
    yield Target(
        "twice the peak: p99, of that at 0.8", 2.0, times, False, _slower(shed, named.BUSY)
    )
    yield Target("two coordinators against one", 1.5, times, True, _rates(named.TWO, named.MANY))


TARGETS = tuple(_targets())


def judged(results: Results, targets: Iterable[Target] = TARGETS) -> list[Verdict]:
    """Every target, in order."""
    return [target.judge(results) for target in targets]
