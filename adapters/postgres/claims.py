"""Claims of transactions and of events: conditional updates on the database's clock.

SKIP LOCKED only keeps claimers out of each other's way (SQLAlchemy drops it on SQLite, where
writers take turns anyhow). What makes a claim safe is its condition, and for a transaction the
version that it bumps.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy.sql.dml import ReturningUpdate

from adapters.postgres.reading import EVENT_COLUMNS
from adapters.postgres.schema import LIVE_SQL, outbox, transactions

_T = transactions.c
_E = outbox.c


class DatabaseClock(Protocol):
    """The database's clock, as SQL expressions that are evaluated when they are executed."""

    def now(self) -> sa.ColumnElement[datetime]:
        """The time."""

    def after(self, seconds: float) -> sa.ColumnElement[datetime]:
        """The time in so many seconds."""

    def __hash__(self) -> int:
        """Equal clocks make equal statements."""


@lru_cache
def claim_transactions(
    owner: str,
    lease_s: float,
    limit: int,
    clock: DatabaseClock,
    flows: tuple[str, ...] | None = None,
) -> ReturningUpdate[Any]:
    """Claims due live transactions of these flows that nobody holds, and returns their IDs."""
    now = clock.now()
    free = sa.and_(
        sa.text(LIVE_SQL),
        _T.due_at <= now,
        _T.held_by.is_(None),
        sa.or_(_T.claimed_until.is_(None), _T.claimed_until <= now),
    )
    if flows is not None:
        free = sa.and_(free, _T.flow.in_(flows))
    # A CTE, not `IN (SELECT … LIMIT …)`: PostgreSQL may run such a subquery more than once.
    due = (
        sa.select(_T.id, _T.version)
        .where(free)
        .order_by(_T.due_at, _T.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    return (
        sa.update(transactions)
        .where(_T.id == due.c.id, _T.version == due.c.version)
        .values(version=_T.version + 1, claimed_by=owner, claimed_until=clock.after(lease_s))
        .returning(_T.id)
    )


def renew(ids: list[str], owner: str, lease_s: float, clock: DatabaseClock) -> ReturningUpdate[Any]:
    """Extends the owner's claims on these transactions, and returns those that it still has.

    No version is bumped: whoever takes a claim over bumps it, and names itself as its owner.
    """
    return (
        sa.update(transactions)
        .where(_T.id.in_(ids), _T.claimed_by == owner, sa.text(LIVE_SQL))
        .values(claimed_until=clock.after(lease_s))
        .returning(_T.id)
    )


def release(owner: str, clock: DatabaseClock) -> sa.Update:
    """Gives every claim of the owner back. Bumps the versions: its own writes are over."""
    return (
        sa.update(transactions)
        .where(_T.claimed_by == owner, sa.text(LIVE_SQL))
        .values(version=_T.version + 1, claimed_by=None, claimed_until=None, due_at=clock.now())
    )


def claim_of(transaction_id: str, clock: DatabaseClock) -> sa.Select[Any]:
    """Who holds a transaction, until when, and the time now; no row when nobody does."""
    now = clock.now()
    return sa.select(
        _T.claimed_by, _T.claimed_until, sa.type_coerce(now, _T.claimed_until.type).label("now")
    ).where(_T.id == transaction_id, _T.claimed_until > now)


@lru_cache
def claim_events(
    owner: str, lease_s: float, limit: int, clock: DatabaseClock
) -> ReturningUpdate[Any]:
    """Claims unpublished events nobody holds, the first of each transaction, and returns them."""
    now = clock.now()
    earlier = outbox.alias("earlier")
    free = sa.and_(
        _E.published_at.is_(None),
        sa.or_(_E.claimed_until.is_(None), _E.claimed_until <= now),
    )
    first = ~sa.exists().where(
        earlier.c.transaction_id == _E.transaction_id,
        earlier.c.published_at.is_(None),
        earlier.c.sequence < _E.sequence,
    )
    due = (
        sa.select(_E.id)
        .where(free, first)
        .order_by(_E.at, _E.id)
        .limit(limit)
        .with_for_update(skip_locked=True, of=outbox)
        .cte("due")
    )
    return (
        sa.update(outbox)
        .where(_E.id == due.c.id, free)
        .values(claimed_by=owner, claimed_until=clock.after(lease_s))
        .returning(*EVENT_COLUMNS)
    )


def mark_published(ids: list[str], now: Callable[[], sa.ColumnElement[datetime]]) -> sa.Update:
    """Marks events as published; those that are already stay as they are."""
    return (
        sa.update(outbox)
        .where(_E.id.in_(ids), _E.published_at.is_(None))
        .values(published_at=now(), claimed_by=None, claimed_until=None)
    )
