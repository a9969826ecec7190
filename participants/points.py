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
        """Holds points. Refuses with UNKNOWN_WALLET or INSUFFICIENT_POINTS."""
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

    def confirm(self, connection: sa.Connection, held: OpenTry) -> Confirmed:
        """Burns the held points."""
        key = ledger.Key(held.transaction_id, held.phase)
        ledger.use_hold(connection, key, BURNED, sign=-1)
        return Confirmed()

    def cancel(self, connection: sa.Connection, held: OpenTry) -> None:
        """Gives the held points back."""
        ledger.release_hold(connection, ledger.Key(held.transaction_id, held.phase))
