"""Which database simulated runs work on, by name, and everything around it.

A backend makes the database of a run, empty, in whichever process the run is played. On PostgreSQL
each process has a database of its own, copied from one that is made first; they are all dropped at
the end. Nothing of the server's own databases is read or written.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeAlias

import sqlalchemy as sa

from adapters.postgres.connection import normalise_url
from adapters.postgres.trouble import diagnose
from adapters.system import SystemIds
from coordinator.cli import folders
from coordinator.domain.errors import ConfigurationError, StoreUnavailable
from coordinator.ports import Clock
from fault_injection.databases import Database, Postgres, Sqlite, prepare

MEMORY, SQLITE, POSTGRES = "memory", "sqlite", "postgres"
BACKENDS = (MEMORY, SQLITE, POSTGRES)

Backend: TypeAlias = Callable[[Clock], Database]
"""Makes the empty database of one run; may be sent to another process."""


@dataclass(frozen=True, slots=True)
class _InFiles:
    folder: Path

    def __call__(self, clock: Clock) -> Database:
        path = self.folder / f"{os.getpid()}.db"
        path.unlink(missing_ok=True)
        return Sqlite(clock, path)


@dataclass(frozen=True, slots=True)
class _OnServer:
    """Copies of the database `name` of the server at `url`."""

    url: str
    name: str

    def __call__(self, clock: Clock) -> Database:
        return Postgres(clock, _copy(self.url, self.name, os.getpid()))


@contextmanager
def opened(name: str, url: str | None = None) -> Iterator[Backend]:
    """The backend called `name`, until the context is left.

    url   a PostgreSQL server, for `postgres`; None: one is started in a temporary folder

    Raises ConfigurationError for a URL that is not one of PostgreSQL, StoreUnavailable when the
    server cannot be reached or lets us make no database, ModuleNotFoundError when the embedded one
    is not installed.
    """
    if name == MEMORY:
        yield Sqlite
    elif name == SQLITE:
        with _folder() as folder:
            yield _InFiles(folder)
    elif name == POSTGRES:
        with _server() if url is None else _given(url) as server, _on(server) as backend:
            yield backend
    else:
        raise ConfigurationError(f"there is no backend {name}; there are {', '.join(BACKENDS)}")


@contextmanager
def _given(url: str) -> Iterator[str]:
    yield normalise_url(url)


@contextmanager
def _server() -> Iterator[str]:
    from adapters.embedded.postgres import EmbeddedPostgres  # noqa: PLC0415 - an extra

    with _folder() as folder, EmbeddedPostgres(folder / "postgres") as server:
        url = server.url("postgres")
        # Nothing here ends the machine.
        _execute(url, "ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()")
        yield url


@contextmanager
def _on(url: str) -> Iterator[Backend]:
    name = f"kessai_simulation_{SystemIds().transaction_id().replace('-', '')}"
    try:
        _execute(url, f"CREATE DATABASE {name}")
        prepare(_at(url, name))
        yield _OnServer(url, name)
    finally:
        _drop(url, name)


def _drop(url: str, name: str) -> None:
    """Drops the database and its copies."""
    engine = _engine(url)
    try:
        with engine.connect() as connection:
            names = sa.text("SELECT datname FROM pg_database WHERE starts_with(datname, :name)")
            for made in connection.execute(names, {"name": name}).scalars().all():
                connection.execute(sa.text(f'DROP DATABASE "{made}" WITH (FORCE)'))
    except sa.exc.DBAPIError:
        return  # what came before tells that the server is away
    finally:
        engine.dispose()


@cache
def _copy(url: str, name: str, process: int) -> str:
    _execute(url, f"CREATE DATABASE {name}_{process} TEMPLATE {name}")
    return _at(url, f"{name}_{process}")


def _engine(url: str) -> sa.Engine:
    waits = {"connect_timeout": 5}
    return sa.create_engine(url, isolation_level="AUTOCOMMIT", connect_args=waits)


def _at(url: str, database: str) -> str:
    return sa.make_url(url).set(database=database).render_as_string(hide_password=False)


def _execute(url: str, *statements: str) -> None:
    """Raises StoreUnavailable."""
    engine = _engine(url)
    try:
        with engine.connect() as connection:
            for statement in statements:
                connection.execute(sa.text(statement))
    except sa.exc.DBAPIError as error:
        raise StoreUnavailable(diagnose(error).detail) from None
    finally:
        engine.dispose()


@contextmanager
def _folder() -> Iterator[Path]:
    folder = folders.temporary()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
