"""Makes a failing case smaller while it still fails: fewer faults, and shorter outages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from fault_injection.sweep.cases import Case
from fault_injection.sweep.run import Tried, play


def smallest(failing: Tried) -> Tried:
    """The smallest failing case that was found."""
    best, found = failing, True
    while found:
        found = False
        for case in _smaller(best.case):
            tried = play(case, best.seed)
            if tried.finding is not None:
                best, found = tried, True
                break
    return best


def _smaller(case: Case) -> Iterator[Case]:
    for injection in case.injections:
        yield replace(case, injections=tuple(e for e in case.injections if e != injection))
    for injection in case.injections:
        if injection.times > 1:
            shorter = replace(injection, times=injection.times // 2)
            changed = tuple(shorter if each == injection else each for each in case.injections)
            yield replace(case, injections=changed)


def command(tried: Tried) -> str:
    """What replays the case."""
    seed = f" --seed {tried.seed}" if tried.seed else ""
    return f"kessai faults sweep --case {tried.case}{seed}"
