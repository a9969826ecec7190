"""What operators need: holds, their acts in the journal, pauses of flows, attention announced."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

EMPTY = sa.text("''")
STATES = (
    "to_state IN ('CREATED', 'RESERVED', 'CAPTURING', 'SETTLING', 'PAID', 'CANCELLING', 'FAILED',"
    " 'REFUNDED')"
)
TABLE = (
    ("CREATED", "hold", "RESERVED"),
    ("CREATED", "release", "CANCELLING"),
    ("RESERVED", "capture", "CAPTURING"),
    ("RESERVED", "release", "CANCELLING"),
    ("CAPTURING", "settle", "SETTLING"),
    ("CAPTURING", "release", "CANCELLING"),
    ("SETTLING", "pay", "PAID"),
    ("CANCELLING", "fail", "FAILED"),
    ("PAID", "refund", "REFUNDED"),
)
"""The state machine as it is in this revision."""


def upgrade() -> None:
    """Changes three tables and adds one."""
    _transactions()
    _journal()
    _outbox()
    op.create_table(
        "flow_pauses",
        sa.Column("flow", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("flow", name="flow_pauses_pkey"),
        sa.CheckConstraint(
            "until IS NULL OR until > since", name="flow_pauses_end_after_they_begin"
        ),
    )


def _transactions() -> None:
    op.add_column("transactions", sa.Column("state_since", sa.DateTime(timezone=True)))
    op.execute("UPDATE transactions SET state_since = updated_at")
    op.alter_column("transactions", "state_since", nullable=False)
    for name in ("held_by", "held_reason"):
        op.add_column("transactions", sa.Column(name, sa.Text(), nullable=True))
    op.create_check_constraint(
        "transactions_hold_is_whole",
        "transactions",
        "(held_by IS NULL) = (held_reason IS NULL) AND (held_by IS NULL OR due_at IS NOT NULL)",
    )


def _journal() -> None:
    for name in ("actor", "evidence"):
        op.add_column("journal", sa.Column(name, sa.Text(), nullable=False, server_default=EMPTY))
        op.alter_column("journal", name, server_default=None)
    rows = " OR ".join(
        f"(from_state = '{source}' AND event = '{event}' AND to_state = '{target}')"
        for source, event, target in TABLE
    )
    op.drop_constraint("journal_spells_the_machine", "journal")
    op.create_check_constraint(
        "journal_spells_the_machine",
        "journal",
        "(kind = 'transition' AND CASE WHEN from_state IS NULL"
        " THEN event = 'create' AND to_state = 'CREATED' AND sequence = 1"
        f" ELSE {rows} END)"
        " OR (kind = 'attempt' AND from_state IS NOT NULL AND from_state = to_state"
        f" AND {STATES} AND event = '' AND phase <> '')"
        " OR (kind = 'operator' AND from_state IS NOT NULL AND from_state = to_state"
        f" AND {STATES} AND event IN ('hold', 'unhold', 'resume', 'cancel', 'resolve')"
        " AND actor <> '')",
    )


def _outbox() -> None:
    for name in ("attention_code", "attention_reason"):
        op.add_column("outbox", sa.Column(name, sa.Text(), nullable=True))
    op.create_check_constraint(
        "outbox_attention_is_whole",
        "outbox",
        "(attention_code IS NULL) = (attention_reason IS NULL)",
    )
    op.drop_index("outbox_once_per_state", "outbox")
    op.create_index(
        "outbox_once_per_state",
        "outbox",
        ["transaction_id", "state"],
        unique=True,
        postgresql_where=sa.text("late_phase = '' AND attention_code IS NULL"),
    )
