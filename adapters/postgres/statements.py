"""The hot path on PostgreSQL: one statement creates a whole group, one moves a whole group.

Both are data-modifying CTEs over JSON record sets: the rows that won the compare-and-set (or met no
UNIQUE conflict) are what the steps, the journal and the outbox are joined to, so that a loser
writes nothing at all and a group costs one round trip for its updates and one for its inserts.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from adapters.postgres.documents import document, record_set
from adapters.postgres.fields import (
    FIXED,
    JOURNAL,
    MOVING,
    OUTBOX,
    STEP_FIXED,
    STEP_KEY,
    STEP_MOVING,
    STEP_WIPED,
    Field,
    Write,
    moved_steps,
    opened_steps,
)
from adapters.sealing import Sealer

_HURRY = "SET LOCAL lock_timeout = 50; SET LOCAL statement_timeout = 1000"
_CLAIMED_UNTIL = (
    "CASE WHEN i.claimed_by IS NOT NULL THEN now() + %(lease_s)s * interval '1 second' END"
)
_CREATING = FIXED + MOVING
_STEP_OPENING = STEP_KEY + STEP_FIXED + STEP_MOVING
_STEP_UPDATING = (*STEP_KEY, *STEP_MOVING, STEP_WIPED)


# S608 is silenced below: the only names put into SQL are those of `fields`, and values never are.


def _names(fields: Sequence[Field], before: str = "") -> str:
    return ", ".join(before + field.name for field in fields)


def _children(table: str, fields: Sequence[Field]) -> str:
    into, values = _names(fields), _names(fields, "i.")
    source = record_set(fields, table)
    chosen = f"SELECT {values} FROM {source} JOIN won ON won.id = i.transaction_id"  # noqa: S608
    return f"INSERT INTO {table} ({into}) {chosen}"


_JOURNAL_AND_OUTBOX = (
    f"journaled AS ({_children('journal', JOURNAL)}),"  # noqa: S608
    f" announced AS ({_children('outbox', OUTBOX)})"
    " SELECT id::text FROM won"
)

INSERT = (
    f"WITH won AS (INSERT INTO transactions ({_names(_CREATING)}, claimed_until)"  # noqa: S608
    f" SELECT {_names(_CREATING, 'i.')}, {_CLAIMED_UNTIL}"
    f" FROM {record_set(_CREATING, 'transactions')}"
    " ON CONFLICT DO NOTHING RETURNING id),"
    f" opened AS ({_children('steps', _STEP_OPENING)}), {_JOURNAL_AND_OUTBOX}"
)

_MOVES = ", ".join(f"{field.name} = i.{field.name}" for field in MOVING if field.name != "id")
_STEP_MOVES = ", ".join(f"{field.name} = i.{field.name}" for field in STEP_MOVING)

# A step that is as it was is not written again, also where the writer could not know.
UPDATE = (
    f"WITH won AS (UPDATE transactions AS t SET {_MOVES},"  # noqa: S608
    f" claimed_until = {_CLAIMED_UNTIL}"
    f" FROM {record_set(MOVING, 'transactions')}"
    " WHERE t.id = i.id AND t.version = i.version - 1 RETURNING t.id),"
    f" moved AS (UPDATE steps AS s SET {_STEP_MOVES},"
    " sealed = CASE WHEN i.wiped THEN NULL ELSE s.sealed END"
    f" FROM {record_set(_STEP_UPDATING, 'steps')} JOIN won ON won.id = i.transaction_id"
    " WHERE s.transaction_id = i.transaction_id AND s.phase = i.phase AND ("
    f"({_names(STEP_MOVING, 's.')}) IS DISTINCT FROM ({_names(STEP_MOVING, 'i.')})"
    " OR (i.wiped AND s.sealed IS NOT NULL))),"
    f" {_JOURNAL_AND_OUTBOX}"
)


class PostgresStatements:
    """Writes groups on PostgreSQL. Implements `group_writer.WriteStatements`."""

    def __init__(self, sealer: Sealer, lease_s: float) -> None:
        self._sealer = sealer
        self._lease_s = lease_s

    def insert(self, connection: sa.Connection, writes: Sequence[Write]) -> set[str]:
        """Creates transactions, unless their ID, key or order is taken; the IDs that won."""
        steps = document(_STEP_OPENING, opened_steps(writes, self._sealer))
        return self._run(connection, INSERT, document(_CREATING, writes), steps, writes)

    def update(self, connection: sa.Connection, writes: Sequence[Write]) -> set[str]:
        """Moves transactions whose version is still the expected one; the IDs that won."""
        steps = document(_STEP_UPDATING, moved_steps(writes))
        return self._run(connection, UPDATE, document(MOVING, writes), steps, writes)

    def hurry(self, connection: sa.Connection) -> None:
        """The current transaction waits for hardly anything."""
        connection.exec_driver_sql(_HURRY)

    def _run(
        self,
        connection: sa.Connection,
        statement: str,
        transactions: str,
        steps: str,
        writes: Sequence[Write],
    ) -> set[str]:
        entries = [entry for write in writes for entry in write.change.entries]
        events = [event for write in writes for event in write.change.events]
        parameters = {
            "transactions": transactions,
            "steps": steps,
            "journal": document(JOURNAL, entries),
            "outbox": document(OUTBOX, events),
            "lease_s": self._lease_s,
        }
        return {row[0] for row in connection.exec_driver_sql(statement, parameters)}
