"""The first schema: transactions, steps, journal and outbox.

A migration is frozen: it repeats what `adapters.postgres.schema` said when it was written, and a
test keeps the sum of all migrations equal to the schema.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
NEWEST_FIRST: tuple[sa.ColumnElement[object], ...] = (
    sa.literal_column("created_at DESC"),
    sa.literal_column("id DESC"),
)


def upgrade() -> None:
    """Makes everything."""
    _transactions()
    _transactions_indexes()
    _steps()
    _journal()
    _outbox()


def downgrade() -> None:
    """Money records are not thrown away by a command."""
    raise NotImplementedError


def _transactions() -> None:
    op.create_table(
        "transactions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("caller", sa.Text(), nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=False),
        sa.Column("request", sa.Text(), nullable=False),
        sa.Column("flow", sa.Text(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.CHAR(length=3), nullable=False),
        sa.Column("merchant_id", sa.Text(), nullable=False),
        sa.Column("order_id", sa.Text(), nullable=False),
        sa.Column("customer_id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("failure_code", sa.Text(), nullable=True),
        sa.Column("failure_reason", sa.Text(), nullable=True),
        sa.Column("failure_phase", sa.Text(), nullable=True),
        sa.Column("attention_code", sa.Text(), nullable=True),
        sa.Column("attention_reason", sa.Text(), nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.Column("try_deadline", TIME, nullable=False),
        sa.Column("reserved_until", TIME, nullable=False),
        sa.Column("due_at", TIME, nullable=True),
        sa.Column("claimed_by", sa.Text(), nullable=True),
        sa.Column("claimed_until", TIME, nullable=True),
        sa.Column("written_by", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "(due_at IS NULL) = (state IN ('PAID', 'FAILED', 'REFUNDED'))",
            name="transactions_due_unless_settled",
        ),
        sa.CheckConstraint(
            "failure_code IS NOT NULL OR NOT (state IN ('CANCELLING', 'FAILED'))",
            name="transactions_release_has_failure",
        ),
        sa.CheckConstraint(
            (
                "state IN ('CREATED', 'RESERVED', 'CAPTURING', 'SETTLING', 'PAID', 'CANCELLING', "
                "'FAILED', 'REFUNDED')"
            ),
            name="transactions_state_known",
        ),
        sa.CheckConstraint(
            "(attention_code IS NULL) = (attention_reason IS NULL)",
            name="transactions_attention_is_whole",
        ),
        sa.CheckConstraint(
            "(claimed_by IS NULL) = (claimed_until IS NULL)", name="transactions_claim_is_whole"
        ),
        sa.CheckConstraint(
            (
                "(failure_code IS NULL) = (failure_reason IS NULL) AND (failure_code IS NULL) = "
                "(failure_phase IS NULL)"
            ),
            name="transactions_failure_is_whole",
        ),
        sa.CheckConstraint(
            "amount_minor BETWEEN 1 AND 1000000000000", name="transactions_amount_positive"
        ),
        sa.CheckConstraint("length(currency) = 3", name="transactions_currency_code"),
        sa.CheckConstraint("sequence >= 1", name="transactions_sequence_counts"),
        sa.CheckConstraint("version >= 1", name="transactions_version_counts"),
        sa.PrimaryKeyConstraint("id", name="transactions_pkey"),
        sa.UniqueConstraint("caller", "idempotency_key", name="transactions_key_once"),
    )


def _transactions_indexes() -> None:
    op.create_index("transactions_by_caller", "transactions", ["caller", *NEWEST_FIRST])
    op.create_index(
        "transactions_by_customer",
        "transactions",
        ["caller", "customer_id", *NEWEST_FIRST],
        postgresql_where=sa.text("customer_id <> ''"),
    )
    op.create_index(
        "transactions_by_merchant",
        "transactions",
        ["caller", "merchant_id", *NEWEST_FIRST],
        postgresql_where=sa.text("merchant_id <> ''"),
    )
    op.create_index(
        "transactions_by_order",
        "transactions",
        ["caller", "order_id", *NEWEST_FIRST],
        postgresql_where=sa.text("order_id <> ''"),
    )
    op.create_index(
        "transactions_due",
        "transactions",
        ["due_at"],
        postgresql_where=sa.text(
            "state IN ('CREATED', 'RESERVED', 'CAPTURING', 'SETTLING', 'CANCELLING')"
        ),
    )
    op.create_index(
        "transactions_order_once",
        "transactions",
        ["caller", "order_id"],
        unique=True,
        postgresql_where=sa.text("order_id <> '' AND NOT (state IN ('CANCELLING', 'FAILED'))"),
    )


def _steps() -> None:
    op.create_table(
        "steps",
        sa.Column("transaction_id", sa.Uuid(), nullable=False),
        sa.Column("phase", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=True),
        sa.Column("currency", sa.CHAR(length=3), nullable=True),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("secret", sa.Boolean(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", TIME, nullable=True),
        sa.Column("last_error", sa.Text(), nullable=False),
        sa.Column("refusal_code", sa.Text(), nullable=False),
        sa.Column("refusal_reason", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.CheckConstraint("source = '' OR NOT secret", name="steps_secret_not_in_clear"),
        sa.CheckConstraint(
            (
                "status IN ('UNTRIED', 'TRYING', 'PENDING', 'HELD', 'REFUSED', 'CONFIRMED', "
                "'CANCELLED')"
            ),
            name="steps_status_known",
        ),
        sa.CheckConstraint(
            "(amount_minor IS NULL) = (currency IS NULL)", name="steps_amount_is_whole"
        ),
        sa.CheckConstraint(
            "amount_minor IS NULL OR amount_minor BETWEEN 1 AND 1000000000000",
            name="steps_amount_positive",
        ),
        sa.CheckConstraint("attempts >= 0", name="steps_attempts_count"),
        sa.CheckConstraint("position >= 0", name="steps_position_counts"),
        sa.CheckConstraint("sealed IS NULL OR secret", name="steps_only_secrets_sealed"),
        sa.PrimaryKeyConstraint("transaction_id", "phase", name="steps_pkey"),
        postgresql_with={"fillfactor": 70},
    )


def _journal() -> None:
    op.create_table(
        "journal",
        sa.Column("transaction_id", sa.Uuid(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("from_state", sa.Text(), nullable=True),
        sa.Column("to_state", sa.Text(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("phase", sa.Text(), nullable=False),
        sa.Column("operation", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.CheckConstraint(
            (
                "(kind = 'transition' AND CASE WHEN from_state IS NULL THEN event = 'create' AND "
                "to_state = 'CREATED' AND sequence = 1 ELSE (from_state = 'CREATED' AND event = "
                "'hold' AND to_state = 'RESERVED') OR (from_state = 'CREATED' AND event = "
                "'release' AND to_state = 'CANCELLING') OR (from_state = 'RESERVED' AND event = "
                "'capture' AND to_state = 'CAPTURING') OR (from_state = 'RESERVED' AND event = "
                "'release' AND to_state = 'CANCELLING') OR (from_state = 'CAPTURING' AND event = "
                "'settle' AND to_state = 'SETTLING') OR (from_state = 'CAPTURING' AND event = "
                "'release' AND to_state = 'CANCELLING') OR (from_state = 'SETTLING' AND event = "
                "'pay' AND to_state = 'PAID') OR (from_state = 'CANCELLING' AND event = 'fail' "
                "AND to_state = 'FAILED') OR (from_state = 'PAID' AND event = 'refund' AND "
                "to_state = 'REFUNDED') END) OR (kind = 'attempt' AND from_state IS NOT NULL AND "
                "from_state = to_state AND to_state IN ('CREATED', 'RESERVED', 'CAPTURING', "
                "'SETTLING', 'PAID', 'CANCELLING', 'FAILED', 'REFUNDED') AND event = '' AND phase"
                " <> '')"
            ),
            name="journal_spells_the_machine",
        ),
        sa.CheckConstraint("sequence >= 1", name="journal_sequence_counts"),
        sa.PrimaryKeyConstraint("transaction_id", "sequence", name="journal_pkey"),
    )
    op.execute(
        "CREATE FUNCTION journal_is_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        "$$BEGIN RAISE EXCEPTION 'the journal is append-only'; END$$"
    )
    op.execute(
        "CREATE TRIGGER journal_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON journal "
        "FOR EACH STATEMENT EXECUTE FUNCTION journal_is_append_only()"
    )


def _outbox() -> None:
    op.create_table(
        "outbox",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("transaction_id", sa.Uuid(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("caller", sa.Text(), nullable=False),
        sa.Column("flow", sa.Text(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.CHAR(length=3), nullable=False),
        sa.Column("merchant_id", sa.Text(), nullable=False),
        sa.Column("order_id", sa.Text(), nullable=False),
        sa.Column("customer_id", sa.Text(), nullable=False),
        sa.Column("failure_code", sa.Text(), nullable=True),
        sa.Column("failure_reason", sa.Text(), nullable=True),
        sa.Column("failure_phase", sa.Text(), nullable=True),
        sa.Column("claimed_by", sa.Text(), nullable=True),
        sa.Column("claimed_until", TIME, nullable=True),
        sa.Column("published_at", TIME, nullable=True),
        sa.CheckConstraint(
            (
                "state IN ('CREATED', 'RESERVED', 'CAPTURING', 'SETTLING', 'PAID', 'CANCELLING', "
                "'FAILED', 'REFUNDED')"
            ),
            name="outbox_state_known",
        ),
        sa.CheckConstraint(
            "(claimed_by IS NULL) = (claimed_until IS NULL)", name="outbox_claim_is_whole"
        ),
        sa.CheckConstraint(
            "amount_minor BETWEEN 1 AND 1000000000000", name="outbox_amount_positive"
        ),
        sa.CheckConstraint("sequence >= 1", name="outbox_sequence_counts"),
        sa.PrimaryKeyConstraint("id", name="outbox_pkey"),
        sa.UniqueConstraint("transaction_id", "state", name="outbox_once_per_state"),
    )
    op.create_index(
        "outbox_unpublished",
        "outbox",
        ["at", "id"],
        postgresql_where=sa.text("published_at IS NULL"),
    )
