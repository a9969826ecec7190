"""The tables, and the invariants that the database itself keeps.

State rules are generated from the one table in `coordinator.domain.machine`. Every constraint has a
name, and `trouble` alone says what a name means. Identifiers are made by the application; there
are no sequences, and nothing depends on the journal's trigger: it is belt and braces.

There are no foreign keys: child rows are written by the statement that writes their transaction and
joined to it, nothing is ever deleted, and a look-up per journal line would slow the writer.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy import CheckConstraint, Column, Index, PrimaryKeyConstraint, Table, UniqueConstraint

from coordinator.domain.entries import Act
from coordinator.domain.machine import (
    INITIAL,
    RELEASED,
    SETTLED,
    state_check,
    transition_check,
)
from coordinator.domain.money import MAX_MINOR
from coordinator.domain.phase import Role
from coordinator.domain.transaction import EntryKind, StepStatus


class UtcDateTime(sa.TypeDecorator[datetime]):
    """An aware datetime in UTC, also on SQLite, which knows no zones. Refuses naive ones."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """The form that is sent to the database."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a datetime without a zone cannot be stored")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def result_processor(
        self, dialect: sa.Dialect, coltype: object
    ) -> Callable[[Any], datetime | None] | None:
        """As SQLAlchemy asks for it; on SQLite in one step, since a simulation reads so many."""
        on_sqlite = dialect.name == "sqlite"
        return _read_on_sqlite if on_sqlite else super().result_processor(dialect, coltype)

    def process_result_value(self, value: datetime | None, _dialect: object) -> datetime | None:
        """The form that callers see."""
        if value is None:
            return None
        return value.astimezone(UTC)


@lru_cache(4096)
def _read_on_sqlite(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text).replace(tzinfo=UTC)


ID = sa.Uuid(as_uuid=False).with_variant(sa.CHAR(36), "sqlite")
LIVE_SQL = "due_at IS NOT NULL"
"""The transactions that somebody still has to drive; a CHECK keeps this and the state equal.

Not by `state`: PostgreSQL updates a row in place only while no column of an index or of its
predicate changes, and the state does with every commit.
"""
HOLDS_ORDER_SQL = "order_id <> '' AND failure_code IS NULL"
"""The transactions that keep others off their order: those that are not released, by a CHECK."""

metadata = sa.MetaData()


def _text(name: str) -> Column[str]:
    return Column(name, sa.Text, nullable=False)


def _maybe_text(name: str) -> Column[str | None]:
    return Column(name, sa.Text, nullable=True)


def _time(name: str, *, nullable: bool = False) -> Column[datetime]:
    return Column(name, UtcDateTime, nullable=nullable)


def _claim_check(table: str) -> CheckConstraint:
    return CheckConstraint(
        "(claimed_by IS NULL) = (claimed_until IS NULL)", name=f"{table}_claim_is_whole"
    )


