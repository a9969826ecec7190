"""The merchant service: credits a merchant's ledger with what was paid."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa

from participants import ledger
from participants.business import Confirmed, Held, HoldRequest, OpenTry, Refused

CLEARING = "merchants:clearing"
OPENING_UNIT = "JPY"


def _merchant(name: str) -> str:
    return f"merchant:{name}"


class Merchant:
    """The `Business` of merchants. A hold is the promise of a credit."""

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
        """Promises the credit. Refuses with UNKNOWN_MERCHANT."""
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

    def confirm(self, connection: sa.Connection, held: OpenTry) -> Confirmed:
        """Credits the merchant."""
        key = ledger.Key(held.transaction_id, held.phase)
        ledger.use_hold(connection, key, CLEARING, sign=1)
        return Confirmed()

    def cancel(self, connection: sa.Connection, held: OpenTry) -> None:
        """Takes the promise back."""
        ledger.release_hold(connection, ledger.Key(held.transaction_id, held.phase))
