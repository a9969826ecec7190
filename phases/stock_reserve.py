"""Stock reserve: keeps one unit of an article for the buyer, until the payment is decided.

It moves no money. Its Confirm sells the unit, whatever part of the amount is captured.
"""

from __future__ import annotations

from coordinator.domain.phase import Phase, Role

STOCK_RESERVE = Phase(
    name="stock_reserve",
    title="Stock",
    role=Role.KEEPS,
    participant="stock",
)
