"""Payments for the tests of the domain: opened, or already in a given state."""

from __future__ import annotations

from datetime import UTC, datetime

from coordinator.domain.flow import Flow
from coordinator.domain.ids import TransactionId
from coordinator.domain.machine import State
from coordinator.domain.money import Money
from coordinator.domain.opening import Terms, open_transaction
from coordinator.domain.phase import Role
from coordinator.domain.record import evolve
from coordinator.domain.transaction import Draft, Step, StepStatus, Tender
from phases.flows import FLOW_ROWS, bind_flows
from phases.registry import PHASES

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ID = TransactionId("0197f2a0-0000-7000-8000-000000000001")
FLOWS = bind_flows(FLOW_ROWS, PHASES)
BOTH = FLOWS["points_and_card"]
POINTS = FLOWS["points_only"]
CARD = FLOWS["card_only"]
SOURCES = {
    phase.name: "tok_very_secret" if phase.secret_source else "wallet-1"
    for phase in PHASES.values()
    if phase.role is Role.TAKES
} | {phase.name: "article-1" for phase in PHASES.values() if phase.role is Role.KEEPS}

_CALLED_AS = {
    State.CREATED: StepStatus.UNTRIED,
    State.RESERVED: StepStatus.HELD,
    State.CAPTURING: StepStatus.HELD,
    State.SETTLING: StepStatus.HELD,
    State.PAID: StepStatus.CONFIRMED,
    State.REFUNDED: StepStatus.CONFIRMED,
    State.CANCELLING: StepStatus.HELD,
    State.FAILED: StepStatus.CANCELLED,
}


def opened(flow: Flow = BOTH) -> Draft:
    """A new payment of 400 JPY per phase that takes money."""
    tenders = [Tender(p.name, SOURCES[p.name], Money(400, "JPY")) for p in flow.takers]
    return open_transaction(
        transaction_id=ID,
        caller="shop",
        idempotency_key="key-1",
        request=f'{{"flow":"{flow.name}"}}',
        flow=flow,
        amount=Money(400 * len(tenders), "JPY"),
        tenders=tenders,
        merchant_id="merchant-1",
        order_id="order-1",
        customer_id="customer-1",
        now=NOW,
        terms=Terms(items={phase.name: SOURCES[phase.name] for phase in flow.keepers}),
    )


def standing(state: State, flow: Flow = BOTH, **statuses: StepStatus) -> Draft:
    """A payment as it was committed in `state`, with some steps' statuses changed."""
    draft = opened(flow)
    before = draft.transaction
    steps = tuple(
        evolve(step, status=statuses.get(step.phase, _CALLED_AS[state]))
        if flow.by_name[step.phase].role is not Role.ANNOUNCES
        else step
        for step in before.steps
    )
    return Draft(evolve(before, state=state, version=1, steps=steps))


def with_step(draft: Draft, step: Step) -> Draft:
    """The draft with this step in the place of its namesake."""
    before = draft.transaction
    steps = tuple(step if old.phase == step.phase else old for old in before.steps)
    return evolve(draft, transaction=evolve(before, steps=steps))
