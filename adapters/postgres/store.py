"""The Store on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast

import sqlalchemy as sa

from adapters.postgres.connection import make_engine
from adapters.postgres.group_commit import Grouped, unheard
from adapters.postgres.group_writer import FaultPoint, no_faults
from adapters.postgres.migrate import head_revision, revision_of
from adapters.postgres.sql_store import SqlStore
from adapters.postgres.statements import PostgresStatements
from adapters.postgres.watchdog import HasSocket, Watchdog
from adapters.sealing import Sealer
from adapters.system import SystemClock
from coordinator.domain.errors import ConfigurationError
from coordinator.ports import DatabaseFacts


@dataclass(frozen=True)
class ServerClock:
    """The server's clock at the start of the database transaction."""

    def now(self) -> sa.ColumnElement[datetime]:
        """See `DatabaseClock.now`."""
        return sa.func.now()

    def after(self, seconds: float) -> sa.ColumnElement[datetime]:
        """See `DatabaseClock.after`."""
        return sa.func.now() + sa.literal(timedelta(seconds=seconds), sa.Interval)


class PostgresStore(SqlStore):
    """Implements `coordinator.ports.Store` on PostgreSQL, with group commit.

    url                  postgresql://…
    owner                names this process in claims; unique among all processes that ever wrote
    lease_s              how long a claim lasts, in seconds
    batch_limit          most writes in one database transaction
    queue_limit          most writes that wait; creations are refused at half of it
    readers              connections and threads that read; three more write, claim and search
    connect_timeout_s    how long to wait for a connection, in whole seconds
    statement_timeout_s  how long one statement may take, in seconds, and a transaction be idle
    lock_timeout_s       how long to wait for a lock, in seconds; less than for a statement
    silence_s            how much longer than a statement a unit of work may take before its
                         connection is taken for dead, in seconds
    grouped              hears of every group of writes: how many, and how many seconds it took
    faults               called at named points, for tests

    Raises ConfigurationError when the URL is not one of PostgreSQL.
    """

    def __init__(
        self,
        url: str,
        *,
        owner: str,
        sealer: Sealer,
        lease_s: float = 30.0,
        batch_limit: int = 256,
        queue_limit: int = 16_384,
        readers: int = 4,
        connect_timeout_s: int = 5,
        statement_timeout_s: float = 10.0,
        lock_timeout_s: float = 1.0,
        silence_s: float = 5.0,
        grouped: Grouped = unheard,
        faults: FaultPoint = no_faults,
    ) -> None:
        self._watchdog = Watchdog(statement_timeout_s + silence_s)
        self._engine = make_engine(
            url,
            pool_size=readers + 3,
            connect_timeout_s=connect_timeout_s,
            statement_timeout_s=statement_timeout_s,
            lock_timeout_s=lock_timeout_s,
            watch=self._watchdog.over,
        )
        super().__init__(
            connect=self._connected,
            statements=PostgresStatements(sealer, lease_s),
            clock=ServerClock(),
            owner=owner,
            sealer=sealer,
            lease_s=lease_s,
            batch_limit=batch_limit,
            queue_limit=queue_limit,
            readers=readers,
            timer=SystemClock().monotonic,
            grouped=grouped,
            faults=faults,
        )

    async def start(self) -> None:
        """Returns when the database answers and its schema is this version's.

        Raises StoreUnavailable, or ConfigurationError when the schema is another version's.
        """
        current = await self._run(revision_of)
        if current != head_revision():
            raise ConfigurationError(
                f"the database's schema is at {current or 'no version'}, this program needs "
                f"{head_revision()}; run kessai migrate"
            )

    async def facts(self) -> DatabaseFacts:
        """The database's time and its schema's revision. Raises StoreUnavailable."""
        return await self._run(_facts)

    async def close(self) -> None:
        """Settles every write that was taken, then closes every connection. May be repeated."""
        await super().close()
        self._engine.dispose()
        self._watchdog.close()

    @contextmanager
    def _connected(self) -> Iterator[sa.Connection]:
        with (
            self._engine.connect() as connection,
            self._watchdog.over(cast("HasSocket", connection.connection.dbapi_connection)),
        ):
            yield connection


def _facts(connection: sa.Connection) -> DatabaseFacts:
    now: datetime = connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
    return DatabaseFacts(now, revision_of(connection) or "", head_revision())
