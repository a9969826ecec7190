"""Every phase there is. A new one is one file in this folder and one line here."""

from __future__ import annotations

from collections.abc import Mapping

from coordinator.domain.phase import Phase
from phases.card_charge import CARD_CHARGE
from phases.merchant_credit import MERCHANT_CREDIT
from phases.notify import NOTIFY
from phases.points_reserve import POINTS_RESERVE
from phases.stock_reserve import STOCK_RESERVE

PHASES: Mapping[str, Phase] = {
    phase.name: phase
    for phase in (
        POINTS_RESERVE,
        CARD_CHARGE,
        MERCHANT_CREDIT,
        STOCK_RESERVE,
        NOTIFY,
    )
}
