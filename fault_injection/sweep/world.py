"""The world of one case: nothing fails by chance, and exactly what the case says fails.

Every place counts how often it is reached, so that a clean run numbers the points of a path.
"""

from __future__ import annotations

import asyncio
from collections import Counter

from adapters.postgres.trouble import ConnectionLost
from coordinator.domain.decide import Call
from coordinator.domain.ids import TransactionId
from fault_injection.business_paths import Path, paths_on
from fault_injection.databases import CountingStore
from fault_injection.lives import outside
from fault_injection.model_participant import Fault, ModelParticipant
from fault_injection.simulation import swarm as kinds
from fault_injection.simulation.parts import SimulatedParticipant
from fault_injection.simulation.processes import Process
from fault_injection.simulation.swarm import CALL_FAULTS, Swarm
from fault_injection.simulation.world import SimulatedWorld
from fault_injection.sweep import places
from fault_injection.sweep.cases import Case, Injection
from fault_injection.world import RECOVER_EVERY_S

_UNPUBLISHED = "SELECT 1 FROM outbox WHERE published_at IS NULL LIMIT 1"
_AWAY = {kinds.DATABASE_AWAY: places.DATABASE, kinds.BROKER_AWAY: places.BROKER}


class SweptWorld(SimulatedWorld):
    """See the head of this module.

    reached  every point, in the order in which they were reached
    """

    def __init__(self, case: Case, seed: int) -> None:
        super().__init__(Swarm(seed, (), 0.0, 0.0), payments=1)
        self.reached: list[tuple[str, int]] = []
        self._path: Path = paths_on(case.flow)[case.path]
        self._injections = case.injections
        self._left = {each: each.times for each in case.injections}
        self._counts: Counter[str] = Counter()
        self._write_fault = ""
        self._dying: set[CountingStore] = set()
        self._writing: list[CountingStore] = []
        self._revivals: list[asyncio.Task[None]] = []
        self._alone = self._path.workers == 1

    def reach(self, place: str) -> str:
        """A point is reached; the name of the fault that is there, or empty."""
        self._counts[place] += 1
        number = self._counts[place]
        self.reached.append((place, number))
        for injection in self._injections:
            if injection.place == place and injection.covers(number):
                self._use(injection)
                return injection.fault
        return ""

    def _use(self, injection: Injection) -> None:
        self.trace.add("world", f"{injection}")
        self._left[injection] -= 1
        if injection.fault not in places.CRASHES:
            self._heal_if_spent()

    def _heal_if_spent(self) -> None:
        if not any(self._left.values()):
            asyncio.get_running_loop().call_soon(self.heal, context=outside())

    def heal(self) -> None:
        """The last fault is over."""
        if not self.healed:
            super().heal()

    async def revived(self) -> None:
        """Returns when whoever died has been replaced."""
        while self._revivals:
            await self._revivals.pop()

    async def quiet(self) -> None:
        """Returns when no coordinator does anything, and the broker has every event."""
        while self.database.rows(_UNPUBLISHED) or any(
            process.driver.in_flight or process.store.queued
            for process in self.processes
            if not process.life.over
        ):
            await self.clock.sleep(RECOVER_EVERY_S)

    def over(self) -> None:
        """What has not gone wrong by now never will."""
        self._injections = ()
        self.heal()

    # Participants

    def _participant(self, name: str) -> ModelParticipant:
        def script(transaction_id: TransactionId, call: Call, attempt: int) -> Fault | None:
            is_down = self.reach(places.participant_place(name))
            _, _, refund = self.subject_of(transaction_id).partition("/")
            fault = self.reach(places.call_place(refund, call.phase.name, call.operation))
            if is_down:
                return kinds.Silence()
            if fault:
                return CALL_FAULTS[fault][0]
            return self._path.answers(transaction_id, call, attempt)

        return SimulatedParticipant(self, self.clock, script)

    # The database and the broker

    def is_away(self, kind: str) -> bool:
        """See `Fate`."""
        return bool(self.reach(_AWAY[kind]))

    def database_fault(self, point: str) -> None:
        """See `Fate`."""
        if point == "before_write":
            self._write_fault = self.reach(places.WRITE)
            if self.is_away(kinds.DATABASE_AWAY):
                raise ConnectionLost
        if point == "after_commit" and self._writing:
            self._kill(self._writing.pop())  # it is durable, and whoever wrote it never knows
        fault = places.WRITE_FAULTS.get(self._write_fault)
        if fault is not None and fault.point == point:
            raise fault.error()

    # Processes

    def committing(self, store: CountingStore) -> None:
        """See `Fate`. The coordinator that commits may die of it."""
        fault = self.reach(places.COMMIT)
        if self.crashes:
            fault = self.reach(places.RECOVERY) or fault
        if fault:
            self._process_of(store).store.meets(fault)
        if fault == places.CRASH_DURING:
            self._writing.append(store)
        elif fault == places.CRASH_AFTER:
            self._dying.add(store)
        elif fault == places.CRASH_BEFORE:
            self._kill(store)

    def committed(self, store: CountingStore) -> None:
        """See `Fate`. With two coordinators, the other one comes after the first commit."""
        if store in self._dying:
            self._kill(store)
        if not self._alone:
            self._alone = True
            self.restart()

    def _kill(self, store: CountingStore) -> None:
        """What this coordinator had in memory vanishes; nothing of it reaches the database."""
        process = self._process_of(store)
        if process.life.over:
            return
        self.kill(process)
        replacing = asyncio.create_task(self._replace(process), context=outside())
        self._revivals.append(replacing)

    def _process_of(self, store: CountingStore) -> Process:
        return next(each for each in self.processes if each.store is store)

    async def _replace(self, process: Process) -> None:
        if process is self.processes[-1]:
            self.restart()
        self._heal_if_spent()
