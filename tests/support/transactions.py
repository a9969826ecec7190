"""Transactions for tests of the store, driven through the real flows without any participant."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

from msgspec import json

from coordinator.domain.decide import Advance, Perform, decide
from coordinator.domain.flow import Flow
from coordinator.domain.ids import TransactionId
from coordinator.domain.machine import Event
from coordinator.domain.money import Money
from coordinator.domain.moves import advance, record
from coordinator.domain.opening import Terms, open_transaction
from coordinator.domain.outcome import Applied, Outcome
from coordinator.domain.transaction import Change, Draft, Failure, Result, Tender, Transaction
from coordinator.ports import Committed, Store
from phases.flows import FLOW_ROWS, bind_flows
from phases.registry import PHASES

NOTE = 'naïve "quoted" \\ {brace}'

FLOWS = bind_flows(FLOW_ROWS, PHASES)
START = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
CARD_TOKEN = "tok_4242424242424242"

_numbers = itertools.count(1)


def new_id(number: int | None = None) -> TransactionId:
    """An ID that looks like a UUIDv7 and grows."""
    number = next(_numbers) if number is None else number
    return TransactionId(f"01900000-0000-7000-8000-{number:012x}")


def opened(
    *,
    flow: str = "points_and_card",
    caller: str = "shop",
    key: str = "",
    order_id: str = "",
    customer_id: str = "customer-1",
    merchant_id: str = "merchant-1",
    now: datetime = START,
    transaction_id: TransactionId | None = None,
    token: str = CARD_TOKEN,
) -> Draft:
    """A new payment of 1,000 yen, not committed yet."""
    transaction_id = transaction_id or new_id()
    takers = FLOWS[flow].takers
    share = 1000 // len(takers)
    return open_transaction(
        transaction_id=transaction_id,
        caller=caller,
        idempotency_key=key or f"key-{transaction_id}",
        request=json.encode({"amount.minor_units": "1000", "note": NOTE}).decode(),
        flow=FLOWS[flow],
        amount=Money(1000, "JPY"),
        tenders=[
            Tender(
                phase.name,
                token if phase.secret_source else "wallet-1",
                Money(share if index else 1000 - share * (len(takers) - 1), "JPY"),
            )
            for index, phase in enumerate(takers)
        ],
        merchant_id=merchant_id,
        order_id=order_id,
        customer_id=customer_id,
        now=now,
        terms=Terms(items={phase.name: "article-1" for phase in FLOWS[flow].keepers}),
    )


def creation(draft: Draft | None = None, *, keep_claim: bool = False) -> Change:
    """The first commit of a payment."""
    draft = draft or opened()
    now = draft.transaction.created_at
    return draft.change(now=now, due_at=now, keep_claim=keep_claim)


def commit_of(draft: Draft, *, now: datetime = START, keep_claim: bool = False) -> Change:
    """The commit of whatever the draft has become; settled ones are not due any more."""
    settled = draft.transaction.settled
    return draft.change(now=now, due_at=None if settled else now, keep_claim=keep_claim)


def touched(transaction: Transaction, *, seconds: float = 1.0, keep_claim: bool = False) -> Change:
    """A commit that only moves due_at and updated_at."""
    now = transaction.updated_at + timedelta(seconds=seconds)
    return Draft(transaction).change(now=now, due_at=now, keep_claim=keep_claim)


def answered(draft: Draft, phase: str, outcome: Outcome, *, now: datetime = START) -> Draft:
    """The draft after the operation its state asks for came back from one phase."""
    flow = flow_of(draft)
    action = decide(draft.transaction, flow, now)
    assert isinstance(action, Perform), action
    (operation,) = (call.operation for call in action.calls if call.phase.name == phase)
    return record(draft, flow, [Result(phase, operation, outcome, 0.5)], now)


def stepped(draft: Draft, *, now: datetime = START) -> Draft:
    """The draft after one action of `decide`, with every call applied."""
    flow = flow_of(draft)
    action = decide(draft.transaction, flow, now)
    if isinstance(action, Advance):
        return advance(draft, flow, action.events, now, action.failure)
    assert isinstance(action, Perform), action
    results = [
        Result(call.phase.name, call.operation, Applied(f"ref-{call.phase.name}"))
        for call in action.calls
    ]
    return record(draft, flow, results, now)


def until(transaction: Transaction, *states: str, now: datetime = START) -> Draft:
    """The transaction driven until it is in one of these states."""
    draft = Draft(transaction)
    while draft.transaction.state not in states:
        draft = stepped(draft, now=now)
    return draft


def released(transaction: Transaction, *, now: datetime = START) -> Draft:
    """The transaction on its way to FAILED because the caller cancelled."""
    failure = Failure("CANCELLED_BY_CALLER", "the customer changed their mind")
    draft = Draft(transaction)
    return advance(draft, flow_of(draft), (Event.RELEASE,), now, failure)


def flow_of(draft: Draft) -> Flow:
    """The flow that a draft's transaction follows."""
    return FLOWS[draft.transaction.flow]


async def committed(store: Store, change: Change) -> Transaction:
    """The transaction after a commit that has to win."""
    result = await store.commit(change)
    assert isinstance(result, Committed), result
    return result.transaction
