"""The world of a random run: faults of every kind, crashes, and one or two coordinators.

Each coordinator has a name of its own, its own connections to the one database, and background
loops. Callers ask whoever is there, and ask again when nobody answered.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, TypeVar

from adapters.guarded_participant import Guard
from adapters.postgres.trouble import ConnectionLost
from coordinator.domain.decide import Call
from coordinator.domain.errors import (
    FlowPaused,
    LostTheRace,
    Overloaded,
    StoreUnavailable,
)
from coordinator.domain.ids import TransactionId
from coordinator.domain.machine import SETTLED, State
from coordinator.domain.transaction import Transaction, flow_of
from coordinator.engine.drive import Driver
from coordinator.engine.recover import Recover
from coordinator.engine.relay import Relay
from coordinator.engine.renew import Renew
from coordinator.ports import Clock
from fault_injection.coverage.tally import Tally, flow_label
from fault_injection.databases import CountingStore, Database, Sqlite
from fault_injection.invariants import Scene, Violation
from fault_injection.lives import outside
from fault_injection.model_participant import Fault, ModelParticipant
from fault_injection.simulation import swarm as kinds
from fault_injection.simulation.callers import Told, transaction_of, twice
from fault_injection.simulation.clocks import JUMP_S, clock_of
from fault_injection.simulation.durable import Durable
from fault_injection.simulation.parts import (
    SEALER,
    SimulatedParticipant,
    SimulatedPublisher,
    SimulatedStore,
)
from fault_injection.simulation.plan import Crash, Moment
from fault_injection.simulation.processes import Process, check_rest
from fault_injection.simulation.swarm import Swarm, draw, within
from fault_injection.simulation.trace import Trace
from fault_injection.simulation.watch import IDLE_EVERY_S
from fault_injection.virtual_time import EPOCH
from fault_injection.world import (
    FLOWS,
    LEASE_S,
    LIMIT_S,
    RECOVER_EVERY_S,
    World,
)

T = TypeVar("T")

LINES = 5_000
"""How many calls and commits there may be for each payment: far more than any outage causes."""
DURING_S = 0.002
"""How long after a commit was handed over a coordinator dies that dies while it is under way."""
ASK_AGAIN_S = 1.0
"""How soon a caller asks again after it was told to, in seconds."""


class SimulatedWorld(World):
    """See the head of this module. Faults are over once `healed`."""

    def __init__(
        self,
        swarm: Swarm,
        payments: int,
        database: Callable[[Clock], Database] = Sqlite,
    ) -> None:
        super().__init__(seed=swarm.seed, database=database)
        self.swarm = swarm
        self.healed = False
        self._over_s = 0.0
        self.met: Counter[str] = Counter()
        self.trace = Trace(self.clock.monotonic, limit=LINES * payments)
        self.tally = Tally()
        self.flow_labels: dict[TransactionId, str] = {}
        self.subjects: dict[TransactionId, str] = {}
        self.told = Told()
        self.durable = Durable(
            self._found,
            self.told.check,
            self.since_last_fault_s,
            operators=swarm.has(kinds.OPERATORS),
        )
        self._during: list[Violation] = []
        self._broken = asyncio.Event()
        self.processes: list[Process] = []
        self._up, self._down = asyncio.Event(), asyncio.Event()
        self._armed: Crash | None = None
        self._commits_left = 0
        self._started = 0
        self._points: Counter[str] = Counter()
        self._windows = {
            kind: swarm.windows(kind) for kind in (kinds.DATABASE_AWAY, kinds.BROKER_AWAY)
        }
        if swarm.has(kinds.TIGHT_GUARD):
            failures = 1 + int(2 * draw(swarm.seed, "breaker"))
            self.guard = Guard(max_in_flight=2, breaker_failures=failures, breaker_open_s=2.0)
        self.publisher = SimulatedPublisher(self)
        self.participants = {name: self._participant(name) for name in self.participants}
        self.eye = CountingStore(
            self.database, owner="eye", sealer=SEALER, clock=self.clock, lease_s=LEASE_S
        )

    def _participant(self, name: str) -> ModelParticipant:
        outages = self.swarm.windows(kinds.OUTAGE, name)

        def script(transaction_id: TransactionId, call: Call, attempt: int) -> Fault | None:
            if self.healed:
                return None
            if within(outages, self.clock.monotonic()):
                self.met[kinds.OUTAGE] += 1
                return kinds.Silence()
            fault = self.swarm.fault(self.subject_of(transaction_id), call, attempt)
            self.met[kinds.fault_name(fault)] += fault is not None
            return fault

        return SimulatedParticipant(self, self.clock, script)

    # Processes

    def restart(self) -> None:
        """Another coordinator over the same database and participants; callers ask it."""
        self._started += 1
        name = f"coordinator-{self._started}"
        self.owner = name
        self.store = store = SimulatedStore(self, name, self.database, self.clock)
        true, self.clock = self.clock, clock_of(self.clock, self.swarm, name, self.met)
        super().restart()
        self.clock = true
        self.over_now()
        self.trace.add(name, "starts")
        work = self._work(self.recover, self.renew, self.relay, self.driver)
        loop = self.life.start(work, name)
        self.processes.append(Process(name, store, self.driver, loop, self.life))
        self._down.clear()
        self._up.set()

    async def _work(self, recover: Recover, renew: Renew, relay: Relay, driver: Driver) -> None:
        """What a coordinator does in the background; rarer while there is nothing to do."""
        wait_s = RECOVER_EVERY_S
        while True:
            done = 0
            for one_pass in (renew.run_once, recover.run_once, relay.run_once):
                with suppress(StoreUnavailable):
                    done += await one_pass()
            busy = done or driver.in_flight or not self.healed
            wait_s = RECOVER_EVERY_S if busy else min(IDLE_EVERY_S, wait_s * 2)
            await self.clock.sleep(wait_s)

    async def crash_once(self, crash: Crash) -> None:
        """The coordinator that callers ask dies as `crash` says, and another one starts."""
        if not self._up.is_set():
            return  # nobody is there who could die
        self._armed, self._commits_left = crash, crash.commits
        if not crash.commits:
            self._fall()
        await self._down.wait()
        await self.clock.sleep(crash.down_s)
        self.restart()

    def since_last_fault_s(self, going_at: datetime) -> float:
        """Seconds since the last fault was over, or since `going_at` if that was later."""
        late_s = [each.last_arrival_s for each in self.participants.values()]
        at_s = max(self._over_s, *late_s, (going_at - EPOCH).total_seconds())
        return self.clock.monotonic() - at_s if self.healed else 0.0

    def over_now(self) -> None:
        """Nothing goes wrong any more, but for times that a clock which was ahead wrote down."""
        ahead_s = JUMP_S if self.swarm.has(kinds.CLOCK_JUMPS) else 0.0
        self._over_s = self.clock.monotonic() + ahead_s

    def heal(self) -> None:
        """The last fault is over."""
        self.healed = True
        self.over_now()
        self.trace.add("world", "is healed")
        if self._armed is not None:
            self._fall()

    def committing(self, store: CountingStore) -> None:
        """See `Fate`. The coordinator that callers ask may die of it."""
        if self._armed is None or not self._counts_down(store, Moment.BEFORE, Moment.DURING):
            return
        self.processes[-1].store.meets(self._armed.moment)
        if self._armed.moment is Moment.DURING:
            asyncio.get_running_loop().call_later(DURING_S, self._fall, context=outside())
            return
        self._fall()

    def committed(self, store: CountingStore) -> None:
        """See `Fate`."""
        if self._counts_down(store, Moment.AFTER):
            self.processes[-1].store.meets(Moment.AFTER)
            self._fall()

    def _counts_down(self, store: CountingStore, *moments: Moment) -> bool:
        if store is not self.store or self._armed is None or self._armed.moment not in moments:
            return False
        self._commits_left -= 1
        return self._commits_left == 0

    def _fall(self) -> None:
        """The coordinator that was to die does."""
        if self._armed is not None:
            self._armed = None
            self.kill(self.processes[-1])

    def kill(self, process: Process) -> None:
        """What the coordinator had in memory vanishes; nothing of it reaches the database."""
        self.crashes += 1
        self.trace.add(process.name, "dies")
        process.life.end()
        if process is self.processes[-1]:
            self._up.clear()
            self._down.set()

    def second(self) -> Process | None:
        """Another coordinator comes, and is asked from now on; returns the one before."""
        if not self._up.is_set() or self._armed is not None or self.healed:
            return None
        first = self.processes[-1]
        self.restart()
        self.met[kinds.TWO_COORDINATORS] += 1
        return first

    def freeze(self, *, alone: bool) -> Process | None:
        """The coordinator that callers ask stands still; another one comes, unless it is alone."""
        if not self._up.is_set() or self._armed is not None or self.healed:
            return None
        process = self.processes[-1]
        self.trace.add(process.name, "stands still")
        self.met[kinds.FROZEN] += 1
        process.life.freeze()
        if alone:
            self._up.clear()
        else:
            self.restart()
        return process

    def thaw(self, process: Process) -> None:
        """It goes on; it is asked again if nobody else came."""
        self.trace.add(process.name, "goes on")
        process.life.thaw()
        if process is self.processes[-1]:
            self._up.set()

    async def stop(self, process: Process) -> None:
        """A coordinator that nobody asks any more is stopped, as a deployment does."""
        self.trace.add(process.name, "stops")
        await process.driver.drain(60.0)
        await process.end()
        self.over_now()  # what it had claimed waits for its claim to end

    async def close(self) -> None:
        """Stops everything."""
        for process in self.processes:
            process.life.thaw()
            await process.end()
        for participant in self.participants.values():
            await participant.settled()
        await self.eye.close()
        self.database.close()

    # Faults of what is not a participant

    def is_away(self, kind: str) -> bool:
        """See `Fate`."""
        is_away = not self.healed and within(self._windows[kind], self.clock.monotonic())
        self.met[kind] += is_away
        return is_away

    def database_fault(self, point: str) -> None:
        """See `Fate`."""
        if self.healed:
            return
        if point == "before_write" and self.is_away(kinds.DATABASE_AWAY):
            raise ConnectionLost
        befallen = self.swarm.database_fault(point, self._points)
        if befallen is not None:
            kind, error = befallen
            self.met[kind] += 1
            raise error()

    def faults_met(self) -> Mapping[str, int]:
        """How often each kind of fault has come about."""
        tight = len(self.observer.breakers) if self.swarm.has(kinds.TIGHT_GUARD) else 0
        return {**self.met, kinds.TIGHT_GUARD: tight}

    # Callers

    async def call(self, ask: Callable[[], Awaitable[T]]) -> T:
        """What a caller does: asks, and asks again when it was not answered, or told to wait."""
        while True:
            await self._up.wait()
            process, before = self.processes[-1], self.told.copy()
            asked = await process.life.ask(lambda: self._ask(ask))
            if asked is None or asked.cancelled():
                continue
            try:
                answer = asked.result()
            except (StoreUnavailable, Overloaded, FlowPaused, LostTheRace):
                await self.clock.sleep(ASK_AGAIN_S)
                continue
            if (told_now := transaction_of(answer)) is not None:
                self.trace.add(self.subject(told_now), f"caller is told {told_now.state}")
                self.told.hear(told_now, before)
            return answer

    def _ask(self, ask: Callable[[], Awaitable[T]]) -> Awaitable[T]:
        if not self.swarm.has(kinds.DUPLICATES):
            return ask()
        self.met[kinds.DUPLICATES] += 1
        return twice(ask(), ask())

    def _found(self, violation: Violation) -> None:
        self._during.append(Violation(f"{violation}, at {self.clock.monotonic():.6f} s"))
        self._broken.set()

    async def unless_broken(self, living: Coroutine[Any, Any, T]) -> T:
        """What comes of it. Raises Violation for the first thing that does not hold meanwhile."""
        lives = asyncio.create_task(living)
        breaks = asyncio.create_task(self._broken.wait())
        try:
            await asyncio.wait((lives, breaks), return_when=asyncio.FIRST_COMPLETED)
        finally:
            lives.cancel()
            breaks.cancel()
            await asyncio.wait([lives, breaks])
        self.check_during()
        return lives.result()

    def check_during(self) -> None:
        """Raises Violation for the first thing that did not hold while something was going on."""
        if self._during:
            raise self._during[0]

    def check_rest(self) -> None:
        """S18: nothing is left to do, and nothing broke. Raises Violation."""
        check_rest(self.processes, self.observer.troubles)

    # What is known of a transaction

    def subject(self, transaction: Transaction) -> str:
        """See `Fate`. Its first commit makes it known."""
        known = self.subjects.get(transaction.id)
        if known is not None:
            return known
        name = transaction.caller
        if transaction.refund_of is not None:
            name = f"{name}/refund-{transaction.refund_of.ordinal}"
        self.subjects[transaction.id] = name
        refund = transaction.refund_of is not None
        self.flow_labels[transaction.id] = flow_label(transaction.flow, refund=refund)
        return name

    def subject_of(self, transaction_id: TransactionId) -> str:
        """See `Fate`."""
        return self.subjects.get(transaction_id, transaction_id)

    async def _until(
        self, transaction_id: TransactionId, enough: Callable[[Transaction], bool]
    ) -> Transaction:
        end_s = self.clock.monotonic() + LIMIT_S
        while (left_s := end_s - self.clock.monotonic()) > 0:
            state = self.durable.row(transaction_id).state
            if state in SETTLED or state is State.RESERVED:
                found = await self._whole(transaction_id)
                if enough(found):
                    return found
                if found.version < self.durable.row(transaction_id).version:
                    continue  # it has changed meanwhile
            await self.durable.change(transaction_id, left_s)
        return await self._whole(transaction_id)

    async def _whole(self, transaction_id: TransactionId) -> Transaction:
        found = await self.eye.get(transaction_id)
        assert found is not None, "nothing is ever deleted"
        return found

    async def scene(self, transaction_id: TransactionId) -> Scene:
        """Everything that is known of a transaction, once the outbox is empty."""
        found = await self._whole(transaction_id)
        journal = await self.eye.journal(transaction_id, 0, 10_000)
        refunds = () if found.refund_of else await self.eye.refunds_of(transaction_id)
        events = [e for e in self.publisher.events if e.transaction_id == transaction_id]
        return Scene(found, flow_of(FLOWS, found), journal, events, self.participants, refunds)
