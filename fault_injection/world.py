"""A whole coordinator in one thread: real engine, phases, flows and store code, on virtual time.

Use inside `virtual_time.run`. A crash drops everything the process had in memory; `restart` builds
a new coordinator over the same database and the same participants.
"""

from __future__ import annotations

import asyncio
import copy
import itertools
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Self, TypeVar

from adapters.guarded_participant import Guard, GuardedParticipant
from adapters.memory import MemoryPublisher
from adapters.sealing import Sealer
from coordinator.domain.ids import TransactionId
from coordinator.domain.money import Money
from coordinator.domain.outcome import Outcome
from coordinator.domain.pausing import PausePolicy
from coordinator.domain.phase import Operation
from coordinator.domain.transaction import Change, OutboxEvent, Tender, Transaction, flow_of
from coordinator.engine.accept import Accept, Item, NewPayment, OrderConflict
from coordinator.engine.cancel import Cancel
from coordinator.engine.capture import CapturePayment
from coordinator.engine.drive import Driver
from coordinator.engine.intake import Intake
from coordinator.engine.limits import CallerLimits, Limits
from coordinator.engine.operate.cancel import CancelByOperator
from coordinator.engine.operate.desk import Desk
from coordinator.engine.operate.explain import Explain
from coordinator.engine.operate.hold import Hold, Unhold
from coordinator.engine.operate.resolve import Resolve
from coordinator.engine.operate.resume import Resume
from coordinator.engine.recover import Recover
from coordinator.engine.refund import OpenRefund
from coordinator.engine.relay import Relay
from coordinator.engine.renew import Renew
from coordinator.engine.report import Report
from coordinator.ports import BreakerState, Clock
from coordinator.telemetry import AlsoCommitted
from fault_injection.databases import CountingStore, Database, Sqlite
from fault_injection.invariants import Scene
from fault_injection.lives import Life, outside
from fault_injection.model_participant import ModelParticipant, Script, no_faults
from fault_injection.seeded import SeededIds, SeededRandomness
from fault_injection.virtual_time import VirtualClock
from phases.flows import FLOW_ROWS, bind_flows
from phases.registry import PHASES

T = TypeVar("T")

FLOWS = bind_flows(FLOW_ROWS, PHASES)
MAX_IN_FLIGHT = 1000
LEASE_S = 30.0
RECOVER_EVERY_S = 5.0
LIMIT_S = 3600.0
"""The emergency brake: longer than any outage that the tests inject, and every backoff."""


class Crash(SystemExit):
    """The process dies here. Not an Exception: no handler may survive it."""


@dataclass
class Recorder:
    """An `Observer` that remembers; unexpected trouble is for the test to look at."""

    troubles: list[tuple[str, str]] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    calls: list[tuple[str, Operation, Outcome, float]] = field(default_factory=list)
    groups: list[tuple[int, float]] = field(default_factory=list)
    lost: list[TransactionId] = field(default_factory=list)
    breakers: list[tuple[str, BreakerState]] = field(default_factory=list)
    answers: list[tuple[str, str]] = field(default_factory=list)
    injections: list[tuple[str, str, str]] = field(default_factory=list)

    def committed(self, change: Change) -> None:
        """Remembers the change."""
        self.changes.append(change)

    def troubled(self, what: str, error: BaseException, transaction_id: str = "") -> None:
        """Remembers the trouble."""
        self.troubles.append((what, f"{type(error).__name__}: {error} {transaction_id}"))

    def called(
        self, participant: str, operation: Operation, outcome: Outcome, seconds: float
    ) -> None:
        """Remembers the call."""
        self.calls.append((participant, operation, outcome, seconds))

    def grouped(self, writes: int, seconds: float) -> None:
        """Remembers the group."""
        self.groups.append((writes, seconds))

    def claim_lost(self, transaction_id: TransactionId) -> None:
        """Remembers the claim."""
        self.lost.append(transaction_id)

    def breaker_changed(self, participant: str, state: BreakerState) -> None:
        """Remembers the breaker's new state."""
        self.breakers.append((participant, state))

    def served(self, method: str, code: str) -> None:
        """Remembers the answer."""
        self.answers.append((method, code))

    def injected(self, kind: str, place: str, transaction_id: str = "") -> None:
        """Remembers the fault."""
        self.injections.append((kind, place, transaction_id))


