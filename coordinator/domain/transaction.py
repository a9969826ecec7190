"""A transaction, its steps, its journal, and the pure functions that move it.

Values are immutable. What the engine wants to make durable is one `Change`: the transaction as it
shall be, with the journal lines and outbox rows that belong to the same commit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from coordinator.domain.flow import Flow
from coordinator.domain.ids import TransactionId, event_id
from coordinator.domain.machine import ANNOUNCED, INITIAL, SETTLED, Event, State, fire
from coordinator.domain.money import Money
from coordinator.domain.outcome import Outcome, Refused, Unknown, outcome_name
from coordinator.domain.phase import Phase, Role
from coordinator.domain.step import (
    MAY_HOLD,
    Attention,
    Result,
    Step,
    StepStatus,
    answered,
    entered,
    needs_attention,
)

__all__ = [
    "MAY_HOLD",
    "Attention",
    "Change",
    "Draft",
    "EntryKind",
    "Failure",
    "JournalEntry",
    "OutboxEvent",
    "Result",
    "Step",
    "StepStatus",
    "Tender",
    "Transaction",
    "advance",
    "as_recovered",
    "open_transaction",
    "record",
]


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a transaction is released.

    `phase` is the one that refused or did not answer in time; empty when it was neither.
    """

    code: str
    reason: str
    phase: str = ""


@dataclass(frozen=True, slots=True)
class Tender:
    """One source of the money."""

    method: str
    source: str = field(repr=False)
    amount: Money


@dataclass(frozen=True, slots=True)
class Transaction:
    """One payment, as it stands.

    version   0 before the first commit, then grows by one with every commit
    sequence  the journal's last sequence number
    request   the body it was created with, by field path; secrets only as digests. It is what a
              repeated idempotency key is compared with
    try_deadline  until when Trys are asked; then a CREATED transaction is released
    due_at    when somebody should look at it again; None once settled
    """

    id: TransactionId
    caller: str
    idempotency_key: str
    request: Mapping[str, str] = field(repr=False)
    flow: str
    amount: Money
    merchant_id: str
    order_id: str
    customer_id: str
    state: State
    version: int
    sequence: int
    steps: tuple[Step, ...]
    failure: Failure | None
    attention: Attention | None
    created_at: datetime
    updated_at: datetime
    try_deadline: datetime
    reserved_until: datetime
    due_at: datetime | None
    claimed_by: str = ""

    @property
    def settled(self) -> bool:
        """Nothing moves by itself any more."""
        return self.state in SETTLED

    def step(self, phase: str) -> Step:
        """The step of `phase`. Raises KeyError when the flow has none."""
        for step in self.steps:
            if step.phase == phase:
                return step
        raise KeyError(phase)


