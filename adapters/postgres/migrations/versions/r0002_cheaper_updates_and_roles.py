"""Indexes that ordinary updates leave alone, and the role of every step.

PostgreSQL updates a row in place ("HOT") only when no column of any index changes, its predicate
included. `state` was in two predicates, so that each commit wrote into all of a transaction's
indexes. What holds an order, and what is due, is told by other columns as well.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

RELEASED = "state IN ('CANCELLING', 'FAILED')"


def upgrade() -> None:
    """Changes both tables."""
    _transactions()
    _roles()


def _transactions() -> None:
    op.drop_constraint("transactions_release_has_failure", "transactions")
    op.create_check_constraint(
        "transactions_failure_means_release",
        "transactions",
        f"(failure_code IS NOT NULL) = ({RELEASED})",
    )
    op.drop_index("transactions_due")
    op.create_index(
        "transactions_due",
        "transactions",
        ["due_at"],
        postgresql_where=sa.text("due_at IS NOT NULL"),
    )
    op.drop_index("transactions_order_once")
    op.create_index(
        "transactions_order_once",
        "transactions",
        ["caller", "order_id"],
        unique=True,
        postgresql_where=sa.text("order_id <> '' AND failure_code IS NULL"),
    )
    op.execute("ALTER TABLE transactions SET (fillfactor = 80)")


def _roles() -> None:
    op.add_column("steps", sa.Column("role", sa.Text(), nullable=True))
    op.execute(
        "UPDATE steps AS s SET role = CASE WHEN s.amount_minor IS NULL THEN 'announces'"
        " WHEN EXISTS (SELECT 1 FROM transactions AS t, json_each_text(t.request::json) AS f"
        " WHERE t.id = s.transaction_id AND f.key LIKE 'tenders[%].method' AND f.value = s.phase)"
        " THEN 'takes' ELSE 'gives' END"
    )
    op.alter_column("steps", "role", nullable=False)
    op.create_check_constraint(
        "steps_role_known", "steps", "role IN ('takes', 'gives', 'announces')"
    )
