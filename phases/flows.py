"""Every flow there is: one row each.

Cheap internal holds come first, together; the card comes last, so that a card is only asked when
everything else already stands.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from coordinator.domain.flow import BadFlow, Flow, FlowRow, bind
from coordinator.domain.phase import Phase

FLOW_ROWS: tuple[FlowRow, ...] = (
    FlowRow(
        "points_and_card",
        try_stages=(("points_reserve", "merchant_credit"), ("card_charge",)),
        announce="notify",
    ),
    FlowRow(
        "points_only",
        try_stages=(("points_reserve", "merchant_credit"),),
        announce="notify",
    ),
    FlowRow(
        "card_only",
        try_stages=(("merchant_credit",), ("card_charge",)),
        announce="notify",
    ),
    FlowRow(
        "stock_points_and_card",
        try_stages=(("stock_reserve", "points_reserve", "merchant_credit"), ("card_charge",)),
        announce="notify",
    ),
)


def bind_flows(rows: Iterable[FlowRow], phases: Mapping[str, Phase]) -> Mapping[str, Flow]:
    """The checked flows by name. Raises BadFlow for the first row that breaks the rules."""
    flows: dict[str, Flow] = {}
    for row in rows:
        if row.name in flows:
            raise BadFlow(row.name, ["there are two flows of this name"])
        flows[row.name] = bind(row, phases)
    return flows
