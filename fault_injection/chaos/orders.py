"""What shops order: a payment of any flow whose phases the reference participants can serve.

Taken from the registry, so that a new flow over known participants is bought by every chaos run.
"""

from __future__ import annotations

import random  # noqa: TID251 - seeded by whoever calls
from collections.abc import Mapping, Sequence

from kessai.payments.v1 import payments_pb2 as pb

from coordinator.cli.telling import SHOP, yen_of
from coordinator.domain.flow import Flow
from phases.flows import FLOW_ROWS, bind_flows
from phases.registry import PHASES

SOURCES: Mapping[str, Sequence[str]] = {
    "points": (*["alice"] * 9, "bob"),
    "card": (
        *["tok_ok"] * 7,
        *("tok_declined", "tok_capture_declined", "tok_timeout_after_capture"),
    ),
}
"""Where each participant takes money from: bob has little of it."""
ITEMS: Mapping[str, Sequence[str]] = {"stock": (*["lamp"] * 5, "last-lamp")}
"""What each participant keeps; there is one last lamp."""
OPTIONS: Mapping[str, Sequence[str]] = {
    "points": ("--seed=alice=100000000", "--seed=bob=500"),
    "merchant": (f"--seed={SHOP}",),
    "stock": ("--seed=lamp=1000000", "--seed=last-lamp=1"),
}
"""What the participants start with."""
AMOUNTS = (40, 60, 600)


def _served(flow: Flow) -> bool:
    takes = all(phase.participant in SOURCES for phase in flow.takers)
    return takes and all(phase.participant in ITEMS for phase in flow.keepers)


FLOWS: Sequence[Flow] = tuple(
    flow for flow in bind_flows(FLOW_ROWS, PHASES).values() if _served(flow)
)


def order(chance: random.Random, key: str) -> pb.CreatePaymentRequest:
    """A payment of any flow, as `chance` has it."""
    flow = chance.choice(FLOWS)
    tenders = [
        pb.Tender(
            method=phase.name,
            source=chance.choice(SOURCES[phase.participant]),
            amount=yen_of(chance.choice(AMOUNTS)),
        )
        for phase in flow.takers
    ]
    items = [
        pb.Item(phase=phase.name, item_id=chance.choice(ITEMS[phase.participant]))
        for phase in flow.keepers
    ]
    return pb.CreatePaymentRequest(
        idempotency_key=key,
        flow=flow.name,
        amount=yen_of(sum(tender.amount.minor_units for tender in tenders)),
        tenders=tenders,
        items=items,
        merchant_id=SHOP,
        order_conflict=pb.ORDER_CONFLICT_REJECT,
    )