transactions = Table(
    "transactions",
    metadata,
    Column("id", ID, nullable=False),
    _text("caller"),
    _text("idempotency_key"),
    _text("request"),
    _text("flow"),
    Column("amount_minor", sa.BigInteger, nullable=False),
    Column("currency", sa.CHAR(3), nullable=False),
    _text("merchant_id"),
    _text("order_id"),
    _text("customer_id"),
    _text("state"),
    Column("version", sa.BigInteger, nullable=False),
    Column("sequence", sa.BigInteger, nullable=False),
    _maybe_text("failure_code"),
    _maybe_text("failure_reason"),
    _maybe_text("failure_phase"),
    _maybe_text("attention_code"),
    _maybe_text("attention_reason"),
    _time("created_at"),
    _time("updated_at"),
    _time("try_deadline"),
    _time("reserved_until"),
    _time("due_at", nullable=True),
    _maybe_text("claimed_by"),
    _time("claimed_until", nullable=True),
    # Which write made this version: tells our own write from another's after a lost COMMIT.
    _text("written_by"),
    Column("manual", sa.Boolean, nullable=False),
    _maybe_text("capture_key"),
    _maybe_text("capture_request"),
    Column("refunded_minor", sa.BigInteger, nullable=False),
    # Of a refund: the payment that it gives back, and the how-manieth of its refunds it is. As each
    # takes the next number, nobody opens one without having seen all those before.
    Column("payment_id", ID, nullable=True),
    Column("ordinal", sa.Integer, nullable=True),
    _time("state_since"),
    # An operator's hold: nobody claims the row.
    _maybe_text("held_by"),
    _maybe_text("held_reason"),
    PrimaryKeyConstraint("id", name="transactions_pkey"),
    UniqueConstraint("caller", "idempotency_key", name="transactions_key_once"),
    CheckConstraint(f"amount_minor BETWEEN 1 AND {MAX_MINOR}", name="transactions_amount_positive"),
    CheckConstraint("length(currency) = 3", name="transactions_currency_code"),
    CheckConstraint(state_check("state"), name="transactions_state_known"),
    CheckConstraint("version >= 1", name="transactions_version_counts"),
    CheckConstraint("sequence >= 1", name="transactions_sequence_counts"),
    CheckConstraint(
        f"(due_at IS NULL) = ({state_check('state', SETTLED)})",
        name="transactions_due_unless_settled",
    ),
    CheckConstraint(
        f"(failure_code IS NOT NULL) = ({state_check('state', RELEASED)})",
        name="transactions_failure_means_release",
    ),
    CheckConstraint(
        "(failure_code IS NULL) = (failure_reason IS NULL)"
        " AND (failure_code IS NULL) = (failure_phase IS NULL)",
        name="transactions_failure_is_whole",
    ),
    CheckConstraint(
        "(attention_code IS NULL) = (attention_reason IS NULL)",
        name="transactions_attention_is_whole",
    ),
    CheckConstraint(
        "(capture_key IS NULL) = (capture_request IS NULL)", name="transactions_capture_is_whole"
    ),
    CheckConstraint(
        "refunded_minor BETWEEN 0 AND amount_minor", name="transactions_refunded_within_amount"
    ),
    CheckConstraint(
        "(payment_id IS NULL) = (ordinal IS NULL) AND (ordinal IS NULL OR ordinal >= 1)",
        name="transactions_refund_is_whole",
    ),
    CheckConstraint(
        "(held_by IS NULL) = (held_reason IS NULL) AND (held_by IS NULL OR due_at IS NOT NULL)",
        name="transactions_hold_is_whole",
    ),
    _claim_check("transactions"),
    postgresql_with={"fillfactor": 80},
)

Index(
    "transactions_order_once",
    transactions.c.caller,
    transactions.c.order_id,
    unique=True,
    postgresql_where=sa.text(HOLDS_ORDER_SQL),
    sqlite_where=sa.text(HOLDS_ORDER_SQL),
)
Index(
    "transactions_due",
    transactions.c.due_at,
    postgresql_where=sa.text(LIVE_SQL),
    sqlite_where=sa.text(LIVE_SQL),
)
Index(
    "transactions_live_by_caller",
    transactions.c.caller,
    transactions.c.due_at,
    postgresql_where=sa.text(LIVE_SQL),
    sqlite_where=sa.text(LIVE_SQL),
)
Index(
    "transactions_by_caller",
    transactions.c.caller,
    transactions.c.created_at.desc(),
    transactions.c.id.desc(),
)
Index(
    "transactions_refund_once",
    transactions.c.payment_id,
    transactions.c.ordinal,
    unique=True,
    postgresql_where=sa.text("payment_id IS NOT NULL"),
    sqlite_where=sa.text("payment_id IS NOT NULL"),
)
for _filter in ("order_id", "customer_id", "merchant_id"):
    Index(
        f"transactions_by_{_filter.removesuffix('_id')}",
        transactions.c.caller,
        transactions.c[_filter],
        transactions.c.created_at.desc(),
        transactions.c.id.desc(),
        postgresql_where=sa.text(f"{_filter} <> ''"),
        sqlite_where=sa.text(f"{_filter} <> ''"),
    )

