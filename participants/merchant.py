"""The merchant service: credits a merchant's ledger with what was paid, and refunds from it.

A merchant's account keeps no balance of its own: every payment would queue for that one row. A
refund, which is rare, sums up the postings instead, under a lock that only refunds and payouts
take (`ledger.lock_free`). So a Confirm of a payment never waits, the check is exact, and a refund
costs as much as the merchant has postings; a service with many would keep sums up to a day.
"""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

import sqlalchemy as sa

from participants import ledger
from participants.business import Confirmed, Held, HoldRequest, OpenTry, OriginalStep, Refused

CLEARING = "merchants:clearing"
PAID_OUT = "merchants:paid-out"
OPENING_UNIT = "JPY"


def _merchant(name: str) -> str:
    return f"merchant:{name}"


class Merchant:
    """The `Business` of merchants. A hold is the promise of a credit, or a refund's money."""

    def prepare(self, connection: sa.Connection, seeds: Mapping[str, int]) -> None:
        """Adds the merchants of `seeds`, each once; an amount is an opening balance in yen."""
        ledger.add_account(connection, CLEARING)
        for name, opening in seeds.items():
            ledger.open_account(
                connection,
                _merchant(name),
                guarded=False,
                unit=OPENING_UNIT,
                opening_minor=opening,
                source=CLEARING,
            )

    def hold(self, connection: sa.Connection, request: HoldRequest) -> Held | Refused:
        """Promises the credit, or sets a refund's money aside.

        Refuses with UNKNOWN_MERCHANT or INSUFFICIENT_BALANCE.
        """
        if request.refund_of is not None:
            return _hold_refund(connection, request, request.refund_of)
        merchant = ledger.find_account(connection, _merchant(request.account))
        if merchant is None:
            return Refused("UNKNOWN_MERCHANT", "There is no merchant of this name.")
        hold = ledger.Hold(
            ledger.Key(request.transaction_id, request.phase),
            merchant.account,
            request.currency_code,
            request.amount_minor,
        )
        ledger.add_hold(connection, hold, merchant)
        return Held(reference=f"mer_{request.transaction_id.hex[:16]}")

    def confirm(self, connection: sa.Connection, held: OpenTry, final_minor: int) -> Confirmed:
        """Credits the merchant, or takes the refund from it."""
        key = ledger.Key(held.transaction_id, held.phase)
        sign = 1 if held.refund_of is None else -1
        ledger.use_hold(connection, key, CLEARING, sign=sign, amount_minor=final_minor)
        return Confirmed()

    def cancel(self, connection: sa.Connection, held: OpenTry) -> None:
        """Takes the promise back."""
        ledger.release_hold(connection, ledger.Key(held.transaction_id, held.phase))


def _hold_refund(
    connection: sa.Connection, request: HoldRequest, original: OriginalStep
) -> Held | Refused:
    merchant = ledger.account_of(connection, ledger.Key(original.transaction_id, original.phase))
    if ledger.lock_free(connection, merchant, request.currency_code) < request.amount_minor:
        return Refused("INSUFFICIENT_BALANCE", "The merchant's balance does not cover this refund.")
    key = ledger.Key(request.transaction_id, request.phase)
    ledger.add_promise(
        connection,
        ledger.Hold(key, merchant, request.currency_code, request.amount_minor, refund=True),
    )
    return Held(reference=f"mer_{request.transaction_id.hex[:16]}")


def pay_out(
    connection: sa.Connection,
    name: str,
    currency_code: str,
    amount_minor: int,
    payout_id: UUID,
) -> bool:
    """Pays a merchant money out; False when it has not so much that is free.

    Not part of the protocol: what a merchant's bank does in the evening, and what makes a refund
    be refused. Raises IntegrityError for a payout that was done before.
    """
    merchant = _merchant(name)
    if ledger.lock_free(connection, merchant, currency_code) < amount_minor:
        return False
    ledger.add_account(connection, PAID_OUT)
    ledger.post(
        connection,
        ledger.Key(payout_id, "payout"),
        ledger.Operation.PAYOUT,
        currency_code,
        {merchant: -amount_minor, PAID_OUT: amount_minor},
    )
    return True
