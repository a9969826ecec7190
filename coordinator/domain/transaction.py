"""A transaction, its steps, its journal, and the pure functions that move it.

Values are immutable. What the engine wants to make durable is one `Change`: the transaction as it
shall be, with the journal lines and outbox rows that belong to the same commit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from coordinator.domain.entries import EntryKind, Failure, JournalEntry, OutboxEvent, RefundOf
from coordinator.domain.flow import Flow
from coordinator.domain.ids import TransactionId, event_id
from coordinator.domain.machine import (
    ANNOUNCED,
    CANCELLABLE,
    RELEASED,
    SETTLED,
    Event,
    State,
    fire,
)
from coordinator.domain.money import Money
from coordinator.domain.outcome import Outcome, Refused, Unknown, never_left, outcome_name
from coordinator.domain.phase import Role
from coordinator.domain.record import Record, evolve
from coordinator.domain.step import (
    MAY_HOLD,
    Attention,
    Result,
    Step,
    StepStatus,
    answered,
    credible,
    entered,
    needs_attention,
)

__all__ = [
    "MAY_HOLD",
    "Attention",
    "Capture",
    "Change",
    "Draft",
    "EntryKind",
    "Failure",
    "JournalEntry",
    "OutboxEvent",
    "RefundOf",
    "Result",
    "Step",
    "StepStatus",
    "Tender",
    "Transaction",
    "advance",
    "as_recovered",
    "attempted",
    "flow_of",
    "late_success_undone",
    "record",
    "with_finals",
]


class Tender(Record, frozen=True):
    """One source of the money."""

    HIDDEN = frozenset({"source"})

    method: str
    source: str
    amount: Money


class Capture(Record, frozen=True):
    """What a manual capture was asked with: its idempotency key, its body's fingerprint."""

    HIDDEN = frozenset({"request"})

    idempotency_key: str
    request: str


class Transaction(Record, frozen=True):
    """One payment or refund, as it stands.

    version   0 before the first commit, then grows by one with every commit
    sequence  the journal's last sequence number
    request   the fingerprint of the body it was created with (`engine.fingerprint`): what a
              repeated idempotency key is compared with
    try_deadline  until when Trys are asked; then a CREATED transaction is released
    due_at    when somebody should look at it again; None once settled
    manual    whether it waits, once RESERVED, to be captured
    capture   how a manual one was captured; None for others
    refunded_minor  how much of it was given back, in minor units
    refund_of       None for payments
    """

    HIDDEN = frozenset({"request"})

    id: TransactionId
    caller: str
    idempotency_key: str
    request: str
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
    manual: bool = False
    capture: Capture | None = None
    refunded_minor: int = 0
    refund_of: RefundOf | None = None

    @property
    def settled(self) -> bool:
        """Nothing moves by itself any more."""
        return self.state in SETTLED

    @property
    def pending(self) -> bool:
        """A participant will decide later, for instance its customer."""
        return self.state is State.CREATED and any(
            step.status is StepStatus.PENDING for step in self.steps
        )

    @property
    def rests(self) -> bool:
        """It waits for somebody outside: its caller, its customer, or nobody at all."""
        held = self.state is State.RESERVED and self.manual
        asked = self.pending and any(step.next_action is not None for step in self.steps)
        return self.settled or held or asked

    @property
    def captured_minor(self) -> int:
        """How much was decided to be taken, in minor units; 0 until then, and once released."""
        if self.state in CANCELLABLE or self.state in RELEASED:
            return 0
        # Older versions did not write down what becomes final: it is all of it.
        return sum(
            step.final.minor for step in self.steps if step.role is Role.GIVES and step.final
        )

    def step(self, phase: str) -> Step:
        """The step of `phase`. Raises KeyError when the flow has none."""
        for step in self.steps:
            if step.phase == phase:
                return step
        raise KeyError(phase)


class Change(Record, frozen=True):
    """What one commit makes durable.

    `moved` are the steps to be written; the others are known to stand in the table as they are.
    `expected_version` is the version the row must still have; 0 means the row must not exist.
    `keep_claim` tells whether the committing process goes on driving the transaction.
    """

    after: Transaction
    moved: tuple[Step, ...]
    expected_version: int
    entries: tuple[JournalEntry, ...]
    events: tuple[OutboxEvent, ...]
    keep_claim: bool


class Draft(Record, frozen=True):
    """A transaction on its way to the next commit, with the journal lines that go with it.

    `stored` are the steps exactly as the table has them, or None where that is not known (a
    recovered transaction supposes more than its row says).
    """

    transaction: Transaction
    entries: tuple[JournalEntry, ...] = ()
    events: tuple[OutboxEvent, ...] = ()
    stored: tuple[Step, ...] | None = None

    def change(self, *, now: datetime, due_at: datetime | None, keep_claim: bool) -> Change:
        """The commit that makes this draft durable."""
        before, moved = self.transaction, self.transaction.steps
        if self.stored is not None:
            pairs = zip(moved, self.stored, strict=True)
            moved = tuple(step for step, stored in pairs if step is not stored)
        after = evolve(before, version=before.version + 1, updated_at=now, due_at=due_at)
        return Change(after, moved, before.version, self.entries, self.events, keep_claim)


