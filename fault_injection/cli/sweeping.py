"""What `kessai faults sweep` does: reads what it is asked, plays the cases, and tells of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from adapters.system import SystemClock
from coordinator.cli.failures import Failure
from coordinator.cli.interruption import Interrupted, Interruption
from coordinator.cli.output import Format, emit, emit_all, plain, say, table
from fault_injection.business_paths import paths_of
from fault_injection.cli.covering import Recording
from fault_injection.cli.progress import progress
from fault_injection.sweep.campaign import Kind, Played, Wanted, portions, surveyed_once, walks
from fault_injection.sweep.cases import Case, case_named, dashed, path_named
from fault_injection.sweep.crowd import crowd
from fault_injection.sweep.run import Tried, play
from fault_injection.sweep.smaller import command, smallest
from fault_injection.world import FLOWS

ALL = "all"
MOST_CASES = 10**9
LONGEST = 1000
"""How many times in a row something fails at most."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is swept: the paths of the flows, and which cases."""

    walks: tuple[tuple[str, str], ...]
    wanted: Wanted


def run(asked: Asked, jobs: int, coverage: Path | None, output: Format) -> None:
    """Plays every case, up to the first in which something does not hold. Raises Failure then."""
    recording = Recording(coverage)
    swept = Swept(output)
    failed: Case | None = None
    with Interruption() as interruption:
        try:
            with interruption.shielded():  # asyncio swallows what is raised inside
                found = [(walk, list(portions(*walk, asked.wanted))) for walk in asked.walks]
            swept.surveyed(asked)
            total = sum(len(each) for _, each in found)
            with progress("sweeping", total) as advance, crowd(jobs, interruption) as played:
                for one in played([each for _, many in found for each in many]):
                    swept.tell(one)
                    recording.add(f"sweep {one.portion.kind}", one.cells)
                    advance()
                    if one.failed is not None:
                        failed = one.failed
                        break
        except Interrupted:
            raise typer.Exit(130) from None
        finally:
            swept.end()
            recording.end()
        if failed is not None:
            raise _failure(play(failed, asked.wanted.seed), interruption)


def run_one(case: Case, seed: int, coverage: Path | None, output: Format) -> None:
    """Plays one case. Raises Failure when something does not hold."""
    recording = Recording(coverage)
    with Interruption() as interruption:
        with interruption.shielded():
            tried = play(case, seed)
        recording.add("sweep case", tried.cells)
        recording.end()
        problem = tried.finding.problem if tried.finding else ""
        record = {
            "case": str(case),
            "hash": tried.hash,
            "points": len(tried.points),
            "crashes": tried.crashes,
            "problem": problem,
            "replay": command(tried),
        }
        emit(output, record, lambda: f"{case}: {plain(problem or 'everything held')}")
        if tried.finding is not None:
            raise _failure(tried, interruption)


class Swept:
    """The cases so far."""

    def __init__(self, output: Format) -> None:
        self._output = output
        self._clock = SystemClock()
        self._began = self._clock.monotonic()
        self._points: dict[tuple[str, str], int] = {}
        self._counts: Counter[tuple[str, str, Kind]] = Counter()

    def surveyed(self, asked: Asked) -> None:
        """The points are numbered."""
        for flow, path in asked.walks:
            self._points[flow, path] = len(
                surveyed_once(flow, path, asked.wanted.seed).clean.points
            )

    def tell(self, played: Played) -> None:
        """A portion is over."""
        portion = played.portion
        self._counts[portion.flow, portion.path, portion.kind] += played.cases

    def end(self) -> None:
        """What there was in all, and how fast."""
        shown = [kind for kind in Kind if any(key[2] is kind for key in self._counts)]

        def render() -> Any:
            made = table("FLOW", "PATH", "POINTS", *(kind.upper() for kind in shown))
            for record in self._records(shown):
                made.add_row(*map(str, record.values()))
            return made

        emit_all(self._output, self._records(shown), render)
        seconds = max(self._clock.monotonic() - self._began, 1e-6)
        cases, points = sum(self._counts.values()), sum(self._points.values())
        say(
            f"{cases} cases at {points} points of {len(self._points)} paths in {seconds:.1f} s: "
            f"{cases / seconds:.0f} cases/s"
        )

    def _records(self, shown: list[Kind]) -> Iterator[dict[str, Any]]:
        for (flow, path), points in self._points.items():
            record: dict[str, Any] = {"flow": flow, "path": dashed(path), "points": points}
            record |= {kind.value: self._counts[flow, path, kind] for kind in shown}
            yield record


def _failure(tried: Tried, interruption: Interruption) -> Failure:
    """Tells the shortest story that can be found, and what replays it."""
    say(f"{tried.case} failed; looking for a shorter story")
    with interruption.shielded():
        shorter = smallest(tried)
    assert shorter.finding is not None, "it fails"
    for line in shorter.finding.story:
        say(plain(line))
    return Failure(
        f"{shorter.case}: {shorter.finding.problem}",
        code="INVARIANT_BROKEN",
        hint=f"replay: {command(shorter)}",
    )


def case_asked(name: str) -> Case:
    """Raises typer.BadParameter."""
    try:
        return case_named(name)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--case") from None


def asked_of(
    flows: list[str], paths: list[str], *, pairs: str, triples: int, windows: str, seed: int
) -> Asked:
    """Raises typer.BadParameter."""
    for flow in flows:
        if flow not in FLOWS:
            raise typer.BadParameter(
                f"there is no {flow or 'empty name'}; there are {', '.join(FLOWS)}",
                param_hint="--flow",
            )
    chosen = list(dict.fromkeys(flows)) or list(FLOWS)
    known = {path for flow in chosen for path in paths_of(FLOWS[flow])}
    named = [
        next((path_named(f, p) for f in chosen if path_named(f, p) in known), p) for p in paths
    ]
    for path in named:
        if path not in known:
            names = ", ".join(sorted(map(dashed, known)))
            raise typer.BadParameter(
                f"there is no {path or 'empty name'}; there are {names}", param_hint="--path"
            )
    found = walks(chosen, named)
    lengths = [_number(each, "--windows") for each in windows.split(",")] if windows else []
    wanted = Wanted(
        seed=seed,
        windows=tuple(sorted(set(lengths))),
        pairs=None if pairs == ALL else _share(_number(pairs, "--pairs", least=0), len(found)),
        triples=_share(triples, len(found)),
    )
    return Asked(tuple(found), wanted)


def _share(count: int, paths: int) -> int:
    """How many of so many cases each path has; rather a few more than fewer."""
    return -(-count // paths)


def _number(text: str, option: str, least: int = 2) -> int:
    """Raises typer.BadParameter."""
    word = text.strip()
    most = LONGEST if least else MOST_CASES
    digits = word.isascii() and word.isdigit() and len(word) <= len(str(most))
    if digits and least <= int(word) <= most:
        return int(word)
    raise typer.BadParameter(
        f"{word or 'an empty number'} must be a number from {least} to {most}", param_hint=option
    )
