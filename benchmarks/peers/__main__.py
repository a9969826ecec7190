"""Kessai against what engineers would otherwise reach for: DBOS and Restate, in the same run.

    make bench-peers

The same payment, durable, on the same cores, one system at a time, interleaved with each other and
with the yardstick. Prints what was set, the figures, and the ratios against their targets.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shutil
import statistics
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from adapters.embedded.postgres import EmbeddedPostgres
from benchmarks.bench import PGBENCH_CLIENTS, Bench
from benchmarks.peers import restate_peer
from benchmarks.peers.dbos_peer import Dbos
from benchmarks.peers.kessai import Kessai
from benchmarks.peers.peer import System
from benchmarks.peers.results import YARDSTICK, Run, middle, ratios, verdicts


def main() -> None:
    """Runs everything and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="runs of each system")
    parser.add_argument("--seconds", type=float, default=6.0, help="length of a run")
    parser.add_argument("--in-flight", type=int, nargs="*", default=[64, 512])
    parser.add_argument("--json", type=Path, help="a file for the runs")
    options = parser.parse_args()
    console = Console(width=max(Console().width, 130))  # a narrower table would cut the figures
    folder = Path(tempfile.mkdtemp(prefix="kessai-bench-", dir="/tmp"))
    try:
        with EmbeddedPostgres(folder / "postgres") as postgres:
            bench = Bench(postgres)
            systems: list[System] = [Kessai(bench), Dbos(postgres)]
            program = restate_peer.server()
            if program is None:
                console.print("Restate's server is not installed (npm does it): without Restate")
            else:
                systems.append(restate_peer.Restate(program))
            runs = _measure(bench, systems, options, console)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if options.json:
        found = [dataclasses.asdict(run) for run in runs]
        options.json.write_text(json.dumps(found, indent=2) + "\n")
    console.print(_figures(runs, systems, options.in_flight))
    rates = [run.rate for run in runs if run.system == YARDSTICK]
    console.print(f"pgbench, three commits, {PGBENCH_CLIENTS} clients: {middle(rates)} payments/s")
    console.print(_targets(runs))


def _measure(
    bench: Bench, systems: Sequence[System], options: argparse.Namespace, console: Console
) -> list[Run]:
    """Round by round, so that what the machine does meanwhile meets all of them alike."""
    load = ", ".join(f"{number:.1f}" for number in os.getloadavg())
    console.print(f"{os.cpu_count()} cores, load before the run: {load}")
    for system in systems:
        console.print(f"{system.name}: {system.settings}", soft_wrap=True)
    runs: list[Run] = []
    for number in range(1, options.rounds + 1):
        console.print(f"round {number} of {options.rounds} …", style="dim")
        rate = bench.pgbench(int(options.seconds))
        runs.append(Run(YARDSTICK, PGBENCH_CLIENTS, number, rate, None, None, {}, {}))
        for in_flight in options.in_flight:
            for system in systems:
                found = dataclasses.asdict(system.run(in_flight, options.seconds))
                runs.append(Run(system=system.name, in_flight=in_flight, round=number, **found))
    return runs


def _figures(runs: Sequence[Run], systems: Sequence[System], in_flight: Sequence[int]) -> Table:
    table = Table(title="the same payment, median (min–max)")
    table.add_column("system")
    for name in ("in flight", "payments/s", "Kessai ×", "p50 ms", "p99 ms"):
        table.add_column(name, justify="right")
    table.add_column("CPU ms a payment")
    table.add_column("others")
    for number in in_flight:
        for system in systems:
            found = [run for run in runs if (run.system, run.in_flight) == (system.name, number)]
            cpu = {
                name: statistics.median(run.cpu_ms[name] for run in found)
                for name in found[0].cpu_ms
            }
            others = sum((Counter(run.others) for run in found), Counter[str]())
            table.add_row(
                system.name,
                str(number),
                middle([run.rate for run in found]),
                middle(ratios(runs, system.name, number), 2),
                middle([run.p50_ms or 0.0 for run in found], 0),
                middle([run.p99_ms or 0.0 for run in found], 0),
                ", ".join(f"{name} {median:.2f}" for name, median in cpu.items()),
                str(dict(others) or "none"),
            )
    return table


def _targets(runs: Sequence[Run]) -> Table:
    table = Table(title="Kessai's payments/s by the peer's, in each round")
    for name in ("against", "in flight", "target", "found"):
        table.add_column(name, justify="left" if name == "against" else "right")
    table.add_column("")
    for verdict in verdicts(runs):
        target = verdict.target
        table.add_row(
            target.peer,
            str(target.in_flight),
            f"≥ {target.times:g} ×",
            f"{middle(verdict.ratios, 2)} ×",
            "met" if verdict.met else "missed",
        )
    return table


if __name__ == "__main__":
    main()
