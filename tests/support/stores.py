"""Both stores over databases of their own, with a way past them for tests to look and meddle."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg2
import sqlalchemy as sa

from adapters.postgres.connection import make_engine
from adapters.postgres.migrate import migrate
from adapters.postgres.sql_store import SqlStore
from adapters.postgres.store import PostgresStore
from adapters.postgres.trouble import ConnectionLost
from adapters.sealing import Sealer
from adapters.sqlite.database import SqliteDatabase
from adapters.sqlite.store import SqliteStore
from tests.support.transactions import START

KEY = bytes(range(32))
PAST = "2020-01-01 00:00:00.000000"


class FixedClock:
    """A clock that stands a day after every test transaction was made."""

    def now(self) -> datetime:
        return START + timedelta(days=1)

    async def sleep(self, seconds: float) -> None:
        raise AssertionError(f"a store does not wait, least of all {seconds} s")

    def monotonic(self) -> float:
        return 0.0


class Stores(ABC):
    """Stores (as if in several processes) on one database."""

    @abstractmethod
    def make(self, owner: str = "one", **options: Any) -> SqlStore:
        """A store on the database, not started."""

    @abstractmethod
    def connect(self) -> AbstractContextManager[sa.Connection]:
        """A connection past every store."""

    @abstractmethod
    def execute_unchecked(self, sql: str) -> None:
        """Runs a statement as if the schema had no CHECKs, as that of another version may not."""

    @abstractmethod
    def engine_of(self, store: SqlStore) -> sa.Engine:
        """What a store writes with."""

    @abstractmethod
    def committer_of(self, store: SqlStore) -> tuple[object, str]:
        """What commits what a store writes: an object and the name of its method."""

    @abstractmethod
    def lose_connection(self, *connection: Any) -> BaseException:
        """Cuts a DBAPI connection; what its user sees then."""

    @abstractmethod
    def close(self) -> None:
        """Lets go of the database."""

    @asynccontextmanager
    async def open(self, owner: str = "one", **options: Any) -> AsyncIterator[SqlStore]:
        """A started store that is closed afterwards."""
        store = self.make(owner, **options)
        try:
            await store.start()
            yield store
        finally:
            await store.close()

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """What a query finds."""
        with self.connect() as connection, connection.begin():
            return [tuple(row) for row in connection.exec_driver_sql(sql)]

    def execute(self, sql: str) -> None:
        """Runs a statement."""
        with self.connect() as connection, connection.begin():
            connection.exec_driver_sql(sql)

    def expire_claims(self) -> None:
        """As if every lease had run out."""
        for table in ("transactions", "outbox"):
            self.execute(
                f"UPDATE {table} SET claimed_until = '{PAST}' WHERE claimed_until IS NOT NULL"
            )

    def break_commit(self, store: SqlStore, *, times: int, committed: bool) -> list[str]:
        """The next COMMITs of the store lose their connection, before or after they are done.

        Returns a list that gets one entry for each COMMIT that was broken.
        """
        where, name = self.committer_of(store)
        commit: Callable[..., None] = getattr(where, name)
        broken: list[str] = []

        def commit_or_break(*connection: Any) -> None:
            if len(broken) == times:
                commit(*connection)
                return
            broken.append("broken")
            if committed:
                commit(*connection)
            raise self.lose_connection(*connection)

        setattr(where, name, commit_or_break)
        return broken


class PostgresStores(Stores):
    """On a real PostgreSQL."""

    def __init__(self, url: str) -> None:
        self.url = url
        migrate(url)
        self._engine = make_engine(url, pool_size=4, connect_timeout_s=5, statement_timeout_s=10)

    def make(self, owner: str = "one", **options: Any) -> PostgresStore:
        return PostgresStore(self.url, owner=owner, **{"sealer": Sealer(KEY)} | options)

    def connect(self) -> AbstractContextManager[sa.Connection]:
        return self._engine.connect()

    def execute_unchecked(self, sql: str) -> None:
        with self.connect() as connection, connection.begin():
            found = connection.exec_driver_sql(
                "SELECT conrelid::regclass::text, conname FROM pg_constraint"
                " WHERE contype = 'c' AND connamespace = 'public'::regnamespace"
            )
            for table, name in found.all():
                connection.exec_driver_sql(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
            connection.exec_driver_sql(sql)

    def engine_of(self, store: SqlStore) -> sa.Engine:
        assert isinstance(store, PostgresStore)
        return store._engine

    def committer_of(self, store: SqlStore) -> tuple[object, str]:
        return self.engine_of(store).dialect, "do_commit"

    def lose_connection(self, *connection: Any) -> BaseException:
        connection[0].close()
        return psycopg2.OperationalError("server closed the connection unexpectedly")

    def close(self) -> None:
        self._engine.dispose()


class SqliteStores(Stores):
    """On SQLite, in memory or in a file."""

    def __init__(self, path: Path | None) -> None:
        self.database = SqliteDatabase(path)

    def make(self, owner: str = "one", **options: Any) -> SqliteStore:
        return SqliteStore(
            self.database,
            owner=owner,
            clock=FixedClock(),
            **{"sealer": Sealer(KEY)} | options,
        )

    def connect(self) -> AbstractContextManager[sa.Connection]:
        return self.database.connect()

    def execute_unchecked(self, sql: str) -> None:
        with self.connect() as connection:
            connection.exec_driver_sql("PRAGMA ignore_check_constraints = ON")
            connection.exec_driver_sql(sql)
            connection.commit()
            connection.exec_driver_sql("PRAGMA ignore_check_constraints = OFF")
            connection.commit()

    def engine_of(self, store: SqlStore) -> sa.Engine:
        assert isinstance(store, SqliteStore)
        return self.database.engine

    def committer_of(self, store: SqlStore) -> tuple[object, str]:
        assert isinstance(store, SqliteStore)
        return self.database.connection, "finish"

    def lose_connection(
        self, *_connection: Any
    ) -> BaseException:  # in this process, nothing can be cut
        return ConnectionLost()

    def close(self) -> None:
        self.database.close()
