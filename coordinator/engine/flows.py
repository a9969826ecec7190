"""The flow that a transaction follows, as far as it is served here."""

from __future__ import annotations

from collections.abc import Mapping

from coordinator.domain.errors import FlowNotServed
from coordinator.domain.flow import Flow
from coordinator.domain.transaction import Transaction, flow_of


def served(flows: Mapping[str, Flow], transaction: Transaction) -> Flow:
    """Its flow. Raises FlowNotServed."""
    if transaction.flow not in flows:
        raise FlowNotServed(transaction.id, transaction.flow)
    return flow_of(flows, transaction)
