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


class EntryKind(StrEnum):
    """What a journal line records."""

    TRANSITION = "transition"
    ATTEMPT = "attempt"


class JournalEntry(Record, frozen=True):
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


class OutboxEvent(Record, frozen=True):
    """One announcement: `transaction` as it was when it reached `state`.

    late_phase  when set: not the state is announced, but that this phase's success, which came
                after the release, was undone
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