class EntryKind(StrEnum):
    """What a journal line records."""

    TRANSITION = "transition"
    ATTEMPT = "attempt"


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One line of the journal; see `kessai.payments.v1.JournalEntry` for the fields."""

    transaction_id: TransactionId
    sequence: int
    at: datetime
    kind: EntryKind
    from_state: State | None
    to_state: State
    event: str = ""
    phase: str = ""
    operation: str = ""
    attempt: int = 0
    outcome: str = ""
    code: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class OutboxEvent:
    """One announcement: `transaction` as it was when it reached `state`."""

    id: str
    transaction_id: TransactionId
    sequence: int
    state: State
    at: datetime
    caller: str
    flow: str
    amount: Money
    merchant_id: str
    order_id: str
    customer_id: str
    failure: Failure | None


@dataclass(frozen=True, slots=True)
class Change:
    """What one commit makes durable.

    `expected_version` is the version the row must still have; 0 means the row must not exist.
    `keep_claim` tells whether the committing process goes on driving the transaction.
    """

    after: Transaction
    expected_version: int
    entries: tuple[JournalEntry, ...]
    events: tuple[OutboxEvent, ...]
    keep_claim: bool


@dataclass(frozen=True, slots=True)
class Draft:
    """A transaction on its way to the next commit, with the journal lines that go with it."""

    transaction: Transaction
    entries: tuple[JournalEntry, ...] = ()
    events: tuple[OutboxEvent, ...] = ()

    def change(self, *, now: datetime, due_at: datetime | None, keep_claim: bool) -> Change:
        """The commit that makes this draft durable."""
        before = self.transaction
        after = replace(before, version=before.version + 1, updated_at=now, due_at=due_at)
        return Change(after, before.version, self.entries, self.events, keep_claim)


def open_transaction(
    *,
    transaction_id: TransactionId,
    caller: str,
    idempotency_key: str,
    request: Mapping[str, str],
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
            position,
            StepStatus.UNTRIED,
            tender.amount,
            tender.source,
            secret=phase.secret_source,
        )
    if phase.role is Role.GIVES:
        return Step(phase.name, position, StepStatus.UNTRIED, amount, merchant_id)
    return Step(phase.name, position, StepStatus.UNTRIED, None)


def as_recovered(transaction: Transaction) -> Transaction:
    """What a process may believe of a transaction it finds in the table.

    While CREATED, another process may have sent any Try since the row was written, so that no step
    may be taken for untried: a release has to cancel them all.
    """
    if transaction.state is not State.CREATED:
        return transaction
    return replace(
        transaction,
        steps=tuple(
            replace(step, status=StepStatus.TRYING)
            if step.status is StepStatus.UNTRIED and step.amount is not None
            else step
            for step in transaction.steps
        ),
    )


def record(draft: Draft, flow: Flow, results: Iterable[Result], now: datetime) -> Draft:
    """The draft after these calls came back: steps moved, one journal line an attempt."""
    transaction, entries = draft.transaction, list(draft.entries)
    sequence, steps = transaction.sequence, list(transaction.steps)
    attention = transaction.attention
    for result in results:
        phase = flow.by_name[result.phase]
        index = next(i for i, step in enumerate(steps) if step.phase == result.phase)
        before = steps[index]
        steps[index] = step = answered(transaction.state, before, phase, result, now)
        attention = needs_attention(transaction.state, step, phase, result.outcome) or attention
        sequence += 1
        code, detail = _code_and_detail(result.outcome)
        entries.append(
            JournalEntry(
                transaction.id,
                sequence,
                now,
                EntryKind.ATTEMPT,
                transaction.state,
                transaction.state,
                phase=result.phase,
                operation=result.operation.value,
                attempt=before.attempts + 1,
                outcome=outcome_name(result.outcome),
                code=code,
                detail=detail,
            )
        )
    moved = replace(
        transaction,
        steps=tuple(steps),
        sequence=sequence,
        attention=attention,
        try_deadline=_try_deadline(transaction, steps, flow, now),
    )
    return replace(draft, transaction=moved, entries=tuple(entries))


def _try_deadline(
    before: Transaction, steps: Sequence[Step], flow: Flow, now: datetime
) -> datetime:
    """Until when Trys are asked: while one is pending, as long as the reservation lasts.

    Once it is decided, whatever is still to be tried has the flow's budget again.
    """
    if before.state is not State.CREATED:
        return before.try_deadline
    if any(step.status is StepStatus.PENDING for step in steps):
        return before.reserved_until
    if any(step.status is StepStatus.PENDING for step in before.steps):
        return min(before.reserved_until, now + timedelta(seconds=flow.try_budget_s))
    return before.try_deadline


def _code_and_detail(outcome: Outcome) -> tuple[str, str]:
    if isinstance(outcome, Refused):
        return outcome.code, outcome.reason
    if isinstance(outcome, Unknown):
        return outcome.code, outcome.detail
    return "", ""


def advance(
    draft: Draft, flow: Flow, events: Sequence[Event], now: datetime, failure: Failure | None = None
) -> Draft:
    """The draft after `events` fired one after the other, each with its journal line.

    Raises IllegalTransition when the table has no such row.
    """
    for event in events:
        draft = _advance_once(draft, flow, event, now, failure)
    return draft


def _advance_once(
    draft: Draft, flow: Flow, event: Event, now: datetime, failure: Failure | None
) -> Draft:
    before = draft.transaction
    target = fire(before.state, event)
    failure = failure or before.failure
    moved = replace(
        before,
        state=target,
        sequence=before.sequence + 1,
        steps=tuple(
            entered(before.state, target, step, flow.by_name[step.phase]) for step in before.steps
        ),
        failure=failure,
        attention=None if target in SETTLED else before.attention,
    )
    entry = JournalEntry(
        before.id,
        moved.sequence,
        now,
        EntryKind.TRANSITION,
        before.state,
        target,
        event=event.value,
        phase=failure.phase if failure and event is Event.RELEASE else "",
        code=failure.code if failure and event is Event.RELEASE else "",
        detail=failure.reason if failure and event is Event.RELEASE else "",
    )
    events = draft.events
    if flow.announce is not None and target in ANNOUNCED:
        events += (_announcement(moved, now),)
    return Draft(moved, (*draft.entries, entry), events)


def _announcement(transaction: Transaction, now: datetime) -> OutboxEvent:
    return OutboxEvent(
        id=event_id(transaction.id, transaction.state),
        transaction_id=transaction.id,
        sequence=transaction.sequence,
        state=transaction.state,
        at=now,
        caller=transaction.caller,
        flow=transaction.flow,
        amount=transaction.amount,
        merchant_id=transaction.merchant_id,
        order_id=transaction.order_id,
        customer_id=transaction.customer_id,
        failure=transaction.failure,
    )
