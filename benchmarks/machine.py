"""Reads what processes have used, and says what machine it is. Linux."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterable
from pathlib import Path

import psutil
import sqlalchemy as sa

from benchmarks.results import Machine

ROOT = Path(__file__).resolve().parents[1]


def cpu_s(pid: int) -> float:
    """CPU seconds of a process, of its children, and of those that it has buried."""
    try:
        process = psutil.Process(pid)
        used = _with_buried(process)
        children = process.children(recursive=True)
    except psutil.NoSuchProcess:
        return 0.0
    return used + sum(_of_child(child) for child in children)


def _of_child(child: psutil.Process) -> float:
    try:
        return _with_buried(child)
    except psutil.NoSuchProcess:
        return 0.0  # its parent has its time


def _with_buried(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system + times.children_user + times.children_system)


class DatabaseCounters:
    """What the server has done so far, over a connection of its own that is kept open."""

    def __init__(self, url: str) -> None:
        self._engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")

    def read(self) -> tuple[int, int]:
        """(commits, bytes written to the log)."""
        with self._engine.connect() as connection:
            connection.execute(sa.text("SELECT pg_stat_clear_snapshot()"))
            commits = connection.execute(
                sa.text("SELECT sum(xact_commit) FROM pg_stat_database")
            ).scalar_one()
            position = connection.execute(
                sa.text("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn")
            ).scalar_one()
        return int(commits), int(position)

    def version(self) -> str:
        """The server's."""
        with self._engine.connect() as connection:
            return str(connection.execute(sa.text("SHOW server_version")).scalar_one())

    def close(self) -> None:
        """Ends the connection."""
        self._engine.dispose()


def describe(postgres: str) -> Machine:
    """This machine, now."""
    return Machine(
        cpu=_cpu(Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()),
        cores=os.cpu_count() or 1,
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        postgres=postgres,
        load=round(os.getloadavg()[0], 2),
    )


def _cpu(lines: Iterable[str]) -> str:
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def build() -> str:
    """The commit that is measured, with a + if files differ from it; empty outside a checkout."""
    asked = ["git", "describe", "--always", "--dirty=+"]
    try:
        done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()
