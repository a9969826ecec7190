"""What is written into which column: one list per table, used by both SQL dialects.

Only the columns of `MOVING` and `STEP_MOVING` ever change; the rest of a transaction and of its
steps is fixed when it is created.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from operator import attrgetter
from typing import Any, NamedTuple

from adapters.sealing import Sealer
from coordinator.domain.errors import Bug
from coordinator.domain.ids import TransactionId
from coordinator.domain.record import evolve
from coordinator.domain.transaction import Change, Step, Transaction


class Kind(Enum):
    """How a column's values look. The value is the PostgreSQL type."""

    ID = "uuid"
    TEXT = "text"
    INTEGER = "bigint"
    BOOLEAN = "boolean"
    TIME = "timestamptz"
    BYTES = "bytea"


class Field(NamedTuple):
    """One column: how to get its value from the object that a row is made of."""

    name: str
    kind: Kind
    get: Callable[[Any], Any]


@dataclass(slots=True)
class Write:
    """One change on its way to the database.

    holder  who holds the claim afterwards; None gives it back
    token   unique for every write of every process
    """

    change: Change
    after: Transaction
    holder: str | None
    token: str

    @property
    def creates(self) -> bool:
        """The row must not exist yet."""
        return self.change.expected_version == 0

    def with_holder(self) -> Transaction:
        """The transaction as it stands when the write is durable."""
        if self.after.claimed_by == (self.holder or ""):
            return self.after
        return evolve(self.after, claimed_by=self.holder or "")


class StepRow(NamedTuple):
    """One step of one write. `wiped`: its secret is to be forgotten."""

    transaction_id: TransactionId
    step: Step
    sealed: bytes | None
    wiped: bool


def secret_context(transaction_id: str, phase: str) -> str:
    """What a sealed secret is bound to."""
    return f"{transaction_id}/{phase}"


def opened_steps(writes: Iterable[Write], sealer: Sealer) -> list[StepRow]:
    """The steps of new transactions, their secrets sealed."""
    return [
        StepRow(
            write.after.id,
            step,
            sealer.seal(step.source, secret_context(write.after.id, step.phase))
            if step.secret and step.source
            else None,
            wiped=False,
        )
        for write in writes
        for step in write.after.steps
    ]


def moved_steps(writes: Iterable[Write]) -> list[StepRow]:
    """The moved steps of transactions that exist; a secret is kept as it is or wiped."""
    return [
        StepRow(write.after.id, step, None, step.secret and not step.source)
        for write in writes
        for step in write.change.moved
    ]


def check_change(change: Change) -> None:
    """Raises Bug for a change that no sound engine makes, before it can reach its neighbours."""
    after, entries = change.after, change.entries
    if after.version != change.expected_version + 1:
        raise Bug(f"version {after.version} does not follow {change.expected_version}")
    first = after.sequence - len(entries) + 1
    if entries and (entries[0].sequence != first or entries[-1].sequence != after.sequence):
        raise Bug("the journal's sequence has a gap")
    if change.expected_version == 0 and first != 1:
        raise Bug("the journal of a new transaction starts at 1")
    if entries and entries[-1].to_state is not after.state:
        raise Bug("the journal ends in another state than the transaction")


def _part(part: str, path: str) -> Callable[[Any], Any]:
    """A field of a record that may be missing."""
    owner = attrgetter(path)

    def get(row: Any) -> Any:
        whole = owner(row)
        return None if whole is None else getattr(whole, part)

    return get


def _step_minor(row: StepRow) -> int | None:
    return None if row.step.amount is None else row.step.amount.minor


def _step_currency(row: StepRow) -> str | None:
    return None if row.step.amount is None else row.step.amount.currency


def _step_source(row: StepRow) -> str:
    return "" if row.step.secret else row.step.source


def _after(name: str, kind: Kind) -> Field:
    return Field(name, kind, attrgetter(f"after.{name}"))


def _plain(name: str, kind: Kind) -> Field:
    return Field(name, kind, attrgetter(name))


def _step(name: str, kind: Kind) -> Field:
    return Field(name, kind, attrgetter(f"step.{name}"))


def _failure_fields(path: str) -> tuple[Field, ...]:
    return tuple(
        Field(f"failure_{part}", Kind.TEXT, _part(part, path))
        for part in ("code", "reason", "phase")
    )


def _attention_fields(path: str) -> tuple[Field, ...]:
    return tuple(
        Field(f"attention_{part}", Kind.TEXT, _part(part, path)) for part in ("code", "reason")
    )


