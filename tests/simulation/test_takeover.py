"""Two coordinators, each with a name of its own, that take one payment from each other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

from adapters.sealing import Sealer
from coordinator.domain.decide import Call
from coordinator.domain.ids import TransactionId
from coordinator.domain.machine import State
from coordinator.domain.outcome import Outcome, Unknown
from coordinator.domain.phase import Operation
from coordinator.engine.accept import Accept
from coordinator.engine.cancel import Cancel
from coordinator.engine.drive import Driver
from coordinator.engine.limits import Limits
from coordinator.engine.recover import Recover
from coordinator.engine.renew import Renew
from fault_injection.databases import CountingStore
from fault_injection.invariants import Scene, check
from fault_injection.model_participant import ModelParticipant
from fault_injection.virtual_time import run
from fault_injection.world import FLOWS, World, payment

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
        self.recover = Recover(
            store=self.store,
            driver=self.driver,
            flows=FLOWS,
            max_in_flight=100,
            clock=world.clock,
        )
        self.renew = Renew(store=self.store, driver=self.driver, lease_s=SHORT_LEASE_S)

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


@asynccontextmanager
async def two_processes() -> AsyncIterator[tuple[World, Process, Process]]:
    world = World()
    await world.start()
    first, second = Process(world, "first"), Process(world, "second")
    try:
        yield world, first, second
    finally:
        for process in (first, second):
            await process.driver.drain(0)
            await process.store.close()
        await world.close()


def test_a_call_longer_than_the_lease_keeps_its_claim() -> None:
    async def scenario() -> Scene:
        async with two_processes() as (world, first, second):
            first.sleep("card")
            accepted = await first.accept(payment(), 0.0)
            for _ in range(10):
                await world.clock.sleep(first.renew.interval_s)
                await first.renew.run_once()
                assert await second.recover.run_once() == 0
            assert first.driver.drives(accepted.transaction.id)
            first.wake()
            await world.clock.sleep(1.0)
            assert world.observer.lost == []
            operations = [operation for *_, operation in world.participants["card"].calls]
            assert operations == [Operation.TRY, Operation.CANCEL], "it came too late"
            return await world.scene(accepted.transaction.id)

    scene = run(scenario())
    assert scene.transaction.state is State.FAILED
    check(scene)


def test_a_process_that_was_paused_wakes_up_and_changes_nothing() -> None:
    async def scenario() -> None:
        async with two_processes() as (world, first, second):
            first.sleep()
            accepted = await first.accept(payment(), 0.0)
            await world.clock.sleep(SHORT_LEASE_S + 0.1)
            assert await second.recover.run_once() == 1
            await world.clock.sleep(0.5)
            after = await world.store.get(accepted.transaction.id)
            assert after is not None
            assert after.settled
            journal = await world.store.journal(after.id, 0, 1000)
            calls = {name: list(each.calls) for name, each in world.participants.items()}

            await first.renew.run_once()
            await world.clock.sleep(0.1)
            assert world.observer.lost == [after.id]
            assert not first.driver.drives(after.id)
            first.wake()
            await world.clock.sleep(60.0)
            assert await world.store.get(after.id) == after
            assert await world.store.journal(after.id, 0, 1000) == journal
            assert {name: list(each.calls) for name, each in world.participants.items()} == calls

    run(scenario())


def test_what_was_committed_meanwhile_is_not_taken_for_lost() -> None:
    class Slow(CountingStore):
        """The answer to a renewal comes when the payment is over."""

        async def renew_claims(self, _ids: Sequence[TransactionId]) -> frozenset[TransactionId]:
            await asyncio.sleep(1.0)  # noqa: TID251 - virtual time
            return frozenset()

    async def scenario() -> None:
        async with two_processes() as (world, first, _):
            first.store.__class__ = Slow
            first.sleep("card")
            accepted = await first.accept(payment(), 0.0)
            await world.clock.sleep(first.renew.interval_s)
            renewing = asyncio.create_task(first.renew.run_once())
            await world.clock.sleep(0.5)
            first.wake()
            await renewing
            await world.clock.sleep(1.0)
            found = await world.store.get(accepted.transaction.id)
            assert found is not None
            assert found.settled
            assert world.observer.lost == []

    run(scenario())


def test_what_has_just_been_committed_needs_no_renewal() -> None:
    async def scenario() -> None:
        async with two_processes() as (world, first, _):
            first.sleep("card")
            accepted = await first.accept(payment(), 0.0)
            await world.clock.sleep(first.renew.interval_s / 2)
            assert first.driver.not_committed_for(first.renew.interval_s) == []
            await world.clock.sleep(first.renew.interval_s / 2)
            [stale] = first.driver.not_committed_for(first.renew.interval_s)
            assert stale.id == accepted.transaction.id

    run(scenario())
