"""A simulated crash is one: nothing of the process runs any more, no `finally` either."""

from __future__ import annotations

import asyncio

import pytest

from coordinator.domain.ids import TransactionId
from coordinator.domain.transaction import Draft
from coordinator.engine.drive import Driver
from fault_injection.invariants import Violation, check
from fault_injection.lives import Life, alive, outside
from fault_injection.simulation.plan import Asked, plan_of
from fault_injection.simulation.run import play
from fault_injection.virtual_time import VirtualClock, run
from fault_injection.world import LEASE_S, World, payment

CLOCK = VirtualClock()


def test_what_waits_at_a_crash_never_goes_on_and_tidies_nothing_up() -> None:
    seen: list[str] = []

    async def work() -> None:
        try:
            seen.append("works")
            await CLOCK.sleep(1.0)
            seen.append("goes on")
        except BaseException:
            seen.append("is told")
            raise
        finally:
            seen.append("tidies up")

    async def program() -> list[str]:
        life = Life("one")
        life.start(work())
        life.start(work())
        await CLOCK.sleep(0.5)
        life.end()
        await CLOCK.sleep(10.0)
        return list(seen)

    assert run(program()) == ["works", "works"]


def test_whoever_crashes_goes_no_further_itself() -> None:
    seen: list[str] = []

    async def program() -> list[str]:
        life = Life("one")

        async def work() -> None:
            try:
                life.end()
                await alive()
                seen.append("goes on")
            finally:
                seen.append("tidies up")

        assert await life.ask(work) is None
        await CLOCK.sleep(10.0)
        return list(seen)

    assert run(program()) == []


def test_who_asks_one_that_crashed_before_is_told_so() -> None:
    async def program() -> None:
        life = Life("one")
        life.end()
        assert await life.ask(lambda: CLOCK.sleep(1.0)) is None

    run(program())


def test_what_was_sent_arrives_although_its_sender_crashed() -> None:
    arrived: list[float] = []

    async def deliver() -> None:
        await CLOCK.sleep(5.0)
        arrived.append(CLOCK.monotonic())

    async def send() -> None:
        asyncio.create_task(deliver(), context=outside())  # noqa: RUF006 - nobody waits for it
        await CLOCK.sleep(60.0)

    async def program() -> None:
        life = Life("one")
        life.start(send())
        await CLOCK.sleep(1.0)
        life.end()
        await CLOCK.sleep(10.0)

    run(program())
    assert arrived == [5.0]


def a_lock_that_only_a_finally_gives_back(patch: pytest.MonkeyPatch) -> None:
    """As one without an end, kept outside of the process: whoever dies leaves it locked."""
    locked: set[TransactionId] = set()
    drive = Driver._run

    async def drive_locked(self: Driver, start: Draft) -> None:
        transaction_id = start.transaction.id
        if transaction_id in locked:
            return
        locked.add(transaction_id)
        try:
            await drive(self, start)
        finally:
            locked.discard(transaction_id)

    patch.setattr(Driver, "_run", drive_locked)


async def paid_although(what: str) -> None:
    """A payment whose first coordinator ends before its second commit."""
    world = World()
    await world.start()
    if what == "crash":
        world.crash_at(2, after=False)
    accepted = await world.call(lambda: world.accept(payment(), 0.0))
    if what == "stop":
        await world.driver.drain(0)
        world.restart()
    await world.clock.sleep(LEASE_S)
    await world.until_settled(accepted.transaction.id)
    check(await world.scene(accepted.transaction.id))
    await world.close()


def test_a_lock_that_only_a_finally_gives_back_is_found_by_a_crash_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    a_lock_that_only_a_finally_gives_back(monkeypatch)
    run(paid_although("nothing"))
    run(paid_although("stop"))
    with pytest.raises(Violation, match="L1"):
        run(paid_although("crash"))


def test_random_crashes_find_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    a_lock_that_only_a_finally_gives_back(monkeypatch)
    problems = [play(plan_of(seed, Asked(faults=(), crashes=6))).finding for seed in range(5)]
    found = [finding.problem for finding in problems if finding is not None]
    assert any(problem.startswith(("L1", "L2")) for problem in found), found
