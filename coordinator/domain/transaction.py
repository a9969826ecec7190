"""A transaction as it stands, and what one commit makes of it.

Values are immutable. What the engine wants to make durable is one `Change`: the transaction as it
shall be, with the journal lines and outbox rows that belong to the same commit.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from coordinator.domain.entries import (
    Attention,
    EntryKind,
    Failure,
    Hold,
    JournalEntry,
    OutboxEvent,
    RefundOf,
)
from coordinator.domain.flow import Flow
from coordinator.domain.ids import TransactionId
from coordinator.domain.machine import (
    CANCELLABLE,
    RELEASED,
    SETTLED,
    State,
)
from coordinator.domain.money import Money
from coordinator.domain.phase import Role
from coordinator.domain.record import Record, evolve
from coordinator.domain.step import (
    MAY_HOLD,
    Result,
    Step,
    StepStatus,
)

__all__ = [
    "MAY_HOLD",
    "Attention",
    "Capture",
    "Change",
    "Draft",
    "EntryKind",
    "Failure",
    "Hold",
    "JournalEntry",
    "OutboxEvent",
    "RefundOf",
    "Result",
    "Step",
    "StepStatus",
    "Tender",
    "Transaction",
    "as_recovered",
    "flow_of",
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
    state_since     when it came into its state
    hold            the operator's hold that keeps it from being driven; None without one
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
    state_since: datetime
    try_deadline: datetime
    reserved_until: datetime
    due_at: datetime | None
    claimed_by: str = ""
    manual: bool = False
    capture: Capture | None = None
    refunded_minor: int = 0
    refund_of: RefundOf | None = None
    hold: Hold | None = None

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
        """It waits for its caller, its customer, an operator, or nobody at all."""
        reserved = self.state is State.RESERVED and self.manual
        asked = self.pending and any(step.next_action is not None for step in self.steps)
        return self.settled or reserved or asked or self.hold is not None

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
