"""The parts of a simulated world that fail: a store, a participant and a broker.

What each of them does, and the fault it met, is in the trace.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Protocol, TypeVar

import sqlalchemy as sa

from adapters.postgres.fields import Write
from adapters.postgres.group_writer import WriteStatements
from adapters.sealing import Sealer
from coordinator.domain.decide import Call
from coordinator.domain.errors import PublishFailed, StoreUnavailable
from coordinator.domain.ids import TransactionId
from coordinator.domain.outcome import Outcome
from coordinator.domain.transaction import Change, OutboxEvent, Transaction
from coordinator.ports import Clock, CommitResult
from fault_injection.coverage.tally import BROKER, DIED, GIVEN_UP, STORE, Attempt, Tally
from fault_injection.databases import CountingStore, Database
from fault_injection.lives import alive
from fault_injection.model_participant import Fault, ModelParticipant, Script
from fault_injection.simulation.database_faults import READ
from fault_injection.simulation.durable import Durable, Witness
from fault_injection.simulation.swarm import BROKER_AWAY, DATABASE_AWAY, fault_name
from fault_injection.simulation.trace import Trace
from fault_injection.sweep.places import write_fault
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


_CAPITAL = re.compile(r"[A-Z]")


class Fate(Protocol):
    """What decides when something fails, and hears of what happens."""

    trace: Trace
    tally: Tally
    durable: Durable
    flow_labels: dict[TransactionId, str]
    """What cells call the flow of each transaction that is known."""

    def subject(self, transaction: Transaction) -> str:
        """What the trace calls a transaction that is being committed."""

    def subject_of(self, transaction_id: TransactionId) -> str:
        """The same by its ID."""

    def is_away(self, kind: str) -> bool:
        """Whether the database, or the broker, is away now."""

    def database_fault(self, point: str) -> None:
        """Raises what befalls a group of writes at this point, if anything."""

    def committing(self, store: CountingStore) -> None:
        """A commit is about to be handed over. Its process may die of it."""

    def committed(self, store: CountingStore) -> None:
        """A commit came back. Its process may die of it."""


class SimulatedStore(CountingStore):
    """The store of one simulated process, with faults, and its commits in the trace."""

    def __init__(self, fate: Fate, owner: str, database: Database, clock: Clock) -> None:
        self._won: list[Write] = []
        super().__init__(
            database,
            owner=owner,
            sealer=SEALER,
            clock=clock,
            lease_s=LEASE_S,
            faults=self._fault,
        )
        self._fate, self._database, self._time = fate, database, clock
        self._connect = self._reading  # what writes was given the database's own
        self._under_way: dict[Attempt, None] = {}
        self._latest: Attempt | None = None

    def witnessed(self, statements: WriteStatements) -> WriteStatements:
        """See `CountingStore`."""
        return Witness(statements, self._won)

    def meets(self, fault: str) -> None:
        """The fault befalls the commit that is being handed over, or has just come back."""
        if self._latest is not None:
            self._latest.meets(fault)

    async def commit(self, change: Change) -> CommitResult:
        """See `Store.commit`."""
        after = change.after
        subject = self._fate.subject(after)
        flow = self._fate.flow_labels[after.id]
        attempt = self._fate.tally.begins(flow, STORE, f"commit {after.state}", unended=DIED)
        self._latest, self._under_way[attempt] = attempt, None
        outcome = ""
        try:
            result = await self._commit(change, subject)
            self._latest = attempt
            self._fate.committed(self)
            await alive()
            outcome = _words(type(result).__name__)
        except StoreUnavailable:
            outcome = "unavailable"
            raise
        finally:
            del self._under_way[attempt]
            attempt.ends(outcome)
        return result

    async def _commit(self, change: Change, subject: str) -> CommitResult:
        self._fate.committing(self)
        await alive()
        after = change.after
        about = f"{self._owner} commit v{after.version} {after.state}"
        self._fate.trace.add(subject, about)
        try:
            result = await super().commit(change)
        except BaseException as error:
            self._fate.trace.add(subject, f"{about}: {type(error).__name__}")
            raise
        self._fate.trace.add(subject, f"{about}: {type(result).__name__}")
        return result

    async def claim_due(
        self, limit: int, flows: Collection[str] | None = None
    ) -> Sequence[Transaction]:
        """See `Store.claim_due`. Where nothing can be due it is not asked: that is most of time."""
        claimed = await super().claim_due(limit, flows) if self._may_find(_DUE) else []
        self._fate.durable.claimed(claimed)
        return claimed

    async def claim_events(self, limit: int, lease_s: float) -> Sequence[OutboxEvent]:
        """See `Store.claim_events`; as in `claim_due`."""
        return await super().claim_events(limit, lease_s) if self._may_find(_UNPUBLISHED) else []

    def _may_find(self, statement: str) -> bool:
        if self._fate.is_away(DATABASE_AWAY):
            return True  # it fails
        now = self._time.now().replace(tzinfo=None).isoformat(" ", "microseconds")
        return bool(self._database.rows(statement, now, now))

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        self._fate.database_fault(READ)
        with self._database.connect() as connection:
            yield connection

    def _unit(self, work: Callable[[sa.Connection], T]) -> T:
        if self._fate.is_away(DATABASE_AWAY):
            raise StoreUnavailable("the database is away")
        return super()._unit(work)

    def _fault(self, point: str) -> None:
        if point == "before_write":
            self._won.clear()
        elif point == "after_commit":
            self._fate.durable.committed(self._won)
        try:
            self._fate.database_fault(point)
        except Exception as error:
            for attempt in self._under_way:
                attempt.meets(write_fault(point, error))
            raise


class SimulatedParticipant(ModelParticipant):
    """A participant whose calls are in the trace; no Confirm may come before its decision."""

    def __init__(self, fate: Fate, clock: Clock, script: Script) -> None:
        super().__init__(clock, self._befalls)
        self._fate, self._asked = fate, script
        self._leaving: Attempt | None = None

    def _befalls(self, transaction_id: TransactionId, call: Call, attempt: int) -> Fault | None:
        fault = self._asked(transaction_id, call, attempt)
        assert self._leaving is not None, "a call has just left"
        if fault is not None:
            self._leaving.meets(fault_name(fault))
        return fault

    async def perform(
        self, transaction_id: TransactionId, call: Call, hold_until: datetime
    ) -> Outcome:
        """See `Participant.perform`."""
        subject = self._fate.subject_of(transaction_id)
        about = f"{call.phase.name} {call.operation.value}"
        self._fate.durable.leaves(transaction_id, call)
        self._fate.trace.add(subject, f"{about} leaves")
        flow, operation = self._fate.flow_labels[transaction_id], call.operation.value
        attempt = self._fate.tally.begins(flow, call.phase.name, operation, unended=GIVEN_UP)
        self._leaving = attempt
        try:
            outcome = await super().perform(transaction_id, call, hold_until)
        except asyncio.CancelledError:
            self._fate.trace.add(subject, f"{about} is given up")
            attempt.ends()
            raise
        attempt.ends(_words(type(outcome).__name__))
        self._fate.trace.add(subject, f"{about} -> {outcome!r}")
        return outcome

    def _apply(self, transaction_id: TransactionId, call: Call, fault: Fault | None) -> Outcome:
        outcome = super()._apply(transaction_id, call, fault)
        place = (transaction_id, call.phase.name)
        self._fate.durable.arrived(self, place, call.operation)
        return outcome


class SimulatedPublisher(RecordingPublisher):
    """A broker that is away now and then."""

    def __init__(self, fate: Fate) -> None:
        super().__init__()
        self._fate = fate

    async def publish(self, event: OutboxEvent) -> None:
        """See `Publisher.publish`."""
        flow = self._fate.flow_labels[event.transaction_id]
        attempt = self._fate.tally.begins(flow, BROKER, f"publish {event.state}", unended=DIED)
        if self._fate.is_away(BROKER_AWAY):
            attempt.meets(BROKER_AWAY)
            attempt.ends("not taken")
            raise PublishFailed("the broker is away")
        attempt.ends("taken")
        self._fate.durable.sent(event)
        await super().publish(event)
        subject = self._fate.subject_of(event.transaction_id)
        self._fate.trace.add(subject, f"published {event.state}")


def _words(name: str) -> str:
    """`LostRace` as `lost race`."""
    return _CAPITAL.sub(r" \g<0>", name).strip().lower()
