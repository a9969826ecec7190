"""One SQLite database and its single connection, which its users take in turn.

In memory it lives as long as this object; several stores (simulated processes) may share it.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.engine.interfaces import DBAPIConnection

from adapters.postgres.schema import metadata


class SqliteDatabase:
    """A database in `path`, or in memory. The schema is made when it is not there."""

    def __init__(self, path: Path | None = None) -> None:
        self._turn = threading.Lock()
        self.engine = sa.create_engine(
            "sqlite://" if path is None else f"sqlite:///{path}",
            poolclass=sa.StaticPool,
            connect_args={"check_same_thread": False},
            hide_parameters=True,
        )

        @sa.event.listens_for(self.engine, "connect")
        def settle_in(connection: DBAPIConnection, _record: object) -> None:
            connection.isolation_level = None  # the driver's own idea of BEGIN comes too late

        @sa.event.listens_for(self.engine, "begin")
        def begin(connection: sa.Connection) -> None:
            # Not through SQLAlchemy, which makes ten times as much of what is done so often.
            connection.connection.cursor().execute("BEGIN IMMEDIATE")

        if path is None:
            with closing(self.engine.raw_connection()) as raw:
                cast("sqlite3.Connection", raw.driver_connection).deserialize(_empty())
            return
        with self.connect() as connection, connection.begin():
            metadata.create_all(connection)

    @contextmanager
    def connect(self) -> Iterator[sa.Connection]:
        """The connection, for one user at a time."""
        with self._turn, self.engine.connect() as connection:
            yield connection

    def rows(self, statement: str, *values: str) -> list[tuple[Any, ...]]:
        """What a plain query finds, without anything around it: for looking often."""
        with self._turn, closing(self.engine.raw_connection()) as connection:
            cursor = connection.cursor()
            cursor.execute(statement, values)
            return list(cursor.fetchall())

    def close(self) -> None:
        """Lets go of the database; one in memory is gone."""
        self.engine.dispose()


@cache
def _empty() -> bytes:
    """A database with our schema and no rows: copied, since making one takes a while."""
    engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
    metadata.create_all(engine)
    with closing(engine.raw_connection()) as raw:
        made = cast("sqlite3.Connection", raw.driver_connection).serialize()
    engine.dispose()
    return made
