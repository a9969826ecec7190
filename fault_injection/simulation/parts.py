"""The parts of a simulated world that fail: a store, a participant and a broker.

What each of them does, and the fault it met, is in the trace.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Protocol, TypeVar

import sqlalchemy as sa

from adapters.postgres.trouble import ConnectionLost
from adapters.sealing import Sealer
from coordinator.domain.decide import Call
from coordinator.domain.errors import PublishFailed, StoreUnavailable
from coordinator.domain.ids import TransactionId
from coordinator.domain.outcome import Outcome
from coordinator.domain.transaction import Change, OutboxEvent, Transaction
from coordinator.ports import Clock, CommitResult
from fault_injection.databases import CountingStore, Database
from fault_injection.model_participant import ModelParticipant, Script
from fault_injection.simulation.swarm import BROKER_AWAY, DATABASE_AWAY
from fault_injection.simulation.trace import Trace
from fault_injection.world import LEASE_S, RecordingPublisher

T = TypeVar("T")

SEALER = Sealer([b"s" * 32])
_DUE = (
    "SELECT 1 FROM transactions WHERE due_at <= ?"
    " AND (claimed_until IS NULL OR claimed_until <= ?) LIMIT 1"
)
_UNPUBLISHED = (
    "SELECT 1 FROM outbox WHERE published_at IS NULL AND at <= ?"
    " AND (claimed_until IS NULL OR claimed_until <= ?) LIMIT 1"
)


class Fate(Protocol):
    """What decides when something fails, and hears of what happens."""

    trace: Trace

    def subject(self, transaction: Transaction) -> str:
        """What the trace calls a transaction that is being committed."""

    def subject_of(self, transaction_id: TransactionId) -> str:
        """The same by its ID."""

    def is_away(self, kind: str) -> bool:
        """Whether the database, or the broker, is away now."""

    def database_fault(self, point: str) -> None:
        """Raises what befalls a group of writes at this point, if anything."""

    def committing(self, store: CountingStore) -> None:
        """A commit is about to be handed over. Raises CancelledError when its process dies."""

    def committed(self, store: CountingStore) -> None:
        """A commit came back."""

    def check_decided(self, transaction_id: TransactionId, call: Call) -> None:
        """A call leaves; it must not leave before its decision is durable."""


class SimulatedStore(CountingStore):
    """The store of one simulated process, with faults, and its commits in the trace."""

    def __init__(self, fate: Fate, owner: str, database: Database, clock: Clock) -> None:
        super().__init__(
            database,
            owner=owner,
            sealer=SEALER,
            clock=clock,
            lease_s=LEASE_S,
            faults=self._fault,
        )
        self._fate, self._database, self._time = fate, database, clock
        self.dead = False

    async def commit(self, change: Change) -> CommitResult:
        """See `Store.commit`."""
        self._fate.committing(self)
        after = change.after
        subject = self._fate.subject(after)
        about = f"{self._owner} commit v{after.version} {after.state}"
        self._fate.trace.add(subject, about)
        try:
            result = await super().commit(change)
        except BaseException as error:
            self._fate.trace.add(subject, f"{about}: {type(error).__name__}")
            raise
        self._fate.trace.add(subject, f"{about}: {type(result).__name__}")
        self._fate.committed(self)
        return result

    async def claim_due(
        self, limit: int, flows: Collection[str] | None = None
    ) -> Sequence[Transaction]:
        """See `Store.claim_due`. Where nothing can be due it is not asked: that is most of time."""
        return await super().claim_due(limit, flows) if self._may_find(_DUE) else []

    async def claim_events(self, limit: int, lease_s: float) -> Sequence[OutboxEvent]:
        """See `Store.claim_events`; as in `claim_due`."""
        return await super().claim_events(limit, lease_s) if self._may_find(_UNPUBLISHED) else []

    def _may_find(self, statement: str) -> bool:
        if self.dead or self._fate.is_away(DATABASE_AWAY):
            return True  # it fails
        now = self._time.now().replace(tzinfo=None).isoformat(" ", "microseconds")
        return bool(self._database.rows(statement, now, now))

    def _unit(self, work: Callable[[sa.Connection], T]) -> T:
        if self.dead or self._fate.is_away(DATABASE_AWAY):
            raise StoreUnavailable("the database is away")
        return super()._unit(work)

    def _fault(self, point: str) -> None:
        if self.dead and point == "before_write":
            raise ConnectionLost
        self._fate.database_fault(point)


class SimulatedParticipant(ModelParticipant):
    """A participant whose calls are in the trace; no Confirm may come before its decision."""

    def __init__(self, fate: Fate, clock: Clock, script: Script) -> None:
        super().__init__(clock, script)
        self._fate = fate

    async def perform(
        self, transaction_id: TransactionId, call: Call, hold_until: datetime
    ) -> Outcome:
        """See `Participant.perform`."""
        subject = self._fate.subject_of(transaction_id)
        about = f"{call.phase.name} {call.operation.value}"
        self._fate.check_decided(transaction_id, call)
        self._fate.trace.add(subject, f"{about} leaves")
        try:
            outcome = await super().perform(transaction_id, call, hold_until)
        except asyncio.CancelledError:
            self._fate.trace.add(subject, f"{about} is given up")
            raise
        self._fate.trace.add(subject, f"{about} -> {outcome!r}")
        return outcome


class SimulatedPublisher(RecordingPublisher):
    """A broker that is away now and then."""

    def __init__(self, fate: Fate) -> None:
        super().__init__()
        self._fate = fate

    async def publish(self, event: OutboxEvent) -> None:
        """See `Publisher.publish`."""
        if self._fate.is_away(BROKER_AWAY):
            raise PublishFailed("the broker is away")
        await super().publish(event)
        subject = self._fate.subject_of(event.transaction_id)
        self._fate.trace.add(subject, f"published {event.state}")
