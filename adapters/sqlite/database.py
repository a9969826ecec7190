"""One SQLite database and its single connection, which its users take in turn.

In memory it lives as long as this object; several stores (simulated processes) may share it. The
connection is kept, and begins and commits by itself: what SQLAlchemy does around each of these
costs a simulation more than the statements between them. Every database in memory shares one
engine, so that a statement is compiled once for all of them.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from typing import Any, cast

import sqlalchemy as sa

from adapters.postgres.schema import metadata
from adapters.sqlite.prepared import QUERIES, prepared


class SqliteConnection(sa.Connection):
    """A connection in the driver's autocommit mode, with transactions of its own."""

    def __init__(self, engine: sa.Engine) -> None:
        super().__init__(engine)
        self.driver = cast("sqlite3.Connection", self.connection.driver_connection)
        self.driver.isolation_level = None  # the driver's own idea of BEGIN comes too late

    @contextmanager
    def begin(self) -> Iterator[None]:  # type: ignore[override] # nobody asks it anything
        """One database transaction, that of the only writer."""
        self.driver.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.finish()
        except BaseException:
            if self.driver.in_transaction:
                self.driver.execute("ROLLBACK")
            raise

    def finish(self) -> None:
        """COMMIT."""
        self.driver.execute("COMMIT")

    def execute(self, statement: Any, parameters: Any = None, **options: Any) -> Any:
        """As SQLAlchemy does, but the constant queries go straight to the driver."""
        if statement not in QUERIES:
            return super().execute(statement, parameters, **options)
        query = prepared(statement)
        try:
            rows = self.driver.execute(query.text, query.values(parameters)).fetchall()
        except sqlite3.Error as error:
            raise _translated(error) from error
        return query.found(rows)

    def run(self, statement: str, values: Sequence[object]) -> int:
        """Executes it as it stands, and returns how many rows it changed."""
        try:
            return self.driver.execute(statement, values).rowcount
        except sqlite3.Error as error:
            raise _translated(error) from error

    def run_each(self, statement: str, rows: Sequence[Sequence[object]]) -> None:
        """Executes it once for each row of values."""
        try:
            self.driver.executemany(statement, rows)
        except sqlite3.Error as error:
            raise _translated(error) from error


class SqliteDatabase:
    """A database in `path`, or in memory. The schema is made when it is not there."""

    def __init__(self, path: Path | None = None) -> None:
        self._turn = threading.Lock()
        self.engine = _in_memory() if path is None else _engine(f"sqlite:///{path}")
        self.connection = SqliteConnection(self.engine)
        if path is None:
            self.connection.driver.deserialize(_empty())
            return
        with self.connect() as connection, connection.begin():
            metadata.create_all(connection)

    @contextmanager
    def connect(self) -> Iterator[sa.Connection]:
        """The connection, for one user at a time."""
        with self._turn:
            yield self.connection

    def rows(self, statement: str, *values: str) -> list[tuple[Any, ...]]:
        """What a plain query finds, without anything around it: for looking often."""
        with self._turn:
            return self.connection.driver.execute(statement, values).fetchall()

    def close(self) -> None:
        """Lets go of the database; one in memory is gone."""
        self.connection.close()


def _engine(url: str) -> sa.Engine:
    return sa.create_engine(
        url,
        poolclass=sa.NullPool,
        connect_args={"check_same_thread": False},
        hide_parameters=True,
    )


@cache
def _in_memory() -> sa.Engine:
    """Each of its connections is a database of its own."""
    return _engine("sqlite://")


@cache
def _empty() -> bytes:
    """A database with our schema and no rows: copied, since making one takes a while."""
    with closing(SqliteConnection(_in_memory())) as connection:
        metadata.create_all(connection)
        return connection.driver.serialize()


def _translated(error: sqlite3.Error) -> sa.exc.DBAPIError:
    """The same as SQLAlchemy's, which is what is diagnosed."""
    found = sa.exc.DBAPIError.instance(
        None, None, error, sqlite3.Error, hide_parameters=True, dialect=_in_memory().dialect
    )
    assert isinstance(found, sa.exc.DBAPIError), "it is the driver's"
    return found
