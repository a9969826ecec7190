"""What may still be refunded of a step: counted in the step's own fence row, under its lock.

A refund's Try takes its amount from what was confirmed of the step it gives back; a Cancel, a
refusal, or a Confirm of less returns it. The counter and a CHECK beside it make the limit hold
under any isolation level, and only refunds of one and the same step queue for its row.

Locks are always taken in one order, the refund's row, the step's and then those of the business,
and a refund is never itself refunded: so no two requests wait for each other. The step's answer
stays what it was, and so does the time of its last change.
"""

from __future__ import annotations

from uuid import UUID

import sqlalchemy as sa
from kessai.participant.v1 import participant_pb2 as pb

from participants import fence_table
from participants.business import OriginalStep, Refused
from participants.fence_table import FenceRow, FenceStatus

NOTHING_TO_REFUND = "NOTHING_TO_REFUND"
REFUND_EXCEEDS_PAYMENT = "REFUND_EXCEEDS_PAYMENT"


def original_of(request: pb.TryRequest) -> OriginalStep | None:
    """The step that the request gives back; None where it is no refund."""
    if not request.HasField("refund_of"):
        return None
    return OriginalStep(UUID(request.refund_of.transaction_id), request.refund_of.phase)


def why_refused(
    connection: sa.Connection, original: OriginalStep, amount: pb.Money
) -> Refused | None:
    """Why the amount of the step may not be refunded; None if it may.

    Locks the step's row until the transaction ends, so that the answer stays true.
    """
    row = fence_table.read(connection, original.transaction_id, original.phase, lock=True)
    if row is None or row.status is not FenceStatus.CONFIRMED:
        return Refused(NOTHING_TO_REFUND, "There is no completed payment that could be refunded.")
    if row.refund_of is not None:
        return Refused(NOTHING_TO_REFUND, "A refund cannot itself be refunded.")
    if row.currency_code != amount.currency_code:
        return Refused(NOTHING_TO_REFUND, f"The payment was not made in {amount.currency_code}.")
    if row.refunded_minor + amount.minor_units > _confirmed(row):
        return Refused(
            REFUND_EXCEEDS_PAYMENT, "The refund is more than what is left of the payment."
        )
    return None


def take(connection: sa.Connection, original: OriginalStep, amount_minor: int) -> None:
    """Counts the amount as being refunded. A negative one is no longer."""
    table = fence_table.FENCE.c
    connection.execute(
        sa.update(fence_table.FENCE)
        .where(table.transaction_id == original.transaction_id, table.phase == original.phase)
        .values(refunded_minor=table.refunded_minor + amount_minor)
    )


def lock_original(connection: sa.Connection, row: FenceRow) -> None:
    """Of a refund's row: locks the step's, before the business locks anything. Else nothing."""
    if row.refund_of is not None:
        original = row.refund_of
        fence_table.read(connection, original.transaction_id, original.phase, lock=True)


def give_back(connection: sa.Connection, row: FenceRow, amount_minor: int) -> None:
    """Of a refund's row: this much of it will not be refunded after all. Else nothing is done."""
    if row.refund_of is not None and amount_minor:
        take(connection, row.refund_of, -amount_minor)


def _confirmed(row: FenceRow) -> int:
    confirmed = row.asked_minor
    assert confirmed is not None, "a confirmed row has an amount and the Confirm's answer"
    return confirmed
