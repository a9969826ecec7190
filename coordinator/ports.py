"""What the engine needs from the world. Implementations live in `adapters/` and `fault_injection/`.

Each contract has one conformance suite in `tests/contract/` that runs over all implementations.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Protocol, TypeAlias

from coordinator.domain.decide import Call
from coordinator.domain.ids import TransactionId
from coordinator.domain.machine import State
from coordinator.domain.outcome import Outcome
from coordinator.domain.phase import Operation
from coordinator.domain.record import Record
from coordinator.domain.transaction import Change, JournalEntry, OutboxEvent, Transaction


class Clock(Protocol):
    """The time, and waiting for it."""

    def now(self) -> datetime:
        """The time, in UTC, with its zone."""

    async def sleep(self, seconds: float) -> None:
        """Returns after `seconds`."""

    def monotonic(self) -> float:
        """Seconds since some fixed moment: never goes back, for measuring how long things take."""


class Ids(Protocol):
    """Makes identifiers."""

    def transaction_id(self) -> TransactionId:
        """A new UUIDv7."""


class Randomness(Protocol):
    """Makes jitter."""

    def draw(self) -> float:
        """Uniform in 0..1."""


class Participant(Protocol):
    """One downstream service."""

    async def perform(
        self, transaction_id: TransactionId, call: Call, hold_until: datetime
    ) -> Outcome:
        """Makes one call, at most `call.timeout_s` long, and says what it told us.

        Never raises for anything the participant or the network did: that is Unknown. A call that
        surely never left is Unknown with `retry_after_s`.
        """


class Publisher(Protocol):
    """The broker."""

    async def publish(self, event: OutboxEvent) -> None:
        """Returns once the broker has durably taken the event. Raises PublishFailed otherwise."""


class BreakerState(StrEnum):
    """What a participant's circuit breaker lets through."""

    CLOSED = "closed"
    """Every call."""
    HALF_OPEN = "half-open"
    """A trial call, after it was open for a while."""
    OPEN = "open"
    """Nothing: the participant is taken for down."""


class ParticipantStatus(Record, frozen=True):
    """How this process gets on with one participant.

    since          when the breaker entered its state
    in_flight      calls that have left and are not answered
    waiting        calls that wait for one of `max_in_flight` places
    failures       calls in a row that failed, up to now
    last_failure   code of the last of them; empty after a success
    opens          how often the breaker opened since this process started
    retry_after_s  while it is open: until the next trial call, in seconds
    """

    name: str
    breaker: BreakerState
    since: datetime
    in_flight: int
    waiting: int
    max_in_flight: int
    failures: int = 0
    last_failure: str = ""
    opens: int = 0
    retry_after_s: float = 0.0


class GuardedParticipant(Participant, Protocol):
    """A participant behind its bound and its breaker."""

    def status(self) -> ParticipantStatus:
        """How this process gets on with it now."""


class Observer(Protocol):
    """Sees what happens, for logs and metrics. It must be quick and must not raise.

    Everything is told in the event loop's thread.
    """

    def committed(self, change: Change) -> None:
        """This change is durable."""

    def troubled(self, what: str, error: BaseException, transaction_id: str = "") -> None:
        """Something failed that will be tried again, or that is our own bug."""

    def called(
        self, participant: str, operation: Operation, outcome: Outcome, seconds: float
    ) -> None:
        """A call to a participant came back after so long."""

    def grouped(self, writes: int, seconds: float) -> None:
        """A group of so many writes was handed to the database, and came back after so long."""

    def claim_lost(self, transaction_id: TransactionId) -> None:
        """Another process holds a transaction that this one was driving."""

    def breaker_changed(self, participant: str, state: BreakerState) -> None:
        """The participant's circuit breaker is in another state than before."""

    def served(self, method: str, code: str) -> None:
        """A call of a caller was answered: `code` is the gRPC status' name, OK for success."""

    def injected(self, kind: str, place: str, transaction_id: str = "") -> None:
        """A fault of this kind was brought about here on purpose: the configuration wants it."""


class DatabaseFacts(Record, frozen=True):
    """What the database says of itself: its time, its schema's revision, and the one we need."""

    now: datetime
    revision: str
    needed: str


class Reach(StrEnum):
    """Whether a participant answers a health check."""

    SERVING = "serving"
    NOT_SERVING = "not serving"
    UNREACHABLE = "unreachable"
    NO_HEALTH_CHECK = "no health check"
    """It answers, but knows no health checks."""


class Reached(Record, frozen=True):
    """What a health check found, and more about it in one sentence; empty when it serves."""

    reach: Reach
    detail: str = ""


class Surroundings(Protocol):
    """What the service stands on, looked at afresh for an operator. Each look is short."""

    async def database(self) -> DatabaseFacts:
        """What the database says of itself. Raises StoreUnavailable."""

    async def participant(self, name: str) -> Reached:
        """Whether a participant answers now."""

    async def broker(self) -> Reached | None:
        """Whether the broker takes events now; None: there is none."""


class Committed(Record, frozen=True):
    """The change is durable."""

    transaction: Transaction


class LostRace(Record, frozen=True):
    """Somebody else changed the row, before this change or already after it. Re-read it."""


class KeyTaken(Record, frozen=True):
    """The caller used this idempotency key before; nothing was written."""

    existing: TransactionId


class OrderTaken(Record, frozen=True):
    """The order has a payment that is live or paid; nothing was written."""

    existing: TransactionId


class OrdinalTaken(Record, frozen=True):
    """Another refund of the payment was opened meanwhile; nothing was written."""


