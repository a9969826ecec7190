"""Card charge: authorizes, captures or voids a card payment.

A capture can still be refused (the authorization expired, the issuer changed its mind), so this
phase is the pivot of every flow it is in.
"""

from __future__ import annotations

from coordinator.domain.phase import Phase, Role

CARD_CHARGE = Phase(
    name="card_charge",
    title="Card",
    role=Role.TAKES,
    participant="card",
    confirm_refusable=True,
    secret_source=True,
    longest_hold_s=7 * 86_400.0,  # what card networks commonly grant an authorization
)
