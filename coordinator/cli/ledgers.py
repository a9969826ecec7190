"""The participants' own books, read by SQL: what the demo believes, rather than any reply.

"Money in = money out" is decided here, by a pure function over the ledgers' sums.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from participants.merchant import pay_out
from participants.totals import LedgerTotals, ledger_breaks, ledger_totals

CURRENCY = "JPY"
"""Of the whole story."""
_EFFECT = sa.text(
    """
    SELECT
      (SELECT count(*) FROM ledger_entries
        WHERE transaction_id = :payment AND operation = 'confirm') AS confirms,
      (SELECT coalesce(sum(amount_minor), 0) FROM ledger_postings
        WHERE transaction_id = :payment AND operation = 'confirm' AND amount_minor > 0)
        AS confirmed_minor,
      (SELECT count(*) FROM ledger_entries
        WHERE transaction_id = :payment AND operation = 'refund') AS refunds,
      (SELECT coalesce(sum(amount_minor), 0) FROM ledger_postings
        WHERE transaction_id = :payment AND operation = 'refund' AND amount_minor > 0)
        AS refunded_minor,
      (SELECT count(*) FROM ledger_holds WHERE transaction_id = :payment) AS holds_ever,
      (SELECT count(*) FROM ledger_holds
        WHERE transaction_id = :payment AND state = 'OPEN') AS holds_open,
      (SELECT count(*) FROM participant_fence
        WHERE transaction_id = :payment AND try_answer IS NOT NULL) AS tries_seen
    """
)


@dataclass(frozen=True, slots=True)
class Effect:
    """What one payment or refund did at one participant.

    confirms         confirmed entries; never more than 1
    confirmed_minor  what they moved, in minor units
    refunds          confirmed entries that gave something back; never more than 1
    refunded_minor   what they gave back, in minor units
    holds_ever       holds that were ever made for it
    holds_open       holds that still stand
    tries_seen       Trys that reached the participant's fence
    """

    confirms: int
    confirmed_minor: int
    refunds: int
    refunded_minor: int
    holds_ever: int
    holds_open: int
    tries_seen: int


@dataclass(frozen=True, slots=True)
class Books:
    """The sums of every ledger, and what is wrong inside each of them."""

    totals: Mapping[str, LedgerTotals]
    breaks: Mapping[str, list[str]]


class Ledgers:
    """The participants' databases, by participant. Use as a context manager."""

    def __init__(self, urls: Mapping[str, str]) -> None:
        self._engines = {
            name: sa.create_engine(url, poolclass=NullPool) for name, url in urls.items()
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for engine in self._engines.values():
            engine.dispose()

    def effect(self, participant: str, payment_id: str) -> Effect:
        """What the payment or refund did there."""
        with self._engines[participant].connect() as connection:
            row = connection.execute(_EFFECT, {"payment": payment_id}).mappings().one()
        return Effect(**{name: int(value) for name, value in row.items()})

    def pay_out(self, merchant: str, amount_minor: int, payment_id: str) -> None:
        """What the merchant's bank does in the evening; once for each payment.

        No part of the protocol, and so no process offers it. Raises ValueError when the merchant
        has not so much.
        """
        with self._engines["merchant"].begin() as connection:
            if not pay_out(connection, merchant, CURRENCY, amount_minor, UUID(payment_id)):
                raise ValueError(f"{merchant} has less than {amount_minor:,} to be paid out")

    def books(self) -> Books:
        """Every ledger's sums and breaks, as they stand."""
        return Books(
            totals={name: ledger_totals(engine) for name, engine in self._engines.items()},
            breaks={name: ledger_breaks(engine) for name, engine in self._engines.items()},
        )


def imbalances(books: Books, captured_minor: int, refunded_minor: int) -> list[str]:
    """What is wrong, one sentence each; empty when money in = money out.

    `captured_minor` is what all payments took and `refunded_minor` what they gave back, as the
    coordinator has it, in minor units. Expects participants `points`, `card` and `merchant` at
    rest.
    """
    wrong = [f"{name}: {what}" for name, found in books.breaks.items() for what in found]
    for name, totals in books.totals.items():
        if totals.postings_minor:
            wrong.append(f"{name}: the postings sum to {totals.postings_minor:,}, not to 0")
        if totals.open_holds:
            wrong.append(f"{name}: {totals.open_holds} holds still stand")
    points, card, merchant = (books.totals[name] for name in ("points", "card", "merchant"))
    money_in = points.confirmed_minor + card.confirmed_minor
    money_out = merchant.confirmed_minor
    if money_in != money_out:
        wrong.append(f"{money_in:,} was taken, but {money_out:,} was given to the merchant")
    if money_out != captured_minor:
        wrong.append(f"payments captured {captured_minor:,}, but {money_out:,} was given")
    given_back = points.refunded_minor + card.refunded_minor
    if given_back != merchant.refunded_minor:
        wrong.append(
            f"{merchant.refunded_minor:,} was taken back from merchants, "
            f"but {given_back:,} was given back"
        )
    if given_back != refunded_minor:
        wrong.append(f"payments say {refunded_minor:,} was given back, but {given_back:,} was")
    return wrong
