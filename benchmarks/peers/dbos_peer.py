"""DBOS over the same PostgreSQL as Kessai, in a database of its own."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from adapters.embedded.postgres import EmbeddedPostgres
from benchmarks.peers.peer import Figures, figures
from benchmarks.peers.processes import PYTHON, measured, running, versions


class Dbos:
    """One process whose event loop runs workflows and their callers."""

    name = "DBOS"

    def __init__(self, postgres: EmbeddedPostgres) -> None:
        self._postgres = postgres

    @property
    def settings(self) -> str:
        """See `System`."""
        return (
            f"{versions('dbos', 'sqlalchemy', 'psycopg', 'uvloop')}; async workflow called in the "
            "process of its callers, steps gathered, 4 threads, 20 connections without pre-ping"
        )

    def run(self, in_flight: int, seconds: float) -> Figures:
        """See `System`."""
        url = self._postgres.ensure_database("dbos").replace("+psycopg2", "")
        with running([PYTHON, "-m", "benchmarks.peers.dbos_service", url]) as process:
            _answer(process)  # ready
            _load(process, min(in_flight, 64), 1.0)
            found, cpu_s = measured(
                lambda: _load(process, in_flight, seconds),
                process=process.pid,
                database=self._postgres.pid,
            )
        return figures(found, cpu_s)


def _load(process: subprocess.Popen[str], in_flight: int, seconds: float) -> dict[str, Any]:
    assert process.stdin is not None
    print(in_flight, seconds, file=process.stdin, flush=True)
    found: dict[str, Any] = json.loads(_answer(process))
    return found


def _answer(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise SystemExit("DBOS did not start or ended early; see the message above")
    return line
