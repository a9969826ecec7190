"""Rows to transactions, journal lines and events, for both SQL dialects.

A transaction and its steps are read by one statement: two would see two moments and could put a new
step beside an old state.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa
import structlog
from msgspec import json

from adapters.postgres.fields import secret_context
from adapters.postgres.schema import LIVE_SQL, journal, outbox, steps, transactions
from adapters.sealing import Sealer, SecretUnreadable
from coordinator.domain.errors import Bug, KessaiError
from coordinator.domain.ids import TransactionId
from coordinator.domain.machine import State
from coordinator.domain.money import Money
from coordinator.domain.outcome import NextAction
from coordinator.domain.phase import Role
from coordinator.domain.transaction import (
    Attention,
    Capture,
    EntryKind,
    Failure,
    Hold,
    JournalEntry,
    OutboxEvent,
    RefundOf,
    Step,
    StepStatus,
    Transaction,
)
from coordinator.ports import PaymentQuery

_log = structlog.get_logger(__name__)
_T = transactions.c
_UNREAD = {"claimed_until", "written_by"}
_STEP_COLUMNS = [
    column.label(f"step_{column.name}") for column in steps.c if column.name != "transaction_id"
]
_NEWEST_FIRST = (_T.created_at.desc(), _T.id.desc())


def whole(
    ids: sa.Select[Any], *order: sa.UnaryExpression[Any] | sa.ColumnElement[Any]
) -> sa.Select[Any]:
    """Transactions whose IDs `ids` selects, one row for each step; newest first unless `order`."""
    chosen = ids.subquery("chosen")
    return (
        sa.select(*(column for column in _T if column.name not in _UNREAD), *_STEP_COLUMNS)
        .select_from(chosen)
        .join(transactions, _T.id == chosen.c.id)
        .outerjoin(steps, steps.c.transaction_id == _T.id)
        .order_by(*(order or _NEWEST_FIRST), steps.c.position)
    )


BY_ID = whole(sa.select(_T.id).where(_T.id == sa.bindparam("id")))
BY_KEY = whole(
    sa.select(_T.id).where(
        _T.caller == sa.bindparam("caller"), _T.idempotency_key == sa.bindparam("idempotency_key")
    )
)
BY_PAYMENT = whole(sa.select(_T.id).where(_T.payment_id == sa.bindparam("payment_id")))
BY_IDS = whole(sa.select(_T.id).where(_T.id.in_(sa.bindparam("ids", expanding=True))))
JOURNAL_AFTER = (
    sa.select(journal)
    .where(
        journal.c.transaction_id == sa.bindparam("id"), journal.c.sequence > sa.bindparam("after")
    )
    .order_by(journal.c.sequence)
    .limit(sa.bindparam("limit"))
)
# In the order of the indexes of live rows, so that a plan uses one of them: looking for a few live
# payments in the whole table looks cheap to a planner whose statistics are of a busier hour.
COUNT_LIVE = sa.select(sa.func.count()).select_from(
    sa.select(_T.due_at)
    .where(_T.caller == sa.bindparam("caller"), sa.text(LIVE_SQL), _T.payment_id.is_(None))
    .order_by(_T.due_at)
    .limit(sa.bindparam("at_most"))
    .subquery("live")
)


def page(query: PaymentQuery) -> sa.Select[Any]:
    """The payments that a query asks for, one row for each step."""
    ids = sa.select(_T.id).where(_T.caller == query.caller, _T.payment_id.is_(None))
    if query.states:
        ids = ids.where(_T.state.in_([state.value for state in query.states]))
    for column, wanted in (
        (_T.order_id, query.order_id),
        (_T.customer_id, query.customer_id),
        (_T.merchant_id, query.merchant_id),
    ):
        if wanted:
            # The second condition is what lets the partial index be used.
            ids = ids.where(column == wanted, column != "")
    if query.created_from is not None:
        ids = ids.where(_T.created_at >= query.created_from)
    if query.created_to is not None:
        ids = ids.where(_T.created_at < query.created_to)
    if query.before is not None:
        created_at, last = query.before
        ids = ids.where(
            sa.tuple_(_T.created_at, _T.id)
            < sa.tuple_(sa.literal(created_at, _T.created_at.type), sa.literal(last, _T.id.type))
        )
    return whole(ids.order_by(*_NEWEST_FIRST).limit(query.limit))


def one(rows: Iterable[sa.Row[Any]], sealer: Sealer) -> Transaction | None:
    """The transaction whose rows these are. Raises SecretUnreadable, or Bug for any other reason.

    A newer version, a repair by hand or a damaged backup may have left what cannot be read.
    """
    found = list(rows)
    if not found:
        return None
    try:
        return _transaction(found, sealer)
    except KessaiError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, it is in the row
        raise Bug(
            f"payment {found[0].id} cannot be read by this version: {type(error).__name__}"
        ) from None


def refunds(rows: Iterable[sa.Row[Any]], sealer: Sealer) -> list[Transaction]:
    """The refunds whose rows these are, by ordinal. Raises as `one`: none may be overlooked."""
    found = [one(group, sealer) for group in grouped(rows)]
    return sorted(
        (refund for refund in found if refund is not None and refund.refund_of is not None),
        key=lambda refund: refund.refund_of.ordinal if refund.refund_of else 0,
    )


def grouped(rows: Iterable[sa.Row[Any]]) -> list[list[sa.Row[Any]]]:
    """Rows that `whole` selected, by transaction."""
    by_id: dict[str, list[sa.Row[Any]]] = {}
    for row in rows:
        by_id.setdefault(row.id, []).append(row)
    return list(by_id.values())


def readable(groups: Iterable[Sequence[sa.Row[Any]]], sealer: Sealer) -> list[Transaction]:
    """The transactions that can be read. The others are logged: they must not stop these."""
    found = []
    for rows in groups:
        try:
            found.append(_transaction(rows, sealer))
        except SecretUnreadable as error:
            _log.error("secret_unreadable", transaction_id=rows[0].id, detail=str(error))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is in the row
            _unreadable(rows[0].id, error)
    return found


def readable_events(rows: Iterable[sa.Row[Any]]) -> list[OutboxEvent]:
    """The announcements that can be read. The others are logged: they must not stop these."""
    found = []
    for row in rows:
        try:
            found.append(outbox_event(row))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is in the row
            _unreadable(row.transaction_id, error)
    return found


def _unreadable(transaction_id: str, error: Exception) -> None:
    # Only the error's type: its message may quote the row.
    _log.error("row_unreadable", transaction_id=transaction_id, error=type(error).__name__)


def _request(text: str) -> str:
    """As it is. Raises ValueError when it is damaged."""
    json.decode(text, type=dict[str, str])
    return text


def _transaction(rows: Sequence[sa.Row[Any]], sealer: Sealer) -> Transaction:
    row = rows[0]
    return Transaction(
        id=TransactionId(row.id),
        caller=row.caller,
        idempotency_key=row.idempotency_key,
        request=_request(row.request),
        flow=row.flow,
        amount=Money.stored(row.amount_minor, row.currency),
        merchant_id=row.merchant_id,
        order_id=row.order_id,
        customer_id=row.customer_id,
        state=State(row.state),
        version=row.version,
        sequence=row.sequence,
        steps=tuple(_step(each, sealer) for each in rows if each.step_phase is not None),
        failure=_failure(row),
        attention=_attention(row),
        created_at=row.created_at,
        updated_at=row.updated_at,
        state_since=row.state_since,
        try_deadline=row.try_deadline,
        reserved_until=row.reserved_until,
        due_at=row.due_at,
        claimed_by=row.claimed_by or "",
        manual=row.manual,
        capture=None if row.capture_key is None else Capture(row.capture_key, row.capture_request),
        refunded_minor=row.refunded_minor,
        refund_of=_refund_of(row),
        hold=None if row.held_by is None else Hold(row.held_by, row.held_reason),
    )


def _attention(row: sa.Row[Any]) -> Attention | None:
    if row.attention_code is None:
        return None
    return Attention(row.attention_code, row.attention_reason)


def _refund_of(row: sa.Row[Any]) -> RefundOf | None:
    return None if row.payment_id is None else RefundOf(row.payment_id, row.ordinal)


def _step(row: sa.Row[Any], sealer: Sealer) -> Step:
    source = row.step_source
    if row.step_sealed is not None:
        source = sealer.open(row.step_sealed, secret_context(row.id, row.step_phase))
    return Step(
        phase=row.step_phase,
        role=Role(row.step_role),
        position=row.step_position,
        status=StepStatus(row.step_status),
        amount=None
        if row.step_amount_minor is None
        else Money.stored(row.step_amount_minor, row.step_currency),
        source=source,
        secret=row.step_secret,
        attempts=row.step_attempts,
        next_attempt_at=row.step_next_attempt_at,
        last_error=row.step_last_error,
        refusal_code=row.step_refusal_code,
        refusal_reason=row.step_refusal_reason,
        reference=row.step_reference,
        final_minor=row.step_final_minor,
        next_action=None
        if row.step_next_action_kind is None
        else NextAction(row.step_next_action_kind, row.step_next_action_url),
    )


def _failure(row: sa.Row[Any]) -> Failure | None:
    if row.failure_code is None:
        return None
    return Failure(row.failure_code, row.failure_reason, row.failure_phase)


def journal_entry(row: sa.Row[Any]) -> JournalEntry:
    """One line of the journal."""
    return JournalEntry(
        transaction_id=TransactionId(row.transaction_id),
        sequence=row.sequence,
        at=row.at,
        kind=EntryKind(row.kind),
        from_state=None if row.from_state is None else State(row.from_state),
        to_state=State(row.to_state),
        event=row.event,
        phase=row.phase,
        operation=row.operation,
        attempt=row.attempt,
        outcome=row.outcome,
        code=row.code,
        detail=row.detail,
        actor=row.actor,
        evidence=row.evidence,
    )


EVENT_COLUMNS = [
    column
    for column in outbox.c
    if column.name not in {"claimed_by", "claimed_until", "published_at"}
]


def outbox_event(row: sa.Row[Any]) -> OutboxEvent:
    """One announcement."""
    return OutboxEvent(
        id=row.id,
        transaction_id=TransactionId(row.transaction_id),
        sequence=row.sequence,
        state=State(row.state),
        at=row.at,
        caller=row.caller,
        flow=row.flow,
        amount=Money.stored(row.amount_minor, row.currency),
        merchant_id=row.merchant_id,
        order_id=row.order_id,
        customer_id=row.customer_id,
        failure=_failure(row),
        refund_of=_refund_of(row),
        late_phase=row.late_phase,
        captured_minor=row.captured_minor,
        refunded_minor=row.refunded_minor,
        attention=_attention(row),
    )
