"""One local transaction: the engine, and the retry that concurrency asks for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.schema import CreateColumn

from participants.errors import StoreUnavailable

Result = TypeVar("Result")

_ATTEMPTS = 5
_SERIALIZATION_FAILURE = "40001"
_DEADLOCK = "40P01"
_LOCK_TIMEOUT_MS = 10_000


def normalise_url(url: str) -> str:
    """The URL with psycopg2 named: SQLAlchemy 2.1 takes a bare `postgresql://` for psycopg 3."""
    for prefix in ("postgresql://", "postgres://"):
        if url.startswith(prefix):
            return "postgresql+psycopg2://" + url.removeprefix(prefix)
    return url


def make_engine(url: str, *, connections: int = 16) -> sa.Engine:
    """An engine of at most `connections` connections that waits at most 10 s for a lock."""
    return sa.create_engine(
        normalise_url(url),
        pool_size=connections,
        max_overflow=0,
        pool_pre_ping=True,
        isolation_level="READ COMMITTED",  # what is read after waiting for a lock has to be new
        hide_parameters=True,  # an error's text goes to the log; what a caller sent does not
        connect_args={"options": f"-c lock_timeout={_LOCK_TIMEOUT_MS}"},
    )


def create_tables(engine: sa.Engine, *schemas: sa.MetaData) -> None:
    """Creates the tables that are missing, and the columns and indexes that older ones lack.

    Enough for a reference service and for tests: it adds columns that are null or have a default,
    and neither changes nor constrains what is there. A service that lives longer migrates its
    schema. Two processes that start at once may both try: the loser looks again. Raises
    StoreUnavailable.
    """
    for schema in schemas:
        try:
            _create(engine, schema)
        except (exc.IntegrityError, exc.ProgrammingError):
            _create(engine, schema)
        except exc.OperationalError as error:
            raise StoreUnavailable("the database cannot be used") from error


def _create(engine: sa.Engine, schema: sa.MetaData) -> None:
    schema.create_all(engine)
    with engine.begin() as connection:
        for table in schema.sorted_tables:
            there = {column["name"] for column in sa.inspect(connection).get_columns(table.name)}
            for column in table.columns:
                if column.name not in there:
                    made = CreateColumn(column).compile(dialect=engine.dialect)
                    # A second process waits here for the first, and then finds nothing to do.
                    connection.execute(
                        sa.text(f"ALTER TABLE {table.name} ADD COLUMN IF NOT EXISTS {made}")
                    )
            for index in table.indexes:
                index.create(connection, checkfirst=True)


def in_transaction(engine: sa.Engine, work: Callable[[sa.Connection], Result]) -> Result:
    """Runs `work` in one transaction and commits it; runs it again after 40001 or 40P01.

    `work` must have no effect outside the transaction that may not happen twice.
    Raises StoreUnavailable when the database cannot be used, and whatever `work` raises.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            with engine.begin() as connection:
                return work(connection)
        except exc.DBAPIError as error:
            state = getattr(error.orig, "pgcode", None)
            if state in {_SERIALIZATION_FAILURE, _DEADLOCK}:
                if attempt < _ATTEMPTS:
                    continue
                raise StoreUnavailable("too many conflicting requests") from error
            if error.connection_invalidated or isinstance(
                error, exc.OperationalError | exc.InterfaceError
            ):
                raise StoreUnavailable("the database cannot be used") from error
            raise
        except exc.TimeoutError as error:
            raise StoreUnavailable("every database connection is in use") from error
    raise AssertionError("unreachable")
