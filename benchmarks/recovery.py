"""The recovery benchmark: how long until everything is settled after a coordinator was killed.

    python -m benchmarks.recovery [--payments 10000] [--lease 30]

A coordinator is loaded until so many payments hang at participants that do not answer, and is
killed with SIGKILL. Another one starts, whose participants answer. Measured from its start: when it
serves, when the first of the payments is settled, when all of them are; and how long new payments
take meanwhile. The claims of the killed one have to run out first: that is part of the time.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa

from adapters.embedded.postgres import EmbeddedPostgres
from benchmarks.bench import KEY, Bench, first_line, quantiles, start_load, usage
from benchmarks.load import Answered, Load

LOOK_S = 0.25
ANSWER_S = 0.005
"""How long the participants of the second coordinator take, in seconds."""
STATES = sa.text("SELECT state, count(*) FROM transactions GROUP BY 1")
LIVE = sa.text("SELECT state, count(*) FROM transactions WHERE due_at IS NOT NULL GROUP BY 1")


class Recovery:
    """One run of the benchmark over a fresh database."""

    def __init__(self, bench: Bench, *, payments: int, lease_s: float) -> None:
        self._bench = bench
        self._payments = payments
        self._lease_s = lease_s
        self._engine = sa.create_engine(bench.url)

    def run(self) -> dict[str, Any]:
        """The figures."""
        unbound = json.dumps({"*": {"max_in_flight": 100_000, "breaker_failures": 0}})
        with self._coordinator(BENCH_HANG="1", KESSAI_PARTICIPANT_LIMITS=unbound) as process:
            self._load(process)
            left = self._count(LIVE)
            process.kill()
            process.wait()
        killed = time.perf_counter()
        with self._coordinator() as process:
            address = first_line(process)
            figures = {"serving_s": time.perf_counter() - killed}
            client = start_load(
                Load(
                    addresses=[address],
                    key=KEY,
                    in_flight=4,
                    seconds=self._lease_s + 10.0,
                    timeout_s=60.0,
                )
            )
            figures |= self._watch(killed, left)
            out, _ = client.communicate()
            figures["cpu_s"] = usage(process)["cpu_s"]
        meanwhile = msgspec.json.decode(out, type=Answered)
        return {
            "left": left,
            **{name: round(value, 1) for name, value in figures.items()},
            "end": self._count(STATES),
            "new_payments": {
                "answers": meanwhile.answers,
                "p50_ms": quantiles(meanwhile.latencies_ms, 50),
                "p99_ms": quantiles(meanwhile.latencies_ms, 99),
            },
        }

    @contextmanager
    def _coordinator(self, **more: str) -> Iterator[subprocess.Popen[str]]:
        settings = {"KESSAI_LEASE_S": str(self._lease_s), "KESSAI_MAX_IN_FLIGHT": "20000"}
        with self._bench.coordinator({**settings, **more}, delay_s=ANSWER_S) as process:
            yield process

    def _load(self, process: subprocess.Popen[str]) -> None:
        """Returns when all of the payments hang."""
        start_load(
            Load(
                addresses=[first_line(process)],
                key=KEY,
                in_flight=self._payments,
                seconds=60.0,
                timeout_s=600.0,
            )
        )
        before: dict[str, int] = {}
        while True:
            time.sleep(1.0)
            now = self._count(LIVE)
            print(f"hanging: {now}", flush=True)
            if now == before and sum(now.values()) >= self._payments:
                return
            before = now

    def _watch(self, since: float, left: dict[str, int]) -> dict[str, float]:
        """When the first and the last of them were settled, in seconds."""
        query = sa.text(
            "SELECT count(*) FROM transactions WHERE due_at IS NOT NULL AND id <= :last"
        )
        with self._engine.connect() as connection:
            last = connection.execute(
                sa.text("SELECT max(id::text) FROM transactions")
            ).scalar_one()
        first_s = 0.0
        while True:
            with self._engine.connect() as connection:
                live = connection.execute(query, {"last": last}).scalar_one()
            passed_s = time.perf_counter() - since
            print(f"{passed_s:6.1f} s: {live} left", flush=True)
            if live < sum(left.values()) and not first_s:
                first_s = passed_s
            if not live:
                return {"first_settled_s": first_s, "all_settled_s": passed_s}
            time.sleep(LOOK_S)

    def _count(self, by_state: sa.TextClause) -> dict[str, int]:
        with self._engine.connect() as connection:
            return {row.state: row[1] for row in connection.execute(by_state)}


def main() -> None:
    """Runs it and prints the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--payments", type=int, default=10_000, help="payments in flight")
    parser.add_argument("--lease", type=float, default=30.0, help="KESSAI_LEASE_S")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="kessai-bench-", dir="/tmp"))
    try:
        with EmbeddedPostgres(folder / "postgres") as postgres:
            recovery = Recovery(Bench(postgres), payments=options.payments, lease_s=options.lease)
            print(json.dumps(recovery.run(), indent=2))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