class RecordingPublisher(MemoryPublisher):
    """A broker that also remembers the events themselves, without duplicates."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[OutboxEvent] = []

    async def publish(self, event: OutboxEvent) -> None:
        """See `Publisher.publish`."""
        new = event.id not in self.published
        await super().publish(event)
        if new:
            self.events.append(event)


class LivingDriver(Driver):
    """A driver whose tasks end with the life of its process, whoever made it start them."""

    life: Life

    def _task(
        self, transaction_id: TransactionId, run: Coroutine[Any, Any, None]
    ) -> asyncio.Task[None]:
        task = self.life.start(run, transaction_id)
        task.add_done_callback(self._ended)
        return task


class World:
    """One database, model participants, one broker, and at any time at most one coordinator."""

    def __init__(
        self,
        script: Script | None = None,
        seed: int = 0,
        database: Callable[[Clock], Database] = Sqlite,
    ) -> None:
        self.owner = "simulated"
        self.clock: Clock = VirtualClock()
        self.observer = Recorder()
        self.ids = SeededIds()
        self.randomness = SeededRandomness(seed)
        self.publisher = RecordingPublisher()
        self.participants = {
            name: ModelParticipant(self.clock, script or no_faults)
            for name in sorted({phase.participant for phase in PHASES.values()} - {""})
        }
        self.database = database(self.clock)
        self.store = self._new_store(self.owner)
        self.limits: dict[str, CallerLimits] = {}
        self.guard = Guard()
        self.pausing: PausePolicy | None = PausePolicy()
        self._revival: asyncio.Task[None] | None = None
        self.crashes = 0

    def _new_store(self, owner: str) -> CountingStore:
        return CountingStore(
            self.database,
            owner=owner,
            sealer=Sealer([b"s" * 32]),
            clock=self.clock,
            lease_s=LEASE_S,
        )

    def beside(self, owner: str) -> Self:
        """Another coordinator with a name of its own, over the same database and participants."""
        other = copy.copy(self)
        other.owner = owner
        other.store = self._new_store(owner)
        other.restart()
        return other

    async def start(self) -> None:
        """Opens the database and starts a coordinator."""
        await self.store.start()
        self.restart()

    async def close(self) -> None:
        """Stops everything."""
        if not self.life.over:
            await self.driver.drain(0)
        await self.store.close()
        self.database.close()

    def restart(self) -> None:
        """A new coordinator process over the same database and participants."""
        self.guarded = {
            name: GuardedParticipant(
                name, participant, self.guard, clock=self.clock, observer=self.observer
            )
            for name, participant in self.participants.items()
        }
        self.intake = Intake(
            store=self.store, clock=self.clock, observer=self.observer, policy=self.pausing
        )
        self.life = Life(self.owner)
        self.driver = LivingDriver(
            store=self.store,
            participants=self.guarded,
            flows=FLOWS,
            clock=self.clock,
            randomness=self.randomness,
            observer=AlsoCommitted(self.observer, self.intake.committed),
            owner=self.owner,
            patience_s=1.0,
        )
        self.driver.life = self.life
        self.cancel = Cancel(
            store=self.store,
            driver=self.driver,
            flows=FLOWS,
            clock=self.clock,
        )
        self.accept = Accept(
            store=self.store,
            driver=self.driver,
            cancel=self.cancel,
            flows=FLOWS,
            clock=self.clock,
            ids=self.ids,
            max_amount_minor=10**9,
            limits=Limits(self.limits, store=self.store, clock=self.clock),
            intake=self.intake,
        )
        self.capture = CapturePayment(
            store=self.store, driver=self.driver, flows=FLOWS, clock=self.clock
        )
        self.refund = OpenRefund(
            store=self.store, driver=self.driver, flows=FLOWS, clock=self.clock, ids=self.ids
        )
        self.report = Report(
            store=self.store,
            driver=self.driver,
            participants=self.guarded,
            flows=FLOWS,
            clock=self.clock,
            observer=self.observer,
        )
        desk = Desk(store=self.store, driver=self.driver, flows=FLOWS, clock=self.clock)
        self.explain = Explain(store=self.store, desk=desk)
        self.resume = Resume(desk)
        self.hold = Hold(desk)
        self.unhold = Unhold(desk)
        self.operator_cancel = CancelByOperator(desk)
        self.resolve = Resolve(desk=desk, participants=self.participants)
        self.recover = Recover(
            store=self.store,
            driver=self.driver,
            flows=FLOWS,
            max_in_flight=MAX_IN_FLIGHT,
            clock=self.clock,
        )
        self.renew = Renew(store=self.store, driver=self.driver, lease_s=LEASE_S)
        self.relay = Relay(store=self.store, publisher=self.publisher, observer=self.observer)

    async def crash(self) -> None:
        """The process dies: what it had in memory vanishes, as its connections to the database do.

        The database and the participants stay.
        """
        self._die()

    def _die(self) -> None:
        self.life.end()
        before, self.store = self.store, self._new_store(self.owner)
        for hook in ("before_commit", "after_commit"):
            setattr(self.store, hook, getattr(before, hook))

    def crash_at(self, number: int, *, after: bool) -> None:
        """Kills the process before (or just after) its n-th commit, and starts another one."""
        commits = itertools.count(1)

        def maybe_crash(_change: Change) -> None:
            if next(commits) == number:
                self.crashes += 1
                self._die()
                self._revival = asyncio.create_task(self._revive(), context=outside())

        setattr(self.store, "after_commit" if after else "before_commit", maybe_crash)

    async def _revive(self) -> None:
        self.restart()

    async def call(self, ask: Callable[[], Awaitable[T]]) -> T:
        """What a caller does: asks, and asks again when the process died before it answered."""
        while True:
            asked = await self.life.ask(ask)
            if asked is not None and not asked.cancelled():
                return asked.result()
            if self._revival is not None:
                await self._revival

    async def until_rest(self, transaction_id: TransactionId) -> Transaction:
        """Like `until_settled`, but a reserved payment that waits to be captured is enough."""
        return await self._until(transaction_id, lambda found: found.rests and not found.pending)

    async def until_settled(self, transaction_id: TransactionId) -> Transaction:
        """Runs recovery until the transaction is settled and every late delivery has arrived.

        Gives up after LIMIT_S of virtual time; that it is not settled then is for a checker to say.
        """
        found = await self._until(transaction_id, lambda found: found.settled)
        for participant in self.participants.values():
            await participant.settled()
        return found

    async def _until(
        self, transaction_id: TransactionId, enough: Callable[[Transaction], bool]
    ) -> Transaction:
        end = self.clock.now() + timedelta(seconds=LIMIT_S)
        while True:
            found = await self.store.get(transaction_id)
            assert found is not None
            if enough(found) or self.clock.now() >= end:
                return found
            await self.renew.run_once()
            await self.recover.run_once()
            await self.clock.sleep(RECOVER_EVERY_S)

    async def scene(self, transaction_id: TransactionId) -> Scene:
        """Everything that is known of a transaction."""
        found = await self.store.get(transaction_id)
        assert found is not None
        journal = await self.store.journal(transaction_id, 0, 10_000)
        while await self.relay.run_once():
            pass
        events = [
            event for event in self.publisher.events if event.transaction_id == transaction_id
        ]
        refunds = await self.store.refunds_of(transaction_id)
        flow = flow_of(FLOWS, found)
        return Scene(found, flow, journal, events, self.participants, refunds)


def payment(
    flow: str = "points_and_card",
    key: str = "key-1",
    *,
    amount: int = 1000,
    order_id: str = "",
    on_conflict: OrderConflict = OrderConflict.REJECT,
    caller: str = "shop",
    manual: bool = False,
    reservation_s: float | None = None,
) -> NewPayment:
    """A valid payment of `amount` yen over every tender of the flow."""
    takers = FLOWS[flow].takers
    parts = [amount // len(takers)] * len(takers)
    parts[0] += amount - sum(parts)
    return NewPayment(
        caller=caller,
        idempotency_key=key,
        flow=flow,
        amount=Money(amount, "JPY"),
        tenders=tuple(
            Tender(phase.name, f"source-of-{phase.name}", Money(part, "JPY"))
            for phase, part in zip(takers, parts, strict=True)
        ),
        items=tuple(Item(phase.name, f"item-of-{phase.name}") for phase in FLOWS[flow].keepers),
        merchant_id="shop-1",
        order_id=order_id,
        order_conflict=on_conflict,
        manual=manual,
        reservation_s=reservation_s,
    )
