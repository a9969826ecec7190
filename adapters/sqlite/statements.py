"""How a group is written on SQLite: the same columns as on PostgreSQL, row by row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

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
    Kind,
    StepRow,
    Write,
    moved_steps,
    opened_steps,
)
from adapters.sealing import Sealer
from adapters.sqlite.database import SqliteConnection
from coordinator.ports import Clock

_CREATING = FIXED + MOVING
_STEP_OPENING = STEP_KEY + STEP_FIXED + STEP_MOVING
_SETTING = tuple(field for field in MOVING if field.name != "id")


def _insert(table: str, fields: Sequence[Field], *more: str) -> str:
    names = [field.name for field in fields] + list(more)
    into, values = ", ".join(names), ", ".join("?" * len(names))
    return f"INSERT INTO {table} ({into}) VALUES ({values})"  # noqa: S608 - own names


def _assigned(fields: Sequence[Field]) -> str:
    return ", ".join(f"{field.name} = ?" for field in fields)


_INSERT = _insert("transactions", _CREATING, "claimed_until") + " ON CONFLICT DO NOTHING"
_UPDATE = (
    f"UPDATE transactions SET {_assigned(_SETTING)},"  # noqa: S608 - our own names
    " claimed_until = ? WHERE id = ? AND version = ?"
)
_STEP_UPDATE = (
    f"UPDATE steps SET {_assigned(STEP_MOVING)},"  # noqa: S608 - our own names
    " sealed = CASE WHEN ? THEN NULL ELSE sealed END"
    " WHERE transaction_id = ? AND phase = ?"
)
_STEP_INSERT = _insert("steps", _STEP_OPENING)
_JOURNAL_INSERT = _insert("journal", JOURNAL)
_OUTBOX_INSERT = _insert("outbox", OUTBOX)


def _time(value: datetime | None) -> str | None:
    """As SQLAlchemy's own DateTime stores it."""
    if value is None:
        return None
    if value.tzinfo is None:
        raise ValueError("a datetime without a zone cannot be stored")
    if value.tzinfo is not UTC:
        value = value.astimezone(UTC)
    return value.isoformat(" ", "microseconds")[: -len("+00:00")]


def _values(fields: Sequence[Field], row: Any) -> list[Any]:
    return [
        _time(field.get(row)) if field.kind is Kind.TIME else field.get(row) for field in fields
    ]


class SqliteStatements:
    """Writes groups on SQLite. Implements `group_writer.WriteStatements`."""

    def __init__(self, sealer: Sealer, lease_s: float, clock: Clock) -> None:
        self._sealer = sealer
        self._lease_s = lease_s
        self._clock = clock

    def insert(self, connection: sa.Connection, writes: Sequence[Write]) -> set[str]:
        """Creates transactions, unless their ID, key or order is taken; the IDs that won."""
        return self._run(
            connection,
            writes,
            lambda write: (_INSERT, [*_values(_CREATING, write), self._claimed_until(write)]),
            lambda won: (
                _STEP_INSERT,
                [_values(_STEP_OPENING, row) for row in opened_steps(won, self._sealer)],
            ),
        )

    def update(self, connection: sa.Connection, writes: Sequence[Write]) -> set[str]:
        """Moves transactions whose version is still the expected one; the IDs that won."""
        return self._run(
            connection,
            writes,
            lambda write: (
                _UPDATE,
                [
                    *_values(_SETTING, write),
                    self._claimed_until(write),
                    write.after.id,
                    write.change.expected_version,
                ],
            ),
            lambda won: (_STEP_UPDATE, [_moved(row) for row in moved_steps(won)]),
        )

    def hurry(self, connection: sa.Connection) -> None:
        """Nothing: there is one connection, and nobody to wait for."""

    def _run(
        self,
        connection: sa.Connection,
        writes: Sequence[Write],
        move: Callable[[Write], tuple[str, list[Any]]],
        step: Callable[[Sequence[Write]], tuple[str, list[list[Any]]]],
    ) -> set[str]:
        assert isinstance(connection, SqliteConnection), "it comes from a SqliteDatabase"
        won = []
        for write in writes:
            statement, values = move(write)
            if connection.run(statement, values):
                won.append(write)
        for statement, rows in (
            step(won),
            (_JOURNAL_INSERT, [_values(JOURNAL, e) for w in won for e in w.change.entries]),
            (_OUTBOX_INSERT, [_values(OUTBOX, e) for w in won for e in w.change.events]),
        ):
            if rows:
                connection.run_each(statement, rows)
        return {write.after.id for write in won}

    def _claimed_until(self, write: Write) -> str | None:
        if write.holder is None:
            return None
        return _time(self._clock.now() + timedelta(seconds=self._lease_s))


def _moved(row: StepRow) -> list[Any]:
    return [*_values((*STEP_MOVING, STEP_WIPED), row), row.transaction_id, row.step.phase]
