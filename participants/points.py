"""The points service: wallets whose points are held, burned or given back.

One point pays one minor unit, whatever the currency, so wallets are counted in points, not in a
currency.
"""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa

from participants import ledger
from participants.business import Confirmed, Held, HoldRequest, OpenTry, Refused

UNIT = "points"
BURNED = "points:burned"
ISSUED = "points:issued"


def _wallet(name: str) -> str:
    return f"wallet:{name}"


class Points:
    """The `Business` of wallets."""

    def prepare(self, connection: sa.Connection, seeds: Mapping[str, int]) -> None:
        """Adds the wallets of `seeds` with their opening points, each once."""
        ledger.add_account(connection, BURNED)
        for name, opening in seeds.items():
            ledger.open_account(
                connection,
                _wallet(name),
                guarded=True,
                unit=UNIT,
                opening_minor=opening,
                source=ISSUED,
            )

    def hold(self, connection: sa.Connection, request: HoldRequest) -> Held | Refused:
        """Holds points, or promises to give burned ones back.

        Refuses with UNKNOWN_WALLET or INSUFFICIENT_POINTS.
        """
        if request.refund_of is not None:
            key = ledger.Key(request.transaction_id, request.phase)
            ledger.add_promise(
                connection, ledger.Hold(key, BURNED, UNIT, request.amount_minor, refund=True)
            )
            return Held(reference=f"pts_{request.transaction_id.hex[:16]}")
        wallet = ledger.find_account(connection, _wallet(request.account))
        if wallet is None:
            return Refused("UNKNOWN_WALLET", "There is no points wallet of this name.")
        if wallet.free_minor < request.amount_minor:
            return Refused(
                "INSUFFICIENT_POINTS",
                f"The wallet has {wallet.free_minor:,} points to spend; "
                f"this payment takes {request.amount_minor:,}.",
            )
        key = ledger.Key(request.transaction_id, request.phase)
        ledger.add_hold(
            connection, ledger.Hold(key, wallet.account, UNIT, request.amount_minor), wallet
        )
        return Held(reference=f"pts_{request.transaction_id.hex[:16]}")

    def confirm(self, connection: sa.Connection, held: OpenTry, final_minor: int) -> Confirmed:
        """Burns the held points and frees the rest; a refund goes to the wallet it came from."""
        key = ledger.Key(held.transaction_id, held.phase)
        to = BURNED
        if held.refund_of is not None:
            to = ledger.account_of(
                connection, ledger.Key(held.refund_of.transaction_id, held.refund_of.phase)
            )
        ledger.use_hold(connection, key, to, sign=-1, amount_minor=final_minor)
        return Confirmed()

    def cancel(self, connection: sa.Connection, held: OpenTry) -> None:
        """Frees the held points, or takes the promise of a refund back."""
        ledger.release_hold(connection, ledger.Key(held.transaction_id, held.phase))
