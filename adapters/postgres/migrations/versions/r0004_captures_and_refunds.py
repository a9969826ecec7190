"""What manual captures, refunds, customers' actions and late successes need."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

EMPTY = sa.text("''")


def upgrade() -> None:
    """Changes three tables."""
    _transactions()
    _steps()
    _outbox()


def _transactions() -> None:
    op.add_column(
        "transactions",
        sa.Column("manual", sa.Boolean(), nullable=False, server_default=sa.text("false")),
    )
    op.add_column("transactions", sa.Column("capture_key", sa.Text(), nullable=True))
    op.add_column("transactions", sa.Column("capture_request", sa.Text(), nullable=True))
    op.add_column(
        "transactions",
        sa.Column("refunded_minor", sa.BigInteger(), nullable=False, server_default=sa.text("0")),
    )
    op.add_column("transactions", sa.Column("payment_id", sa.Uuid(), nullable=True))
    op.add_column("transactions", sa.Column("ordinal", sa.Integer(), nullable=True))
    for column in ("manual", "refunded_minor"):
        op.alter_column("transactions", column, server_default=None)
    op.create_check_constraint(
        "transactions_capture_is_whole",
        "transactions",
        "(capture_key IS NULL) = (capture_request IS NULL)",
    )
    op.create_check_constraint(
        "transactions_refunded_within_amount",
        "transactions",
        "refunded_minor BETWEEN 0 AND amount_minor",
    )
    op.create_check_constraint(
        "transactions_refund_is_whole",
        "transactions",
        "(payment_id IS NULL) = (ordinal IS NULL) AND (ordinal IS NULL OR ordinal >= 1)",
    )
    op.create_index(
        "transactions_refund_once",
        "transactions",
        ["payment_id", "ordinal"],
        unique=True,
        postgresql_where=sa.text("payment_id IS NOT NULL"),
    )


def _steps() -> None:
    op.add_column("steps", sa.Column("final_minor", sa.BigInteger(), nullable=True))
    for name in ("next_action_kind", "next_action_url"):
        op.add_column("steps", sa.Column(name, sa.Text(), nullable=True))
    op.execute(
        "UPDATE steps SET final_minor = amount_minor WHERE transaction_id IN (SELECT id FROM"
        " transactions WHERE state IN ('CAPTURING', 'SETTLING', 'PAID', 'REFUNDED'))"
    )
    op.create_check_constraint(
        "steps_final_within_amount",
        "steps",
        "final_minor IS NULL OR final_minor BETWEEN 0 AND amount_minor",
    )
    op.create_check_constraint(
        "steps_next_action_is_whole",
        "steps",
        "(next_action_kind IS NULL) = (next_action_url IS NULL)",
    )
    op.drop_constraint("steps_role_known", "steps")
    op.create_check_constraint(
        "steps_role_known", "steps", "role IN ('takes', 'gives', 'keeps', 'announces')"
    )


def _outbox() -> None:
    op.add_column("outbox", sa.Column("payment_id", sa.Uuid(), nullable=True))
    op.add_column("outbox", sa.Column("ordinal", sa.Integer(), nullable=True))
    op.add_column(
        "outbox", sa.Column("late_phase", sa.Text(), nullable=False, server_default=EMPTY)
    )
    for name in ("captured_minor", "refunded_minor"):
        zero = sa.text("0")
        op.add_column(
            "outbox", sa.Column(name, sa.BigInteger(), nullable=False, server_default=zero)
        )
    op.execute("UPDATE outbox SET captured_minor = amount_minor WHERE state <> 'FAILED'")
    for name in ("late_phase", "captured_minor", "refunded_minor"):
        op.alter_column("outbox", name, server_default=None)
    op.drop_constraint("outbox_once_per_state", "outbox")
    op.create_index(
        "outbox_once_per_state",
        "outbox",
        ["transaction_id", "state"],
        unique=True,
        postgresql_where=sa.text("late_phase = ''"),
    )