MOVING: tuple[Field, ...] = (
    _after("id", Kind.ID),
    _after("state", Kind.TEXT),
    _after("version", Kind.INTEGER),
    _after("sequence", Kind.INTEGER),
    *_failure_fields("after.failure"),
    *_attention_fields("after.attention"),
    _after("updated_at", Kind.TIME),
    _after("state_since", Kind.TIME),
    _after("try_deadline", Kind.TIME),
    _after("reserved_until", Kind.TIME),
    _after("due_at", Kind.TIME),
    Field("claimed_by", Kind.TEXT, attrgetter("holder")),
    Field("written_by", Kind.TEXT, attrgetter("token")),
    Field("capture_key", Kind.TEXT, _part("idempotency_key", "after.capture")),
    Field("capture_request", Kind.TEXT, _part("request", "after.capture")),
    _after("refunded_minor", Kind.INTEGER),
    Field("held_by", Kind.TEXT, _part("actor", "after.hold")),
    Field("held_reason", Kind.TEXT, _part("reason", "after.hold")),
)
"""Columns of `transactions` that every commit writes, from a Write."""

FIXED: tuple[Field, ...] = (
    _after("caller", Kind.TEXT),
    _after("idempotency_key", Kind.TEXT),
    _after("request", Kind.TEXT),
    _after("flow", Kind.TEXT),
    Field("amount_minor", Kind.INTEGER, attrgetter("after.amount.minor")),
    Field("currency", Kind.TEXT, attrgetter("after.amount.currency")),
    _after("merchant_id", Kind.TEXT),
    _after("order_id", Kind.TEXT),
    _after("customer_id", Kind.TEXT),
    _after("created_at", Kind.TIME),
    _after("manual", Kind.BOOLEAN),
    Field("payment_id", Kind.ID, _part("payment_id", "after.refund_of")),
    Field("ordinal", Kind.INTEGER, _part("ordinal", "after.refund_of")),
)
"""Columns of `transactions` that only the first commit writes, from a Write."""

STEP_KEY: tuple[Field, ...] = (
    _plain("transaction_id", Kind.ID),
    _step("phase", Kind.TEXT),
)
STEP_MOVING: tuple[Field, ...] = (
    _step("status", Kind.TEXT),
    _step("attempts", Kind.INTEGER),
    _step("next_attempt_at", Kind.TIME),
    _step("last_error", Kind.TEXT),
    _step("refusal_code", Kind.TEXT),
    _step("refusal_reason", Kind.TEXT),
    _step("reference", Kind.TEXT),
    _step("final_minor", Kind.INTEGER),
    Field("next_action_kind", Kind.TEXT, _part("kind", "step.next_action")),
    Field("next_action_url", Kind.TEXT, _part("url", "step.next_action")),
)
STEP_WIPED = Field("wiped", Kind.BOOLEAN, attrgetter("wiped"))
STEP_FIXED: tuple[Field, ...] = (
    _step("role", Kind.TEXT),
    _step("position", Kind.INTEGER),
    Field("amount_minor", Kind.INTEGER, _step_minor),
    Field("currency", Kind.TEXT, _step_currency),
    Field("source", Kind.TEXT, _step_source),
    _step("secret", Kind.BOOLEAN),
    _plain("sealed", Kind.BYTES),
)
"""Columns of `steps`, from a StepRow."""

JOURNAL: tuple[Field, ...] = (
    _plain("transaction_id", Kind.ID),
    _plain("sequence", Kind.INTEGER),
    _plain("at", Kind.TIME),
    _plain("kind", Kind.TEXT),
    _plain("from_state", Kind.TEXT),
    _plain("to_state", Kind.TEXT),
    _plain("event", Kind.TEXT),
    _plain("phase", Kind.TEXT),
    _plain("operation", Kind.TEXT),
    _plain("attempt", Kind.INTEGER),
    _plain("outcome", Kind.TEXT),
    _plain("code", Kind.TEXT),
    _plain("detail", Kind.TEXT),
    _plain("actor", Kind.TEXT),
    _plain("evidence", Kind.TEXT),
)
"""Columns of `journal`, from a JournalEntry."""

OUTBOX: tuple[Field, ...] = (
    _plain("id", Kind.ID),
    _plain("transaction_id", Kind.ID),
    _plain("sequence", Kind.INTEGER),
    _plain("state", Kind.TEXT),
    _plain("at", Kind.TIME),
    _plain("caller", Kind.TEXT),
    _plain("flow", Kind.TEXT),
    Field("amount_minor", Kind.INTEGER, attrgetter("amount.minor")),
    Field("currency", Kind.TEXT, attrgetter("amount.currency")),
    _plain("merchant_id", Kind.TEXT),
    _plain("order_id", Kind.TEXT),
    _plain("customer_id", Kind.TEXT),
    *_failure_fields("failure"),
    Field("payment_id", Kind.ID, _part("payment_id", "refund_of")),
    Field("ordinal", Kind.INTEGER, _part("ordinal", "refund_of")),
    _plain("late_phase", Kind.TEXT),
    _plain("captured_minor", Kind.INTEGER),
    _plain("refunded_minor", Kind.INTEGER),
    *_attention_fields("attention"),
)
"""Columns of `outbox`, from an OutboxEvent."""
