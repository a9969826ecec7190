"""An index that counts the live payments of a caller.

`due_at` is in an index already, so that no update which could be made in place stops being so.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the index."""
    op.create_index(
        "transactions_live_by_caller",
        "transactions",
        ["caller", "due_at"],
        postgresql_where=sa.text("due_at IS NOT NULL"),
    )
