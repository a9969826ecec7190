"""What operators look at and set, for both SQL dialects: searches, the census, pauses of flows.

Searches are ordered by ID: those are made in the order of time, and the primary key serves it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from adapters.postgres.claims import DatabaseClock
from adapters.postgres.reading import whole
from adapters.postgres.schema import LIVE_SQL, UtcDateTime, flow_pauses, outbox, steps, transactions
from coordinator.domain.machine import State
from coordinator.domain.transaction import StepStatus
from coordinator.ports import Census, Pause, TransactionQuery, Waiting

_T = transactions.c
_LIVE = sa.text(LIVE_SQL)
_UNFINISHED_STEP = steps.c.status.not_in(
    [StepStatus.CONFIRMED.value, StepStatus.CANCELLED.value, StepStatus.REFUSED.value]
)


def _chosen(query: TransactionQuery) -> sa.Select[Any]:
    """The IDs that a query finds, on all pages."""
    ids = sa.select(_T.id)
    # What needs a person, is held or has an error is live; saying so lets an index be used.
    if query.live or query.attention or query.held or query.phases or query.error:
        ids = ids.where(_LIVE)
    if query.states:
        ids = ids.where(_T.state.in_([state.value for state in query.states]))
    if query.attention:
        ids = ids.where(_T.attention_code.is_not(None))
    if query.held:
        ids = ids.where(_T.held_by.is_not(None))
    if query.in_state_before is not None:
        ids = ids.where(_T.state_since < query.in_state_before)
    if query.phases:
        ids = ids.where(_has_step(steps.c.phase.in_(query.phases), steps.c.last_error != ""))
    if query.error:
        ids = ids.where(
            sa.or_(_T.attention_code == query.error, _has_step(steps.c.last_error == query.error))
        )
    if query.caller:
        ids = ids.where(_T.caller == query.caller)
    if query.flow:
        ids = ids.where(_T.flow == query.flow)
    return ids


def _has_step(*conditions: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    return sa.exists().where(steps.c.transaction_id == _T.id, _UNFINISHED_STEP, *conditions)


def page(query: TransactionQuery) -> sa.Select[Any]:
    """One page, one row for each step."""
    ids = _chosen(query)
    if query.before is not None:
        ids = ids.where(_T.id < query.before)
    return whole(ids.order_by(_T.id.desc()).limit(query.limit), _T.id.desc())


def count(query: TransactionQuery, at_most: int) -> sa.Select[Any]:
    """How many there are, up to a limit."""
    found = _chosen(query).limit(at_most).subquery("found")
    return sa.select(sa.func.count()).select_from(found)


def take_census(connection: sa.Connection, clock: DatabaseClock) -> Census:
    """One look at all that is live, each part by one statement."""
    now = connection.execute(sa.select(sa.type_coerce(clock.now(), UtcDateTime))).scalar_one()
    states = connection.execute(
        sa.select(_T.state, sa.func.count().label("count"), sa.func.min(_T.state_since))
        .where(_LIVE)
        .group_by(_T.state)
    ).all()
    attention = connection.execute(
        sa.select(_T.attention_code, sa.func.count())
        .where(_LIVE, _T.attention_code.is_not(None))
        .group_by(_T.attention_code)
    ).all()
    held = connection.execute(
        sa.select(sa.func.count()).where(_LIVE, _T.held_by.is_not(None))
    ).scalar_one()
    overdue, due = connection.execute(
        sa.select(sa.func.count(), sa.func.min(_T.due_at)).where(
            _LIVE,
            _T.held_by.is_(None),
            _T.due_at <= clock.now(),
            sa.or_(_T.claimed_until.is_(None), _T.claimed_until <= clock.now()),
        )
    ).one()
    unpublished, first = connection.execute(
        sa.select(sa.func.count(), sa.func.min(outbox.c.at)).where(outbox.c.published_at.is_(None))
    ).one()
    return Census(
        by_state={State(state): number for state, number, _ in states},
        oldest_s={State(state): _age_s(now, since) for state, _, since in states},
        attention=dict(sorted((code, number) for code, number in attention)),
        held=held,
        overdue=overdue,
        overdue_oldest_s=_age_s(now, due),
        waiting=_waiting(connection, now),
        outbox=unpublished,
        outbox_oldest_s=_age_s(now, first),
    )


def _waiting(connection: sa.Connection, now: datetime) -> Mapping[str, Waiting]:
    rows = connection.execute(
        sa.select(steps.c.phase, sa.func.count(), sa.func.min(_T.state_since))
        .select_from(transactions)
        .join(steps, steps.c.transaction_id == _T.id)
        .where(_LIVE, _UNFINISHED_STEP, steps.c.last_error != "")
        .group_by(steps.c.phase)
        .order_by(steps.c.phase)
    )
    return {phase: Waiting(number, _age_s(now, since)) for phase, number, since in rows}


def _age_s(now: datetime, since: datetime | None) -> float:
    """Two clocks are compared: what is a little in the future is new."""
    return 0.0 if since is None else max(0.0, (now - since).total_seconds())


PAUSES = sa.select(flow_pauses).order_by(flow_pauses.c.flow)
# What an operator paused is not opened again by a pause that ends by itself.
PAUSE = sa.text(
    "INSERT INTO flow_pauses (flow, actor, reason, since, until)"
    " VALUES (:flow, :actor, :reason, :since, :until)"
    " ON CONFLICT (flow) DO UPDATE SET actor = excluded.actor, reason = excluded.reason,"
    " since = excluded.since, until = excluded.until"
    " WHERE excluded.until IS NULL OR flow_pauses.until IS NOT NULL"
).bindparams(sa.bindparam("since", type_=UtcDateTime()), sa.bindparam("until", type_=UtcDateTime()))


def unpause(flow: str) -> sa.Delete:
    """Ends a pause."""
    return sa.delete(flow_pauses).where(flow_pauses.c.flow == flow)


def pause_of(row: sa.Row[Any]) -> Pause:
    """One pause."""
    return Pause(row.flow, row.actor, row.reason, row.since, row.until)