_STATUSES = ", ".join(f"'{status}'" for status in StepStatus)
_ROLES = ", ".join(f"'{role}'" for role in Role)

steps = Table(
    "steps",
    metadata,
    Column("transaction_id", ID, nullable=False),
    _text("phase"),
    Column("position", sa.Integer, nullable=False),
    _text("status"),
    Column("amount_minor", sa.BigInteger, nullable=True),
    Column("currency", sa.CHAR(3), nullable=True),
    _text("source"),
    Column("secret", sa.Boolean, nullable=False),
    Column("sealed", sa.LargeBinary, nullable=True),
    Column("attempts", sa.Integer, nullable=False),
    _time("next_attempt_at", nullable=True),
    _text("last_error"),
    _text("refusal_code"),
    _text("refusal_reason"),
    _text("reference"),
    _text("role"),
    Column("final_minor", sa.BigInteger, nullable=True),
    _maybe_text("next_action_kind"),
    _maybe_text("next_action_url"),
    PrimaryKeyConstraint("transaction_id", "phase", name="steps_pkey"),
    CheckConstraint(f"role IN ({_ROLES})", name="steps_role_known"),
    CheckConstraint(f"status IN ({_STATUSES})", name="steps_status_known"),
    CheckConstraint("position >= 0", name="steps_position_counts"),
    CheckConstraint("attempts >= 0", name="steps_attempts_count"),
    CheckConstraint(
        f"amount_minor IS NULL OR amount_minor BETWEEN 1 AND {MAX_MINOR}",
        name="steps_amount_positive",
    ),
    CheckConstraint("(amount_minor IS NULL) = (currency IS NULL)", name="steps_amount_is_whole"),
    CheckConstraint(
        "final_minor IS NULL OR final_minor BETWEEN 0 AND amount_minor",
        name="steps_final_within_amount",
    ),
    CheckConstraint(
        "(next_action_kind IS NULL) = (next_action_url IS NULL)", name="steps_next_action_is_whole"
    ),
    CheckConstraint("source = '' OR NOT secret", name="steps_secret_not_in_clear"),
    CheckConstraint("sealed IS NULL OR secret", name="steps_only_secrets_sealed"),
    postgresql_with={"fillfactor": 70},
)

_ACTS = ", ".join(f"'{act}'" for act in Act)

journal = Table(
    "journal",
    metadata,
    Column("transaction_id", ID, nullable=False),
    Column("sequence", sa.BigInteger, nullable=False),
    _time("at"),
    _text("kind"),
    _maybe_text("from_state"),
    _text("to_state"),
    _text("event"),
    _text("phase"),
    _text("operation"),
    Column("attempt", sa.Integer, nullable=False),
    _text("outcome"),
    _text("code"),
    _text("detail"),
    _text("actor"),
    _text("evidence"),
    PrimaryKeyConstraint("transaction_id", "sequence", name="journal_pkey"),
    CheckConstraint("sequence >= 1", name="journal_sequence_counts"),
    # from_state must be known before it is compared: NULL would make a CHECK pass.
    CheckConstraint(
        f"(kind = '{EntryKind.TRANSITION}' AND CASE WHEN from_state IS NULL"
        f" THEN event = 'create' AND to_state = '{INITIAL}' AND sequence = 1"
        f" ELSE {transition_check('from_state', 'event', 'to_state')} END)"
        f" OR (kind = '{EntryKind.ATTEMPT}' AND from_state IS NOT NULL AND from_state = to_state"
        f" AND {state_check('to_state')} AND event = '' AND phase <> '')"
        f" OR (kind = '{EntryKind.OPERATOR}' AND from_state IS NOT NULL AND from_state = to_state"
        f" AND {state_check('to_state')} AND event IN ({_ACTS}) AND actor <> '')",
        name="journal_spells_the_machine",
    ),
)

