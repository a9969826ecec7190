"""Why a write changed nothing: looked up by reading, in the same database transaction.

Nothing here decides who wins; the UNIQUE constraints and the compare-and-set did.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from adapters.postgres.fields import Write
from adapters.postgres.schema import HOLDS_ORDER_SQL, transactions
from coordinator.domain.ids import TransactionId
from coordinator.domain.transaction import RefundOf
from coordinator.ports import (
    CommitResult,
    Committed,
    KeyTaken,
    LostRace,
    OrderTaken,
    OrdinalTaken,
)

_T = transactions.c


def _obstacles(kind: str, *conditions: sa.ColumnElement[bool] | sa.TextClause) -> sa.Select[Any]:
    label: sa.Label[str] = sa.literal_column(f"'{kind}'", sa.String).label("kind")
    columns = (
        label,
        _T.id,
        _T.caller,
        _T.idempotency_key,
        _T.order_id,
        _T.payment_id,
        _T.ordinal,
    )
    return sa.select(*columns).where(*conditions)


def _any_of(name: str) -> sa.BindParameter[Any]:
    return sa.bindparam(name, expanding=True)


# One statement, one moment: of two, the later could find an order taken by the very payment whose
# key the earlier had not found.
_OBSTACLES = sa.union_all(
    _obstacles("id", _T.id.in_(_any_of("ids"))),
    _obstacles("key", sa.tuple_(_T.caller, _T.idempotency_key).in_(_any_of("keys"))),
    _obstacles(
        "order",
        sa.tuple_(_T.caller, _T.order_id).in_(_any_of("orders")),
        sa.text(HOLDS_ORDER_SQL),
    ),
    _obstacles("refund", sa.tuple_(_T.payment_id, _T.ordinal).in_(_any_of("ordinals"))),
)


def explain_updates(
    connection: sa.Connection, losers: Sequence[Write], *, repeated: bool
) -> dict[str, CommitResult]:
    """The results of updates that changed nothing, by the writes' tokens.

    `repeated` tells that an earlier COMMIT of the same writes has an unknown end: a row that
    stands at our version with our token is our own. One that has gone further is somebody else's
    by now.
    """
    if not repeated:
        return {write.token: LostRace() for write in losers}
    found = _by_id(connection, losers)
    return {
        write.token: committed(write)
        if found.get(write.after.id) == (write.after.version, write.token)
        else LostRace()
        for write in losers
    }


def explain_inserts(
    connection: sa.Connection, losers: Sequence[Write], *, repeated: bool
) -> dict[str, CommitResult]:
    """The results of creations that wrote nothing, by the writes' tokens.

    IDs are unique, so that a row that a repeated write finds under its own ID is its own. A write
    is missing from the answer when what stood in its way is gone: repeat it.
    """
    keyed = [(write.after.caller, write.after.idempotency_key) for write in losers]
    ordered = [(w.after.caller, w.after.order_id) for w in losers if w.after.order_id]
    refunding = [(r.payment_id, r.ordinal) for w in losers if (r := w.after.refund_of)]
    rows = connection.execute(
        _OBSTACLES,
        {
            "ids": [write.after.id for write in losers],
            "keys": sorted(keyed),
            "orders": sorted(ordered),
            "ordinals": sorted(refunding),
        },
    ).all()
    ids = {row.id for row in rows if row.kind == "id"}
    keys = {
        (row.caller, row.idempotency_key): TransactionId(row.id)
        for row in rows
        if row.kind == "key"
    }
    orders = {
        (row.caller, row.order_id): TransactionId(row.id) for row in rows if row.kind == "order"
    }
    refunds = {RefundOf(row.payment_id, row.ordinal) for row in rows if row.kind == "refund"}
    results: dict[str, CommitResult] = {}
    for write in losers:
        after = write.after
        if after.id in ids:
            results[write.token] = committed(write) if repeated else LostRace()
        elif existing := keys.get((after.caller, after.idempotency_key)):
            results[write.token] = KeyTaken(existing)
        elif existing := orders.get((after.caller, after.order_id)):
            results[write.token] = OrderTaken(existing)
        elif after.refund_of is not None and after.refund_of in refunds:
            results[write.token] = OrdinalTaken()
    return results


def committed(write: Write) -> Committed:
    """The result of a write that is durable."""
    if write.after.claimed_by == (write.holder or ""):
        return Committed(write.after)
    return Committed(write.with_holder())


def _by_id(connection: sa.Connection, writes: Sequence[Write]) -> dict[str, tuple[int, str]]:
    rows = connection.execute(
        sa.select(_T.id, _T.version, _T.written_by).where(
            _T.id.in_([write.after.id for write in writes])
        )
    )
    return {row.id: (row.version, row.written_by) for row in rows}
