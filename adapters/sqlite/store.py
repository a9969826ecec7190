"""The Store on SQLite: what the simulation runs on, and never a production database.

Schema, reading, claims, results and group commit are those of PostgreSQL; only how a group is
written differs. Its clock is the Clock port, so that virtual time decides when a claim runs out.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from adapters.postgres.group_commit import Grouped, unheard
from adapters.postgres.group_writer import FaultPoint, no_faults
from adapters.postgres.schema import UtcDateTime
from adapters.postgres.sql_store import SqlStore
from adapters.sealing import Sealer
from adapters.sqlite.database import SqliteDatabase
from adapters.sqlite.statements import SqliteStatements
from coordinator.ports import Clock


@dataclass(frozen=True)
class PortClock:
    """The Clock port's time when a statement is executed, as a server's own would be."""

    clock: Clock

    def now(self) -> sa.ColumnElement[datetime]:
        """See `DatabaseClock.now`."""
        return sa.bindparam(None, callable_=self.clock.now, type_=UtcDateTime)

    def after(self, seconds: float) -> sa.ColumnElement[datetime]:
        """See `DatabaseClock.after`."""
        later = timedelta(seconds=seconds)
        return sa.bindparam(None, callable_=lambda: self.clock.now() + later, type_=UtcDateTime)


class SqliteStore(SqlStore):
    """Implements `coordinator.ports.Store` on SQLite.

    database   shared by every store (simulated process) that works on it; whoever made it closes it
    clock      what the database takes for its clock
    Others as in `PostgresStore`.
    """

    def __init__(
        self,
        database: SqliteDatabase,
        *,
        owner: str,
        sealer: Sealer,
        clock: Clock,
        lease_s: float = 30.0,
        batch_limit: int = 256,
        queue_limit: int = 16_384,
        grouped: Grouped = unheard,
        faults: FaultPoint = no_faults,
    ) -> None:
        super().__init__(
            connect=database.connect,
            statements=SqliteStatements(sealer, lease_s, clock),
            clock=PortClock(clock),
            owner=owner,
            sealer=sealer,
            lease_s=lease_s,
            batch_limit=batch_limit,
            queue_limit=queue_limit,
            readers=1,
            timer=clock.monotonic,
            grouped=grouped,
            faults=faults,
        )