def flow_of(flows: Mapping[str, Flow], transaction: Transaction) -> Flow:
    """The flow that the transaction follows. Raises KeyError when it is not known any more."""
    flow = flows[transaction.flow]
    return flow if transaction.refund_of is None else flow.refund


def with_finals(transaction: Transaction, shares: Mapping[str, int]) -> Transaction:
    """The transaction with only so much to become final: `shares` by tender, in minor units.

    What gives the money on, and what is kept for the buyer, gets their sum.
    """
    total = sum(shares.values())
    steps = tuple(
        step
        if step.amount is None
        else evolve(step, final_minor=shares[step.phase] if step.role is Role.TAKES else total)
        for step in transaction.steps
    )
    return evolve(transaction, steps=steps)


def as_recovered(transaction: Transaction) -> Transaction:
    """What a process may believe of a transaction it finds in the table.

    While CREATED, another process may have sent any Try since the row was written, so that no step
    may be taken for untried: a release has to cancel them all.
    """
    if transaction.state is not State.CREATED:
        return transaction
    return evolve(
        transaction,
        steps=tuple(
            evolve(step, status=StepStatus.TRYING)
            if step.status is StepStatus.UNTRIED and step.amount is not None
            else step
            for step in transaction.steps
        ),
    )


def record(draft: Draft, flow: Flow, results: Iterable[Result], now: datetime) -> Draft:
    """The draft after these calls came back: steps moved, one journal line an attempt.

    A call that never left is no attempt: the step alone tells why it waits.
    """
    transaction, entries = draft.transaction, list(draft.entries)
    sequence, steps = transaction.sequence, list(transaction.steps)
    attention = transaction.attention
    for result in (credible(transaction.state, each) for each in results):
        phase = flow.by_name[result.phase]
        index = next(i for i, step in enumerate(steps) if step.phase == result.phase)
        before = steps[index]
        steps[index] = step = answered(transaction.state, before, phase, result, now)
        if never_left(result.outcome):
            continue
        attention = needs_attention(transaction.state, step, phase, result.outcome) or attention
        sequence += 1
        entries.append(_attempt_line(transaction, sequence, result, before.attempts + 1, now))
    moved = evolve(
        transaction,
        steps=tuple(steps),
        sequence=sequence,
        attention=attention,
        try_deadline=_try_deadline(transaction, steps, flow, now),
    )
    return Draft(moved, tuple(entries), draft.events, draft.stored)


def _attempt_line(
    transaction: Transaction, sequence: int, result: Result, attempt: int, now: datetime
) -> JournalEntry:
    code, detail = _code_and_detail(result.outcome)
    return JournalEntry(
        transaction.id,
        sequence,
        now,
        EntryKind.ATTEMPT,
        transaction.state,
        transaction.state,
        phase=result.phase,
        operation=result.operation.value,
        attempt=attempt,
        outcome=outcome_name(result.outcome),
        code=code,
        detail=detail,
    )


def attempted(draft: Draft, results: Iterable[Result], now: datetime) -> Draft:
    """The draft with a journal line for each of these calls, which move no step."""
    transaction, entries = draft.transaction, list(draft.entries)
    sequence = transaction.sequence
    for result in results:
        sequence += 1
        entries.append(_attempt_line(transaction, sequence, result, 1, now))
    moved = evolve(transaction, sequence=sequence)
    return Draft(moved, tuple(entries), draft.events, draft.stored)


def late_success_undone(draft: Draft, step: Step, now: datetime) -> Draft:
    """The draft with the announcement that this step's late success was undone."""
    transaction = draft.transaction
    assert step.amount is not None, "only a step that calls a participant can be late"
    event = evolve(
        _announcement(transaction, now),
        id=event_id(transaction.id, f"{transaction.state}/{step.phase}/{transaction.sequence}"),
        amount=step.amount,
        late_phase=step.phase,
    )
    return Draft(transaction, draft.entries, (*draft.events, event), draft.stored)


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
    before = draft.transaction
    failure = failure or before.failure
    state, steps, sequence = before.state, before.steps, before.sequence
    entries = list(draft.entries)
    for event in events:
        source, state = state, fire(state, event)
        steps = tuple(entered(source, state, step, flow.by_name[step.phase]) for step in steps)
        sequence += 1
        cause = failure if event is Event.RELEASE else None
        entries.append(
            JournalEntry(
                before.id,
                sequence,
                now,
                EntryKind.TRANSITION,
                source,
                state,
                event=event.value,
                phase=cause.phase if cause else "",
                code=cause.code if cause else "",
                detail=cause.reason if cause else "",
            )
        )
    moved = evolve(
        before,
        state=state,
        sequence=sequence,
        steps=steps,
        failure=failure,
        attention=None if state in SETTLED else before.attention,
    )
    announced = flow.announce is not None and state in ANNOUNCED and state is not before.state
    announcement = (_announcement(moved, now),) if announced else ()
    return Draft(moved, tuple(entries), draft.events + announcement, draft.stored)


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
        refund_of=transaction.refund_of,
        captured_minor=transaction.captured_minor,
        refunded_minor=transaction.refunded_minor,
    )