_ANNOUNCES_STATE = "late_phase = '' AND attention_code IS NULL"

outbox = Table(
    "outbox",
    metadata,
    Column("id", ID, nullable=False),
    Column("transaction_id", ID, nullable=False),
    Column("sequence", sa.BigInteger, nullable=False),
    _text("state"),
    _time("at"),
    _text("caller"),
    _text("flow"),
    Column("amount_minor", sa.BigInteger, nullable=False),
    Column("currency", sa.CHAR(3), nullable=False),
    _text("merchant_id"),
    _text("order_id"),
    _text("customer_id"),
    _maybe_text("failure_code"),
    _maybe_text("failure_reason"),
    _maybe_text("failure_phase"),
    _maybe_text("claimed_by"),
    _time("claimed_until", nullable=True),
    _time("published_at", nullable=True),
    Column("payment_id", ID, nullable=True),
    Column("ordinal", sa.Integer, nullable=True),
    _text("late_phase"),
    Column("captured_minor", sa.BigInteger, nullable=False),
    Column("refunded_minor", sa.BigInteger, nullable=False),
    _maybe_text("attention_code"),
    _maybe_text("attention_reason"),
    PrimaryKeyConstraint("id", name="outbox_pkey"),
    CheckConstraint(state_check("state"), name="outbox_state_known"),
    CheckConstraint("sequence >= 1", name="outbox_sequence_counts"),
    CheckConstraint(f"amount_minor BETWEEN 1 AND {MAX_MINOR}", name="outbox_amount_positive"),
    CheckConstraint(
        "(attention_code IS NULL) = (attention_reason IS NULL)", name="outbox_attention_is_whole"
    ),
    _claim_check("outbox"),
)
Index(
    "outbox_once_per_state",
    outbox.c.transaction_id,
    outbox.c.state,
    unique=True,
    postgresql_where=sa.text(_ANNOUNCES_STATE),
    sqlite_where=sa.text(_ANNOUNCES_STATE),
)
Index(
    "outbox_unpublished",
    outbox.c.at,
    outbox.c.id,
    postgresql_where=sa.text("published_at IS NULL"),
    sqlite_where=sa.text("published_at IS NULL"),
)

# Flows that take no new payments for now. `until` is set by Kessai itself, which opens them again.
flow_pauses = Table(
    "flow_pauses",
    metadata,
    _text("flow"),
    _text("actor"),
    _text("reason"),
    _time("since"),
    _time("until", nullable=True),
    PrimaryKeyConstraint("flow", name="flow_pauses_pkey"),
    CheckConstraint("until IS NULL OR until > since", name="flow_pauses_end_after_they_begin"),
)

JOURNAL_GUARD_POSTGRES = (
    (
        "CREATE FUNCTION journal_is_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        "$$BEGIN RAISE EXCEPTION 'the journal is append-only'; END$$"
    ),
    (
        "CREATE TRIGGER journal_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON journal "
        "FOR EACH STATEMENT EXECUTE FUNCTION journal_is_append_only()"
    ),
)
_JOURNAL_GUARD_SQLITE = tuple(
    f"CREATE TRIGGER journal_refuses_{verb.lower()} BEFORE {verb} ON journal "
    "BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END"
    for verb in ("UPDATE", "DELETE")
)
for _dialect, _statements in (
    ("postgresql", JOURNAL_GUARD_POSTGRES),
    ("sqlite", _JOURNAL_GUARD_SQLITE),
):
    for _statement in _statements:
        _guard = sa.DDL(_statement)  # type: ignore[no-untyped-call] # a gap of SQLAlchemy's
        sa.event.listen(journal, "after_create", _guard.execute_if(dialect=_dialect))
