"""A new transaction: one step for each phase of its flow, in the initial state."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from coordinator.domain.flow import Flow
from coordinator.domain.ids import TransactionId
from coordinator.domain.machine import INITIAL
from coordinator.domain.money import Money
from coordinator.domain.phase import Phase, Role
from coordinator.domain.step import Step, StepStatus
from coordinator.domain.transaction import Draft, EntryKind, JournalEntry, Tender, Transaction


def open_transaction(
    *,
    transaction_id: TransactionId,
    caller: str,
    idempotency_key: str,
    request: str,
    flow: Flow,
    amount: Money,
    tenders: Sequence[Tender],
    merchant_id: str,
    order_id: str,
    customer_id: str,
    now: datetime,
) -> Draft:
    """A new transaction in its initial state, with the journal's first line.

    Raises ValueError unless there is exactly one tender for each phase that takes money and they
    add up to `amount`; whoever asks has checked that before and said it better.
    """
    by_method = {tender.method: tender for tender in tenders}
    if sorted(tender.method for tender in tenders) != sorted(p.name for p in flow.takers):
        raise ValueError(f"flow {flow.name} takes one tender for each phase that takes money")
    if {tender.amount.currency for tender in tenders} != {amount.currency} or amount.minor != sum(
        tender.amount.minor for tender in tenders
    ):
        raise ValueError("the tenders do not add up to the amount")
    steps = tuple(
        _open_step(position, phase, by_method.get(phase.name), amount, merchant_id)
        for position, phase in enumerate(flow.phases)
    )
    transaction = Transaction(
        id=transaction_id,
        caller=caller,
        idempotency_key=idempotency_key,
        request=request,
        flow=flow.name,
        amount=amount,
        merchant_id=merchant_id,
        order_id=order_id,
        customer_id=customer_id,
        state=INITIAL,
        version=0,
        sequence=1,
        steps=steps,
        failure=None,
        attention=None,
        created_at=now,
        updated_at=now,
        try_deadline=now + timedelta(seconds=flow.try_budget_s),
        reserved_until=now + timedelta(seconds=flow.reservation_s),
        due_at=now,
    )
    entry = JournalEntry(
        transaction_id, 1, now, EntryKind.TRANSITION, None, INITIAL, event="create"
    )
    return Draft(transaction, (entry,))


def _open_step(
    position: int, phase: Phase, tender: Tender | None, amount: Money, merchant_id: str
) -> Step:
    if tender is not None:
        return Step(
            phase.name,
            phase.role,
            position,
            StepStatus.UNTRIED,
            tender.amount,
            tender.source,
            secret=phase.secret_source,
        )
    if phase.role is Role.GIVES:
        return Step(phase.name, phase.role, position, StepStatus.UNTRIED, amount, merchant_id)
    return Step(phase.name, phase.role, position, StepStatus.UNTRIED, None)