CommitResult: TypeAlias = Committed | LostRace | KeyTaken | OrderTaken | OrdinalTaken


class PaymentQuery(Record, frozen=True):
    """Filters (None or empty do not filter) and the place to go on from, newest first.

    `before` is the (created_at, id) of the last payment of the page before.
    """

    caller: str
    states: tuple[State, ...] = ()
    order_id: str = ""
    customer_id: str = ""
    merchant_id: str = ""
    created_from: datetime | None = None
    created_to: datetime | None = None
    before: tuple[datetime, TransactionId] | None = None
    limit: int = 50


class TransactionQuery(Record, frozen=True):
    """An operator's filters over every caller's payments and refunds, newest ID first.

    `before` is the ID of the last one of the page before.

    live             not settled
    attention, held  only those that need a person; only those that an operator holds
    in_state_before  in their state since before this time
    phases           with an error at an unfinished step of one of these phases
    error            the code of the attention, or of an unfinished step's last error
    """

    states: tuple[State, ...] = ()
    live: bool = False
    attention: bool = False
    held: bool = False
    in_state_before: datetime | None = None
    phases: tuple[str, ...] = ()
    error: str = ""
    caller: str = ""
    flow: str = ""
    before: TransactionId | None = None
    limit: int = 50


class Claim(Record, frozen=True):
    """Which process drives a transaction, and how long its claim still lasts, in seconds."""

    owner: str
    seconds_left: float


class Waiting(Record, frozen=True):
    """How many live transactions a phase keeps waiting with an error, and the longest's seconds."""

    count: int
    oldest_s: float


class Census(Record, frozen=True):
    """One look at all that is live. Ages are in seconds.

    oldest_s   by state: how long the longest has been in it
    attention  how many need a person, by code
    overdue    due, and claimed by nobody
    waiting    by phase
    outbox     events that are not published
    """

    by_state: Mapping[State, int]
    oldest_s: Mapping[State, float]
    attention: Mapping[str, int]
    held: int
    overdue: int
    overdue_oldest_s: float
    waiting: Mapping[str, Waiting]
    outbox: int
    outbox_oldest_s: float


class Pause(Record, frozen=True):
    """A flow that takes no new payments for now; `until` is set when Kessai opens it again."""

    flow: str
    actor: str
    reason: str
    since: datetime
    until: datetime | None = None


class Store(Protocol):
    """Where transactions live. Every method raises StoreUnavailable when the database is down.

    A method that raises it may or may not have written; the caller re-reads.
    """

    async def commit(self, change: Change) -> CommitResult:
        """The only way any state changes: compare-and-set on the row's version, all or nothing.

        Writes the transaction, its steps, its new journal lines and its outbox rows. `keep_claim`
        makes this process the claim's holder for the lease; otherwise the claim is given back.

        Also raises Overloaded for a new transaction when too many writes wait (nothing was
        written), and Bug for a change that breaks a rule of the schema.
        """

    async def get(self, transaction_id: TransactionId) -> Transaction | None:
        """The transaction as it durably stands."""

    async def find_by_key(self, caller: str, idempotency_key: str) -> Transaction | None:
        """The transaction that was created with this key."""

    async def count_live(self, caller: str, at_most: int) -> int:
        """How many payments of the caller are not settled; `at_most` when there are more."""

    async def refunds_of(self, payment_id: TransactionId) -> Sequence[Transaction]:
        """Every refund of a payment, by ordinal. Raises Bug when one of them cannot be read."""

    async def list_payments(self, query: PaymentQuery) -> Sequence[Transaction]:
        """A page, newest first by (created_at, id)."""

    async def journal(
        self, transaction_id: TransactionId, after: int, limit: int
    ) -> Sequence[JournalEntry]:
        """Journal lines with a sequence above `after`, oldest first."""

    async def claim_due(
        self, limit: int, flows: Collection[str] | None = None
    ) -> Sequence[Transaction]:
        """Claims live transactions that are due and that nobody holds, for the lease.

        Of these flows, or of every flow: what a process cannot drive it leaves to those who can.

        One conditional update on the database's clock that bumps each version, so that whoever held
        an expired claim changes nothing any more.
        """

    async def renew_claims(self, ids: Sequence[TransactionId]) -> frozenset[TransactionId]:
        """Extends this process's claims by the lease; returns those that it still has."""

    async def release_claims(self) -> int:
        """Gives back every claim of this process, due at once; returns how many there were.

        For the end of a process: what it still writes afterwards loses its race.
        """

    async def claim_of(self, transaction_id: TransactionId) -> Claim | None:
        """Who holds the transaction now; None when nobody does."""

    async def search(self, query: TransactionQuery) -> Sequence[Transaction]:
        """A page of an operator's view, newest ID first."""

    async def count(self, query: TransactionQuery, at_most: int) -> int:
        """How many `query` finds on all pages; `at_most` when there are more."""

    async def census(self) -> Census:
        """One look at all that is live."""

    async def pauses(self) -> Sequence[Pause]:
        """Every pause, by flow; those whose `until` is over as well."""

    async def pause(self, pause: Pause) -> None:
        """Pauses a flow. Replaces an earlier pause, but none of an operator's by one that ends."""

    async def unpause(self, flow: str) -> bool:
        """Ends a flow's pause; False when there was none."""

    async def claim_events(self, limit: int, lease_s: float) -> Sequence[OutboxEvent]:
        """Unpublished events nobody else holds, oldest first, only the first of a transaction."""

    async def mark_published(self, events: Sequence[OutboxEvent]) -> None:
        """These need not be published again."""

    async def ping(self) -> None:
        """Returns when the database answers."""
