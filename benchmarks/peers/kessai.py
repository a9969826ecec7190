"""Kessai as `make bench` runs it, with its database's CPU beside the coordinator's."""

from __future__ import annotations

import sqlalchemy as sa

from benchmarks.payments import Bench, Scenario
from benchmarks.peers.peer import Figures
from benchmarks.peers.processes import measured
from benchmarks.peers.results import KESSAI


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
        payments = self._payments()
        run, cpu_s = measured(
            lambda: self._bench.payments(Scenario(in_flight), seconds),
            database=self._bench.postgres.pid,
        )
        # The warm-up's payments are in the database's CPU: it is divided by all of them.
        payments = self._payments() - payments
        return Figures(
            rate=run.rate,
            p50_ms=run.p50_ms,
            p99_ms=run.p99_ms,
            cpu_ms={
                "coordinator": run.cpu_ms,
                "database": cpu_s["database"] * 1000 / max(payments, 1),
            },
            others=run.others,
        )

    def _payments(self) -> int:
        with self._engine.connect() as connection:
            count: int = connection.execute(
                sa.text("SELECT count(*) FROM transactions")
            ).scalar_one()
        return count
