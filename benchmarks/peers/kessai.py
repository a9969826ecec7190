"""Kessai as `make bench` runs it."""

from __future__ import annotations

import sqlalchemy as sa

from benchmarks.bench import Bench
from benchmarks.peers.peer import Figures
from benchmarks.peers.results import KESSAI
from benchmarks.scenario import Scenario


class Kessai:
    """One coordinator, participants in process."""

    name = KESSAI

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._engine = sa.create_engine(bench.url, poolclass=sa.NullPool)

    @property
    def settings(self) -> str:
        """See `System`."""
        with self._engine.connect() as connection:
            shown = [
                f"{name} = {connection.execute(sa.text(f'SHOW {name}')).scalar_one()}"
                for name in ("server_version", "fsync", "synchronous_commit", "full_page_writes")
            ]
        return f"one coordinator, participants in process; PostgreSQL with {', '.join(shown)}"

    def run(self, in_flight: int, seconds: float) -> Figures:
        """See `System`."""
        run = self._bench.run(Scenario(name=f"peers-{in_flight}", in_flight=in_flight), 0, seconds)
        return Figures(
            rate=run.rate,
            p50_ms=run.latency(50),
            p99_ms=run.latency(99),
            cpu_ms={name: run.cpu_ms[name] for name in ("coordinator", "database")},
            others={name: count for name, count in run.answers.items() if name != "PAID"},
        )
