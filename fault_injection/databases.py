"""The databases a simulation runs on: SQLite in memory or in a file, and PostgreSQL.

Whichever it is, the store is the same code, every unit of work is one call in one thread, and the
database's clock is virtual time: so one seed gives one trace on all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy.engine.interfaces import DBAPIConnection

from adapters.postgres import group_commit, group_writer
from adapters.postgres.claims import DatabaseClock
from adapters.postgres.connection import make_engine
from adapters.postgres.migrate import migrate
from adapters.postgres.sql_store import SqlStore
from adapters.postgres.statements import PostgresStatements
from adapters.postgres.store import ServerClock
from adapters.sealing import Sealer
from adapters.sqlite.database import SqliteDatabase
from adapters.sqlite.statements import SqliteStatements
from adapters.sqlite.store import PortClock
from coordinator.domain.transaction import Change
from coordinator.ports import Clock, CommitResult
from fault_injection.lives import alive

_TIMEOUT_S = 60
_OUR_TABLES = "transactions, steps, journal, outbox, flow_pauses"


class Database(Protocol):
    """One database that every simulated process works on."""

    @property
    def clock(self) -> DatabaseClock:
        """Its clock, which shows virtual time."""

    def connect(self) -> AbstractContextManager[sa.Connection]:
        """A connection, given back on leaving the context."""

    def statements(self, sealer: Sealer, lease_s: float) -> group_writer.WriteStatements:
        """How groups are written."""

    def rows(self, statement: str, *values: str) -> list[tuple[Any, ...]]:
        """What a plain query (with ? for values) finds, without anything around it."""

    def close(self) -> None:
        """Lets go of the database."""


class Sqlite(SqliteDatabase):
    """SQLite in `path`, or in memory."""

    def __init__(self, clock: Clock, path: Path | None = None) -> None:
        super().__init__(path)
        if path is not None:
            self.connection.driver.execute("PRAGMA synchronous = OFF")  # nothing ends the machine
        self._clock = clock
        self.clock = PortClock(clock)

    def statements(self, sealer: Sealer, lease_s: float) -> group_writer.WriteStatements:
        """See `Database.statements`."""
        return SqliteStatements(sealer, lease_s, self._clock)


class Postgres:
    """PostgreSQL, in a database that `prepare` made; what an earlier run left there is gone.

    Every database transaction begins by setting what `now()` will say in it.
    """

    def __init__(self, clock: Clock, url: str) -> None:
        self.clock = ServerClock()
        self._engine = _engine(url)

        @sa.event.listens_for(self._engine, "connect")
        def settle_in(connection: DBAPIConnection, _record: object) -> None:
            cursor = connection.cursor()
            cursor.execute("SET search_path = virtual, pg_catalog, public; SET timezone = 'UTC'")
            cursor.close()
            connection.commit()

        @sa.event.listens_for(self._engine, "begin")
        def begin(connection: sa.Connection) -> None:
            cursor = connection.connection.cursor()
            cursor.execute(_SET_NOW, (clock.now().isoformat(),))
            cursor.close()

        self._empty()

    def _empty(self) -> None:
        with closing(self._engine.raw_connection()) as connection:
            connection.cursor().execute(
                "ALTER TABLE journal DISABLE TRIGGER USER;"  # it refuses to be emptied
                f" TRUNCATE {_OUR_TABLES};"
                " ALTER TABLE journal ENABLE TRIGGER USER"
            )
            connection.commit()

    @contextmanager
    def connect(self) -> Iterator[sa.Connection]:
        """See `Database.connect`."""
        with self._engine.connect() as connection:
            yield connection

    def statements(self, sealer: Sealer, lease_s: float) -> group_writer.WriteStatements:
        """See `Database.statements`."""
        return PostgresStatements(sealer, lease_s)

    def rows(self, statement: str, *values: str) -> list[tuple[Any, ...]]:
        """See `Database.rows`."""
        with closing(self._engine.raw_connection()) as connection:  # which rolls back
            cursor = connection.cursor()
            cursor.execute(statement.replace("?", "%s"), values)
            return list(cursor.fetchall())

    def close(self) -> None:
        """See `Database.close`."""
        self._engine.dispose()


class CountingStore(SqlStore):
    """The store of simulation, with a hook before and after every commit."""

    def __init__(
        self,
        database: Database,
        *,
        owner: str,
        sealer: Sealer,
        clock: Clock,
        lease_s: float,
        faults: group_writer.FaultPoint = group_writer.no_faults,
    ) -> None:
        super().__init__(
            connect=database.connect,
            statements=self.witnessed(database.statements(sealer, lease_s)),
            clock=database.clock,
            owner=owner,
            sealer=sealer,
            lease_s=lease_s,
            batch_limit=256,
            queue_limit=16_384,
            readers=1,
            timer=clock.monotonic,
            grouped=group_commit.unheard,
            faults=faults,
        )

    def witnessed(self, statements: group_writer.WriteStatements) -> group_writer.WriteStatements:
        """What writes groups here, with whoever looks on."""
        return statements

    before_commit: Callable[[Change], None] = staticmethod(lambda _change: None)
    after_commit: Callable[[Change], None] = staticmethod(lambda _change: None)

    async def commit(self, change: Change) -> CommitResult:
        """See `Store.commit`."""
        self.before_commit(change)
        await alive()
        result = await super().commit(change)
        self.after_commit(change)
        await alive()
        return result


_SET_NOW = "SELECT set_config('kessai.now', %s, true)"
_VIRTUAL_NOW = """
CREATE SCHEMA virtual;
CREATE FUNCTION virtual.now() RETURNS timestamptz STABLE LANGUAGE sql
    AS $$ SELECT current_setting('kessai.now')::timestamptz $$;
"""


def prepare(url: str) -> None:
    """Makes our schema in an empty database, and a `now()` that comes before the server's.

    Raises StoreUnavailable.
    """
    migrate(url)
    engine = _engine(url)
    try:
        with engine.begin() as connection:
            connection.exec_driver_sql(_VIRTUAL_NOW)
    finally:
        engine.dispose()


def _engine(url: str) -> sa.Engine:
    return make_engine(
        url, pool_size=2, connect_timeout_s=_TIMEOUT_S, statement_timeout_s=_TIMEOUT_S
    )
