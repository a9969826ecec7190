"""What is written beside a transaction and never changes: journal lines and announcements."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from coordinator.domain.ids import TransactionId
from coordinator.domain.machine import State
from coordinator.domain.money import Money
from coordinator.domain.record import Record


class Failure(Record, frozen=True):
    """Why a transaction is released.

    `phase` is the one that refused or did not answer in time; empty when it was neither.
    """

    code: str
    reason: str
    phase: str = ""


class RefundOf(Record, frozen=True):
    """Which payment a refund gives back, and the how-manieth of its refunds it is (1, 2, …)."""

    payment_id: TransactionId
    ordinal: int


class Hold(Record, frozen=True):
    """Which operator keeps a live transaction from being driven, and why."""

    actor: str
    reason: str


class Attention(Record, frozen=True):
    """Why a live transaction needs a person."""

    code: str
    reason: str


class EntryKind(StrEnum):
    """What a journal line records."""

    TRANSITION = "transition"
    ATTEMPT = "attempt"
    OPERATOR = "operator"


class Act(StrEnum):
    """What an operator can do to one transaction."""

    HOLD = "hold"
    UNHOLD = "unhold"
    RESUME = "resume"
    CANCEL = "cancel"
    RESOLVE = "resolve"


class JournalEntry(Record, frozen=True):
    """One line of the journal; see `kessai.payments.v1.JournalEntry` for the fields.

    Of an operator's act: `event` is the act, `detail` the operator's reason.
    """

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
    actor: str = ""
    evidence: str = ""


class OutboxEvent(Record, frozen=True):
    """One announcement: `transaction` as it was when it reached `state`.

    late_phase  when set: not the state is announced, but that this phase's success, which came
                after the release, was undone
    attention   when set: not the state is announced, but that it needs a person
    """

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
    refund_of: RefundOf | None = None
    late_phase: str = ""
    captured_minor: int = 0
    refunded_minor: int = 0
    attention: Attention | None = None
