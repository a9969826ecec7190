"""A flow's intake pauses, by command and by itself, on virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from coordinator.domain.decide import Call
from coordinator.domain.errors import FlowPaused, KeyReused, StoreUnavailable
from coordinator.domain.ids import TransactionId
from coordinator.domain.machine import State
from coordinator.domain.pausing import PausePolicy
from coordinator.domain.phase import Operation
from coordinator.domain.split import ProRata
from coordinator.engine.capture import NewCapture
from coordinator.engine.refund import NewRefund
from coordinator.engine.shares import Part
from coordinator.ports import Pause
from fault_injection.model_participant import Fault, LoseRequest, Refuse, Script, no_faults
from fault_injection.virtual_time import run
from fault_injection.world import LEASE_S, World, payment

FLOW = "points_only"
POLICY = PausePolicy()
ALL = Part(None, ProRata())


def on(
    story: Callable[[World], Awaitable[None]],
    script: Script = no_faults,
    policy: PausePolicy | None = POLICY,
) -> None:
    """Plays the story in a world of its own."""

    async def program() -> None:
        world = World(script)
        world.pausing = policy
        await world.start()
        try:
            await story(world)
        finally:
            await world.close()

    run(program())


async def by_operator(world: World, flow: str = FLOW) -> None:
    """An operator pauses the flow, and it is noticed."""
    await world.store.pause(Pause(flow, "ops", "maintenance", world.clock.now()))
    await world.intake.run_once()


async def refused(world: World, key: str = "new", flow: str = FLOW) -> FlowPaused:
    with pytest.raises(FlowPaused) as caught:
        await world.accept(payment(flow, key), 0.0)
    return caught.value


def test_a_paused_flow_refuses_before_anything_is_written() -> None:
    async def story(world: World) -> None:
        await by_operator(world)
        error = await refused(world)
        assert error.facts["flow"] == FLOW
        assert error.facts["paused_by"] == "ops"
        assert "ops: maintenance" in str(error)
        assert error.retry_after_s == 30.0
        assert await world.store.find_by_key("shop", "new") is None
        await world.accept(payment("card_only", "other"), 0.0)
        assert await world.store.unpause(FLOW)
        await world.intake.run_once()
        await world.accept(payment(FLOW, "new"), 0.0)

    on(story)


def test_a_repeated_key_of_a_paused_flow_has_its_payment() -> None:
    async def story(world: World) -> None:
        first = await world.accept(payment(FLOW, "early"), 0.0)
        await by_operator(world)
        again = await world.accept(payment(FLOW, "early"), 0.0)
        assert (again.replayed, again.transaction.id) == (True, first.transaction.id)
        with pytest.raises(KeyReused):
            await world.accept(payment(FLOW, "early", amount=999), 0.0)

    on(story)


def test_what_was_accepted_is_finished_captured_and_refunded() -> None:
    async def story(world: World) -> None:
        manual = (await world.accept(payment(FLOW, "manual", manual=True), 0.0)).transaction
        await world.until_rest(manual.id)
        under_way = (await world.accept(payment(FLOW, "under-way"), 0.0)).transaction
        await by_operator(world)
        assert (await world.until_settled(under_way.id)).state is State.PAID
        await world.capture(NewCapture("shop", "capture", manual.id, ALL))
        assert (await world.until_settled(manual.id)).state is State.PAID
        refund = await world.refund(NewRefund("shop", "refund", manual.id, ALL))
        assert (await world.until_settled(refund.transaction.id)).state is State.PAID

    on(story)


class Silence:
    """ "points" answers no Try while it lasts."""

    def __init__(self) -> None:
        self.lasts = True

    def __call__(self, _id: TransactionId, call: Call, _attempt: int) -> Fault | None:
        silent = self.lasts and call.phase.participant == "points"
        return LoseRequest() if silent and call.operation is Operation.TRY else None


async def buys(world: World, name: str, count: int, flow: str = FLOW) -> int:
    """So many try to pay; how many were accepted. Then all of them have ended, or nearly."""
    accepted = 0
    for number in range(count):
        try:
            await world.accept(payment(flow, f"{name}-{number}"), 0.0)
            accepted += 1
        except FlowPaused:
            pass
    for _ in range(9):  # a Try is asked for five seconds
        await world.recover.run_once()
        await world.clock.sleep(1.0)
        await world.intake.run_once()
    return accepted


def test_a_flow_that_finds_silence_pauses_itself_and_opens_again() -> None:
    silence = Silence()

    async def story(world: World) -> None:
        assert await buys(world, "first", POLICY.at_least) == POLICY.at_least
        error = await refused(world)
        assert error.facts["paused_by"] == "kessai"
        assert "20 of 20 payments within 60 s" in str(error)
        (pause,) = await world.store.pauses()
        assert pause.until == pause.since + timedelta(seconds=POLICY.pause_s)
        assert error.retry_after_s is not None
        assert world.clock.now() + timedelta(seconds=error.retry_after_s) == pause.until
        assert await buys(world, "card", 1, "card_only") == 1
        silence.lasts = False
        await world.clock.sleep(POLICY.pause_s)
        assert await buys(world, "later", 3 * POLICY.at_least) == 3 * POLICY.at_least

    on(story, silence)


def test_it_pauses_again_when_it_goes_on_failing_and_not_for_old_failures() -> None:
    async def story(world: World) -> None:
        await buys(world, "first", POLICY.at_least)
        await world.clock.sleep(POLICY.pause_s)
        assert await buys(world, "second", POLICY.at_least - 1) == POLICY.at_least - 1
        assert await buys(world, "third", 1) == 1, "what failed before the pause counts no more"
        await refused(world)

    on(story, Silence())


def test_payments_that_a_crash_left_behind_pause_nothing() -> None:
    def late_once(_id: TransactionId, _call: Call, attempt: int) -> Fault | None:
        return LoseRequest() if attempt == 1 else None

    async def story(world: World) -> None:
        for number in range(3 * POLICY.at_least):
            await world.accept(payment(FLOW, f"left-behind-{number}"), 0.0)
        await world.crash()
        world.restart()
        await world.clock.sleep(2 * LEASE_S)
        for _ in range(10):
            await world.recover.run_once()
            await world.clock.sleep(1.0)
            await world.intake.run_once()
        released = await world.store.find_by_key("shop", "left-behind-0")
        assert released is not None
        assert released.failure is not None
        assert released.failure.code == "TRY_DEADLINE_EXCEEDED", "nobody was there to ask"
        assert await world.store.pauses() == []

    on(story, late_once)


def test_refusals_and_cancels_pause_nothing() -> None:
    def refusing(_id: TransactionId, call: Call, _attempt: int) -> Fault | None:
        return Refuse() if call.operation is Operation.TRY else None

    async def story(world: World) -> None:
        assert await buys(world, "first", 3 * POLICY.at_least) == 3 * POLICY.at_least
        assert await buys(world, "then", 1) == 1
        assert await world.store.pauses() == []

    on(story, refusing)


def test_half_of_the_payments_may_find_silence() -> None:
    def silent_for_some(transaction_id: TransactionId, call: Call, _attempt: int) -> Fault | None:
        lost = call.operation is Operation.TRY and int(transaction_id[-2:], 16) % 2
        return LoseRequest() if lost else None

    async def story(world: World) -> None:
        await buys(world, "first", 2 * POLICY.at_least)
        assert await world.store.pauses() == []

    on(story, silent_for_some)


def test_without_a_policy_nothing_pauses_itself() -> None:
    async def story(world: World) -> None:
        await buys(world, "first", 3 * POLICY.at_least)
        assert await world.store.pauses() == []
        await by_operator(world)
        await refused(world)

    on(story, Silence(), policy=None)


def test_a_flow_that_an_operator_paused_stays_paused() -> None:
    async def story(world: World) -> None:
        asking = asyncio.create_task(buys(world, "first", POLICY.at_least))
        await world.clock.sleep(4.0)
        await world.store.pause(Pause(FLOW, "ops", "maintenance", world.clock.now()))
        await asking
        (pause,) = await world.store.pauses()
        assert (pause.actor, pause.until) == ("ops", None)
        await world.clock.sleep(10 * POLICY.pause_s)
        await world.intake.run_once()
        await refused(world)

    on(story, Silence())


def test_while_the_database_is_away_what_was_known_stands() -> None:
    async def story(world: World) -> None:
        await by_operator(world)

        async def away() -> list[Pause]:
            raise StoreUnavailable("away")

        world.store.pauses = away  # type: ignore[method-assign]
        with pytest.raises(StoreUnavailable):
            await world.intake.run_once()
        with pytest.raises(FlowPaused):
            world.intake.admit(FLOW)

    on(story)
