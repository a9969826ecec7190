"""A new transaction: one step for each phase of its flow, in the initial state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from coordinator.domain.flow import Flow
from coordinator.domain.ids import TransactionId
from coordinator.domain.machine import INITIAL
from coordinator.domain.money import Money
from coordinator.domain.phase import Phase, Role
from coordinator.domain.record import Record
from coordinator.domain.step import Step, StepStatus
from coordinator.domain.transaction import (
    Draft,
    EntryKind,
    JournalEntry,
    RefundOf,
    Tender,
    Transaction,
)


class Terms(Record, frozen=True):
    """What a payment may ask for beyond the ordinary.

    manual         it waits, once reserved, to be captured
    reservation_s  how long its reservation lasts, in seconds; None for the flow's own
    items          what is kept for the buyer, by phase
    """

    manual: bool = False
    reservation_s: float | None = None
    items: Mapping[str, str] = {}


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
    terms: Terms = Terms(),  # noqa: B008 - it is immutable
) -> Draft:
    """A new payment in its initial state, with the journal's first line.

    Raises ValueError unless there is exactly one tender for each phase that takes money, one item
    for each that keeps something, and the tenders add up to `amount`; whoever asks has checked that
    before and said it better.
    """
    by_method = {tender.method: tender for tender in tenders}
    if sorted(tender.method for tender in tenders) != sorted(p.name for p in flow.takers):
        raise ValueError(f"flow {flow.name} takes one tender for each phase that takes money")
    if terms.items.keys() != {phase.name for phase in flow.keepers}:
        raise ValueError(f"flow {flow.name} takes one item for each phase that keeps something")
    if {tender.amount.currency for tender in tenders} != {amount.currency} or amount.minor != sum(
        tender.amount.minor for tender in tenders
    ):
        raise ValueError("the tenders do not add up to the amount")
    sources = {**terms.items, **{tender.method: tender.source for tender in tenders}}
    steps = tuple(
        _open_step(
            position,
            phase,
            by_method[phase.name].amount if phase.name in by_method else amount,
            sources.get(phase.name, merchant_id),
        )
        for position, phase in enumerate(flow.phases)
    )
    reservation_s = flow.reservation_s if terms.reservation_s is None else terms.reservation_s
    return _opened(
        Transaction(
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
            state_since=now,
            try_deadline=now + timedelta(seconds=min(flow.try_budget_s, reservation_s)),
            reserved_until=now + timedelta(seconds=reservation_s),
            due_at=now,
            manual=terms.manual,
        )
    )


def open_refund(
    payment: Transaction,
    *,
    transaction_id: TransactionId,
    idempotency_key: str,
    request: str,
    ordinal: int,
    flow: Flow,
    shares: Mapping[str, int],
    now: datetime,
) -> Draft:
    """A new refund of `payment`, in its initial state: `shares` by tender, in minor units.

    `flow` is the refund flow of the payment's flow. Sources stay empty: money goes back the way it
    came. Whether the payment can bear it was checked before.
    """
    currency = payment.amount.currency
    amount = Money(sum(shares.values()), currency)
    steps = tuple(
        _open_step(
            position,
            phase,
            Money(shares[phase.name], currency) if phase.role is Role.GIVES else amount,
            "",
        )
        for position, phase in enumerate(flow.phases)
        if phase.role is not Role.GIVES or shares.get(phase.name)
    )
    return _opened(
        Transaction(
            id=transaction_id,
            caller=payment.caller,
            idempotency_key=idempotency_key,
            request=request,
            flow=payment.flow,
            amount=amount,
            merchant_id=payment.merchant_id,
            order_id="",  # the payment keeps its order
            customer_id=payment.customer_id,
            state=INITIAL,
            version=0,
            sequence=1,
            steps=steps,
            failure=None,
            attention=None,
            created_at=now,
            updated_at=now,
            state_since=now,
            try_deadline=now + timedelta(seconds=flow.try_budget_s),
            reserved_until=now + timedelta(seconds=flow.reservation_s),
            due_at=now,
            refund_of=RefundOf(payment.id, ordinal),
        )
    )


def _opened(transaction: Transaction) -> Draft:
    now, journal = transaction.created_at, EntryKind.TRANSITION
    entry = JournalEntry(transaction.id, 1, now, journal, None, INITIAL, event="create")
    return Draft(transaction, (entry,))


def _open_step(position: int, phase: Phase, amount: Money, source: str) -> Step:
    if phase.role is Role.ANNOUNCES:
        return Step(phase.name, phase.role, position, StepStatus.UNTRIED, None)
    return Step(
        phase.name,
        phase.role,
        position,
        StepStatus.UNTRIED,
        amount,
        source,
        secret=phase.secret_source,
    )
