"""Two coordinators, each with a name of its own, that take one payment from each other."""

from __future__ import annotations

import asyncio
from datetime import datetime

from adapters.sealing import Sealer
from coordinator.domain.decide import Call
from coordinator.domain.ids import TransactionId
from coordinator.domain.machine import State
from coordinator.domain.outcome import Outcome, Unknown
from coordinator.engine.accept import Accept
from coordinator.engine.cancel import Cancel
from coordinator.engine.drive import Driver
from coordinator.engine.limits import Limits
from coordinator.engine.recover import Recover
from fault_injection.invariants import Scene, check
from fault_injection.model_participant import ModelParticipant
from fault_injection.virtual_time import run
from fault_injection.world import FLOWS, CountingStore, World, payment

SHORT_LEASE_S = 3.0


class Gated:
    """A participant as one process sees it: while the process sleeps no answer reaches it."""

    def __init__(self, inner: ModelParticipant) -> None:
        self._inner = inner
        self.gate = asyncio.Event()
        self.gate.set()

    async def perform(
        self, transaction_id: TransactionId, call: Call, hold_until: datetime
    ) -> Outcome:
        outcome = await self._inner.perform(transaction_id, call, hold_until)
        if self.gate.is_set():
            return outcome
        await self.gate.wait()
        return Unknown("DEADLINE_EXCEEDED")


class Process:
    """One coordinator over the world's database."""

    def __init__(self, world: World, name: str) -> None:
        self.store = CountingStore(
            world.database,
            owner=name,
            sealer=Sealer([b"s" * 32]),
            clock=world.clock,
            lease_s=SHORT_LEASE_S,
        )
        self.participants = {key: Gated(model) for key, model in world.participants.items()}
        self.driver = Driver(
            store=self.store,
            participants=self.participants,
            flows=FLOWS,
            clock=world.clock,
            randomness=world.randomness,
            observer=world.observer,
            owner=name,
            patience_s=1.0,
        )
        self.accept = Accept(
            store=self.store,
            driver=self.driver,
            cancel=Cancel(store=self.store, driver=self.driver, flows=FLOWS, clock=world.clock),
            flows=FLOWS,
            clock=world.clock,
            ids=world.ids,
            max_amount_minor=10**9,
            limits=Limits({}, store=self.store, clock=world.clock),
            intake=world.intake,
        )
        self.recover = Recover(store=self.store, driver=self.driver, max_in_flight=100)

    def sleep(self, *names: str) -> None:
        """From now on nothing reaches it, of these participants or of all."""
        for name in names or self.participants:
            self.participants[name].gate.clear()

    def wake(self) -> None:
        for participant in self.participants.values():
            participant.gate.set()


async def play() -> Scene:
    world = World()
    await world.start()
    first, second = Process(world, "first"), Process(world, "second")
    try:
        first.sleep()
        accepted = await first.accept(payment(), 0.0)
        await world.clock.sleep(SHORT_LEASE_S + 0.1)
        second.sleep("card")
        assert await second.recover.run_once() == 1
        await world.clock.sleep(0.2)  # the card's Try has left
        assert world.participants["card"].records
        for task in second.driver.tasks:
            task.cancel()  # killed
        await world.clock.sleep(SHORT_LEASE_S + 0.1)
        assert await first.recover.run_once() == 1, "the first claims it once more"
        first.wake()
        for _ in range(30):
            await world.clock.sleep(5.0)
            await first.recover.run_once()
        return await world.scene(accepted.transaction.id)
    finally:
        await first.driver.drain(0)
        for process in (first, second):
            await process.store.close()
        await world.close()


def test_what_another_process_tried_in_between_is_undone_as_well() -> None:
    scene = run(play())
    assert scene.transaction.state is State.FAILED
    check(scene)


async def wake_too_late() -> tuple[list[TransactionId], bool]:
    """The claims that were lost, and whether the payment is driven by who lost it."""
    world = World()
    await world.start()
    first, second = Process(world, "first"), Process(world, "second")
    try:
        first.sleep()
        accepted = await first.accept(payment(), 0.0)
        await world.clock.sleep(SHORT_LEASE_S + 0.1)
        second.sleep()
        assert await second.recover.run_once() == 1
        first.wake()
        await world.clock.sleep(1.0)
        return world.observer.lost, first.driver.drives(accepted.transaction.id)
    finally:
        for process in (first, second):
            await process.driver.drain(0)
            await process.store.close()
        await world.close()


def test_who_wakes_after_its_claim_was_taken_says_so_and_drives_no_further() -> None:
    lost, driven = run(wake_too_late())
    assert len(lost) == 1
    assert not driven
