"""What `kessai bench` does."""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import msgspec
import typer
from rich.console import Group
from rich.table import Table
from rich.text import Text

from adapters.system import SystemClock
from benchmarks import scenario as named
from benchmarks.comparing import Compared
from benchmarks.comparing import compare as compared
from benchmarks.machine import build, describe
from benchmarks.page import others, page
from benchmarks.results import VERSION, Memory, Results, Run, Unreadable, middle, read, write
from benchmarks.scenario import SCENARIOS, Scenario
from benchmarks.targets import Verdict, judged
from coordinator.cli.failures import ExitCode, Failure, needing_embedded
from coordinator.cli.interruption import Interrupted, Interruption
from coordinator.cli.output import Format, emit, emit_all, say, table

WAIT_S = 6.0
"""How long participants take where memory is measured: everybody waits at once, in seconds. Much
longer does not help: a Try has its own time, and a payment that gave up makes place for another."""
_STYLES = {True: "green", False: "red", None: "dim"}


def scenarios_of(names: Sequence[str] | None, behind: int) -> list[Scenario]:
    """Those that are asked for, in the order of the report. Raises typer.BadParameter."""
    known = {each.name: each for each in SCENARIOS}
    for name in names or ():
        if name not in known:
            raise typer.BadParameter(
                f"there is no {name or 'empty name'}; there are {', '.join(known)}",
                param_hint="--scenario",
            )
    chosen = [each for each in SCENARIOS if not names or each.name in names]
    if named.MANY not in chosen and any(each.of_peak for each in chosen):
        chosen.insert(0, named.MANY)  # it says what the peak is
    return [replace(each, behind=behind) if each == named.OLD else each for each in chosen]


def run(
    scenarios: Sequence[Scenario],
    rounds: int,
    seconds: float,
    memory: int,
    *,
    files: Sequence[Path],
    json: Path | None,
    html: Path | None,
    output: Format,
) -> None:
    """Measures, prints, keeps. Raises Failure before anything starts if it cannot be kept."""
    for path in files:
        if not path.parent.is_dir():
            raise Failure(f"{path} cannot be written: there is no folder {path.parent}")
    with Interruption():
        try:
            results = _measured(scenarios, rounds, seconds, memory)
        except Interrupted:
            say("interrupted; everything was stopped")
            raise typer.Exit(ExitCode.INTERRUPTED) from None
    if json is not None:
        write(results, json)
        say(f"wrote {json}")
    if html is not None:
        html.write_text(page(results), encoding="utf-8")
        say(f"wrote {html}")
    emit(output, msgspec.to_builtins(results), lambda: _tables(results))


def _measured(scenarios: Sequence[Scenario], rounds: int, seconds: float, memory: int) -> Results:
    with needing_embedded():
        from adapters.embedded.postgres import EmbeddedPostgres  # noqa: PLC0415 - may be missing
        from benchmarks.bench import Bench  # noqa: PLC0415 - needs it

    folder = Path(tempfile.mkdtemp(prefix="kessai-bench-", dir="/tmp"))
    try:
        with EmbeddedPostgres(folder / "postgres") as postgres:
            bench = Bench(postgres)
            began = f"{SystemClock().now():%Y-%m-%d %H:%M}"
            machine = describe(bench.counters.version())
            yardstick: list[float] = []
            runs: list[Run] = []
            for number in range(rounds):
                say(f"round {number + 1} of {rounds}: pgbench")
                yardstick.append(bench.pgbench(max(1, int(seconds))))
                peak = 0.0
                for scenario in scenarios:
                    say(f"round {number + 1} of {rounds}: {scenario.title}")
                    runs.append(bench.run(scenario, number, seconds, peak))
                    if scenario == named.MANY:
                        peak = runs[-1].rate
            return Results(
                version=VERSION,
                build=build(),
                began=began,
                machine=machine,
                yardstick=yardstick,
                titles={scenario.name: scenario.title for scenario in scenarios},
                runs=runs,
                memory=[*_memory(bench, memory)] if memory else [],
            )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _memory(bench: Any, in_flight: int) -> Iterator[Memory]:
    say(f"memory of {in_flight:,} payments that wait")
    yield bench.memory(in_flight, WAIT_S)


def _tables(results: Results) -> Group:
    scenarios = table("scenario", *_SHOWN, "other answers", right=_SHOWN, whole=_SHOWN)
    for name, title in results.titles.items():
        runs = results.of(name)
        scenarios.add_row(
            title,
            middle([run.rate for run in runs], 0),
            _median(results.against_yardstick(name), 2),
            *(_median([run.latency(at) for run in runs], 1) for at in (50, 99)),
            *(_median([run.cpu_ms[of] for run in runs], 2) for of in ("coordinator", "database")),
            _median([run.commits for run in runs], 3),
            others(runs),
        )
    targets = table("target", "wanted", "found", "", right=("wanted", "found"))
    for verdict in judged(results):
        targets.add_row(*_of_verdict(verdict))
    memory = [
        f"{each.in_flight:,} payments that wait: {each.bytes_each / 1024:.1f} KB each, "
        f"{each.threads} threads in all"
        for each in results.memory
    ]
    pgbench = f"pgbench, three commits, 32 clients: {middle(results.yardstick, 0)} payments/s"
    return Group(scenarios, pgbench, *memory, "", targets)


_SHOWN = ("per second", "× pgbench", "p50 ms", "p99 ms", "CPU ms", "database", "commits")


def _median(values: Sequence[float], digits: int) -> str:
    return f"{statistics.median(values):,.{digits}f}"


def _of_verdict(verdict: Verdict) -> Iterator[str | Text]:
    yield from (verdict.target.title, verdict.target.wanted, verdict.found)
    yield Text(verdict.word, style=_STYLES[verdict.met])


def compare(before: Path, after: Path, output: Format) -> None:
    """Prints both beside each other. Raises Failure for a file that is none of ours."""
    found = compared(_read(before), _read(after))
    if not found:
        raise Failure(f"no scenario is both in {before} and in {after}", ExitCode.NOTHING)
    records = [asdict(each) | {"ratio": each.ratio, "verdict": each.verdict} for each in found]
    emit_all(output, records, lambda: _beside(found))


def _beside(found: Sequence[Compared]) -> Table:
    numbers = ("before, × pgbench", "after", "ratio", "CPU ms before", "CPU ms after")
    made = table("scenario", *numbers, "", right=numbers)
    for each in found:
        made.add_row(
            each.title,
            middle(each.before, 3),
            middle(each.after, 3),
            f"{each.ratio:.2f}",
            f"{each.cpu_before_ms:.2f}",
            f"{each.cpu_after_ms:.2f}",
            each.verdict,
        )
    return made


def report(file: Path) -> None:
    """Prints the page. Raises Failure."""
    sys.stdout.write(page(_read(file)))


def _read(path: Path) -> Results:
    try:
        return read(path)
    except Unreadable as error:
        raise Failure(str(error), ExitCode.USAGE) from None
