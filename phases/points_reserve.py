"""Points reserve: takes points from a customer's wallet. One point pays one minor unit."""

from __future__ import annotations

from coordinator.domain.phase import Phase, Role

POINTS_RESERVE = Phase(
    name="points_reserve",
    title="Points",
    role=Role.TAKES,
    participant="points",
)
