"""Where a fence remembers: one row per (transaction_id, phase).

A row keeps the first answer of each operation as the bytes that were sent, and the answer that
holds now. The account itself is never stored, only a digest of it: it may be a secret. (A digest
does not hide what can be guessed; take tokens, never card numbers.)
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from participants.business import OriginalStep


class FenceStatus(StrEnum):
    """Where a row stands."""

    NEW = "NEW"
    """Claimed by the transaction that is writing it; never committed."""
    HELD = "HELD"
    PENDING = "PENDING"
    REFUSED = "REFUSED"
    """The Try was refused: nothing is held."""
    CONFIRMED = "CONFIRMED"
    CONFIRM_REFUSED = "CONFIRM_REFUSED"
    """The Confirm was refused: the hold stands until the Cancel."""
    CANCELLED = "CANCELLED"


OPEN = frozenset({FenceStatus.HELD, FenceStatus.PENDING, FenceStatus.CONFIRM_REFUSED})
"""Something may be set aside: Cancel has to ask the business."""

FENCE_METADATA = sa.MetaData()

_COMMITTED = ", ".join(f"'{status}'" for status in FenceStatus if status is not FenceStatus.NEW)

FENCE = sa.Table(
    "participant_fence",
    FENCE_METADATA,
    sa.Column("transaction_id", sa.Uuid, primary_key=True),
    sa.Column("phase", sa.Text, primary_key=True),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("currency_code", sa.Text),
    sa.Column("amount_minor", sa.BigInteger),
    sa.Column("account_digest", sa.LargeBinary),
    sa.Column("reference", sa.Text, nullable=False, server_default=""),
    sa.Column("try_answer", sa.LargeBinary),
    sa.Column("confirm_answer", sa.LargeBinary),
    sa.Column("cancel_answer", sa.LargeBinary),
    sa.Column("present_answer", sa.LargeBinary),
    sa.Column("update_time", sa.DateTime(timezone=True), nullable=False),
    # What the first Confirm asked to make final. Null in rows of before partial Confirms: all.
    sa.Column("confirm_minor", sa.BigInteger),
    # The step that this one gives back; and of this step, what its refunds hold or have made final.
    sa.Column("refund_of_transaction_id", sa.Uuid),
    sa.Column("refund_of_phase", sa.Text),
    sa.Column("refunded_minor", sa.BigInteger, nullable=False, server_default="0"),
    sa.CheckConstraint(f"status IN ('NEW', {_COMMITTED})", name="fence_status_is_known"),
    sa.CheckConstraint(
        "(try_answer IS NULL) = (amount_minor IS NULL)"
        " AND (try_answer IS NULL) = (currency_code IS NULL)"
        " AND (try_answer IS NULL) = (account_digest IS NULL)",
        name="fence_amount_goes_with_try",
    ),
    sa.CheckConstraint(
        "(status = 'CANCELLED') = (cancel_answer IS NOT NULL)", name="fence_cancelled_has_answer"
    ),
    sa.CheckConstraint(
        "(status IN ('CONFIRMED', 'CONFIRM_REFUSED')) <= (confirm_answer IS NOT NULL)",
        name="fence_confirmed_has_answer",
    ),
    sa.CheckConstraint(
        "status IN ('NEW', 'CANCELLED') OR try_answer IS NOT NULL",
        name="fence_only_tombstones_lack_try",
    ),
    sa.CheckConstraint(
        "confirm_minor IS NULL OR (confirm_answer IS NOT NULL"
        " AND confirm_minor BETWEEN 1 AND amount_minor)",
        name="fence_confirms_at_most_what_was_held",
    ),
    sa.CheckConstraint(
        "(refund_of_transaction_id IS NULL) = (refund_of_phase IS NULL)",
        name="fence_refund_names_its_step",
    ),
    sa.CheckConstraint(
        "refunded_minor = 0 OR (status = 'CONFIRMED' AND refund_of_phase IS NULL"
        " AND refunded_minor BETWEEN 0 AND coalesce(confirm_minor, amount_minor))",
        name="fence_refunds_at_most_what_was_confirmed",
    ),
    sa.Index("fence_by_update_time", "update_time", "transaction_id", "phase"),
)


@dataclass(frozen=True, slots=True)
class FenceRow:
    """One row, as `FENCE` has it."""

    transaction_id: UUID
    phase: str
    status: FenceStatus
    currency_code: str | None
    amount_minor: int | None
    account_digest: bytes | None
    reference: str
    try_answer: bytes | None
    confirm_answer: bytes | None
    cancel_answer: bytes | None
    present_answer: bytes | None
    update_time: datetime
    confirm_minor: int | None
    refund_of_transaction_id: UUID | None
    refund_of_phase: str | None
    refunded_minor: int

    @property
    def refund_of(self) -> OriginalStep | None:
        """The step that this one gives back; None where it is no refund."""
        if self.refund_of_transaction_id is None or self.refund_of_phase is None:
            return None
        return OriginalStep(self.refund_of_transaction_id, self.refund_of_phase)

    @property
    def asked_minor(self) -> int | None:
        """What the first Confirm asked to make final; None before it."""
        if self.confirm_answer is None:
            return None
        return self.amount_minor if self.confirm_minor is None else self.confirm_minor


def _row(mapping: sa.RowMapping) -> FenceRow:
    values: dict[str, Any] = dict(mapping)
    values["status"] = FenceStatus(values["status"])
    return FenceRow(**values)


def _is(transaction_id: UUID, phase: str) -> sa.ColumnElement[bool]:
    return sa.and_(FENCE.c.transaction_id == transaction_id, FENCE.c.phase == phase)


def read(
    connection: sa.Connection, transaction_id: UUID, phase: str, *, lock: bool = False
) -> FenceRow | None:
    """The row as committed; with `lock` nobody else changes it until this transaction ends."""
    query = sa.select(FENCE).where(_is(transaction_id, phase))
    found = connection.execute(query.with_for_update() if lock else query).mappings().first()
    return None if found is None else _row(found)


def claim(connection: sa.Connection, transaction_id: UUID, phase: str) -> FenceRow:
    """The row, locked; with status NEW when this transaction is the first to claim it.

    The primary key decides between two that come at once: the second waits here for the first to
    end, and then either sees what it wrote or, if it was rolled back, is the first itself.
    """
    inserted = connection.execute(
        pg.insert(FENCE)
        .values(
            transaction_id=transaction_id,
            phase=phase,
            status=FenceStatus.NEW,
            update_time=sa.func.clock_timestamp(),
        )
        .on_conflict_do_nothing()
        .returning(*FENCE.c)
    )
    new = inserted.mappings().first()
    if new is not None:
        return _row(new)
    row = read(connection, transaction_id, phase, lock=True)
    assert row is not None, "fence rows are never deleted while a request may come"
    return row


def write(connection: sa.Connection, row: FenceRow, **values: object) -> None:
    """Changes a row that this transaction has locked."""
    connection.execute(
        sa.update(FENCE)
        .where(_is(row.transaction_id, row.phase))
        .values(**values, update_time=sa.func.clock_timestamp())
    )


def digest(transaction_id: UUID, phase: str, account: str) -> bytes:
    """What is kept of an account; differs from transaction to transaction."""
    return hashlib.sha256(f"{transaction_id}\0{phase}\0{account}".encode()).digest()
