"""A participant is down for a while: what needs it waits, what does not goes on, all of it ends."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from coordinator.domain.decide import Call
from coordinator.domain.ids import TransactionId
from coordinator.domain.machine import State
from coordinator.domain.phase import Operation
from coordinator.ports import BreakerState
from fault_injection.invariants import check
from fault_injection.model_participant import Fault, LoseReply, LoseRequest
from fault_injection.virtual_time import run
from fault_injection.world import FLOWS, LEASE_S, RECOVER_EVERY_S, World, payment
from phases.points_reserve import POINTS_RESERVE

RETRY = POINTS_RESERVE.retry
STEP_S = 1.5 * RETRY.cap_s + RETRY.timeout_s
"""What L1 grants a step after the last fault, in seconds."""
PAYMENTS = 60
LOST = LoseRequest()


@dataclass
class Outage:
    """Calls of these operations at "points" get no answer while it lasts."""

    operations: frozenset[Operation] = frozenset(Operation)
    fault: Fault = LOST
    lasts: bool = True
    lost: list[TransactionId] = field(default_factory=list)

    def __call__(self, transaction_id: TransactionId, call: Call, _attempt: int) -> Fault | None:
        down = self.lasts and call.phase.participant == "points"
        if not down or call.operation not in self.operations:
            return None
        self.lost.append(transaction_id)
        return self.fault


async def accepted(world: World, flow: str, count: int, name: str) -> list[TransactionId]:
    answers = await asyncio.gather(
        *(world.accept(payment(flow, f"{name}-{number}"), 0.0) for number in range(count))
    )
    return [answer.transaction.id for answer in answers]


async def recovering(world: World, seconds: float) -> None:
    """Lets time pass, as a coordinator that looks after its table does."""
    end_s = world.clock.monotonic() + seconds
    while world.clock.monotonic() < end_s:
        await world.recover.run_once()
        await world.clock.sleep(RECOVER_EVERY_S)


async def states(world: World, ids: list[TransactionId]) -> set[State]:
    found = [await world.store.get(transaction_id) for transaction_id in ids]
    return {transaction.state for transaction in found if transaction is not None}


@pytest.mark.parametrize("minutes", [1, 30])
@pytest.mark.parametrize(
    ("operation", "before", "end"),
    [
        (Operation.CONFIRM, State.SETTLING, State.PAID),
        (Operation.CANCEL, State.CANCELLING, State.FAILED),
    ],
)
@pytest.mark.parametrize("fault", [LoseRequest(), LoseReply()], ids=["requests", "replies"])
def test_what_was_decided_waits_and_ends_soon_after_the_participant_is_back(
    fault: Fault, operation: Operation, before: State, end: State, minutes: int
) -> None:
    lost = {operation} if operation is Operation.CONFIRM else {Operation.TRY, operation}
    outage = Outage(frozenset(lost), fault)

    async def program() -> None:
        world = World(outage)
        await world.start()
        ids = await accepted(world, "points_and_card", PAYMENTS, "waits")
        await recovering(world, minutes * 60.0)
        assert await states(world, ids) == {before}
        calls, changes = len(outage.lost), len(world.observer.changes)
        outage.lasts = False
        await recovering(world, STEP_S + RECOVER_EVERY_S)
        assert await states(world, ids) == {end}
        assert world.guarded["points"].status().breaker is BreakerState.CLOSED
        assert world.guarded["points"].status().in_flight == 0
        for transaction_id in ids:
            check(await world.scene(transaction_id))
        # One trial in five seconds, and each payment writes twice a minute: nobody runs hot.
        assert calls <= PAYMENTS * 3 + minutes * 60 / 5
        assert changes <= PAYMENTS * (20 + 4 * minutes)
        assert world.observer.troubles == []
        await world.close()

    run(program())


def test_payments_that_do_not_need_it_go_on_at_full_speed() -> None:
    async def program() -> None:
        world = World(Outage())
        await world.start()
        await accepted(world, "points_and_card", PAYMENTS, "stuck")
        await world.clock.sleep(10.0)
        assert world.guarded["points"].status().breaker is BreakerState.OPEN
        started_s = world.clock.monotonic()
        for number in range(20):
            ids = await accepted(world, "card_only", 5, f"goes-{number}")
            for transaction_id in ids:
                found = await world.store.get(transaction_id)
                assert found is not None
                settled = await world.driver.updates.at_rest(found, 5.0)
                assert settled.state is State.PAID
        assert world.clock.monotonic() - started_s < 1.0
        await world.close()

    run(program())


def test_a_payment_that_never_reached_it_fails_without_it() -> None:
    async def program() -> None:
        outage = Outage()
        world = World(outage)
        await world.start()
        await accepted(world, "points_and_card", PAYMENTS, "stuck")
        await recovering(world, 30.0)
        before = set(outage.lost)
        ids = await accepted(world, "points_and_card", PAYMENTS, "spared")
        await recovering(world, FLOWS["points_and_card"].try_budget_s + 1.0)
        asked = set(outage.lost) - before
        assert len(asked) <= 5, "but for a trial call, nobody reached it"
        spared = [each for each in ids if each not in asked]
        assert await states(world, spared) == {State.FAILED}
        for transaction_id in spared:
            check(await world.scene(transaction_id))
        outage.lasts = False
        await recovering(world, STEP_S + RECOVER_EVERY_S)
        assert await states(world, ids) == {State.FAILED}
        await world.close()

    run(program())


def test_new_payments_are_paid_again_within_the_breakers_time() -> None:
    outage = Outage()

    async def program() -> None:
        world = World(outage)
        await world.start()
        await accepted(world, "points_and_card", PAYMENTS, "early")
        await recovering(world, 60.0)
        outage.lasts = False
        paid = []
        for number in range(12):  # one a second
            (found,) = await accepted(world, "points_and_card", 1, f"late-{number}")
            paid.append(found)
            await world.clock.sleep(1.0)
        await recovering(world, LEASE_S)
        assert [await states(world, [each]) for each in paid[6:]] == [{State.PAID}] * 6
        await world.close()

    run(program())


def test_a_crash_while_the_breaker_is_open_loses_nothing() -> None:
    outage = Outage(frozenset({Operation.CONFIRM, Operation.CANCEL}))

    async def program() -> None:
        world = World(outage)
        await world.start()
        ids = await accepted(world, "points_and_card", PAYMENTS, "waits")
        await world.clock.sleep(20.0)
        await world.crash()
        world.restart()
        await recovering(world, LEASE_S + 30.0)
        outage.lasts = False
        await recovering(world, STEP_S + RECOVER_EVERY_S)
        assert await states(world, ids) == {State.PAID}
        for transaction_id in ids:
            check(await world.scene(transaction_id))
        await world.close()

    run(program())


def test_a_participant_with_few_places_is_never_asked_for_more() -> None:
    async def program() -> None:
        world = World()
        world.guard = world.guard.__class__(max_in_flight=3)
        slow = world.participants["points"].perform
        under_way = most = 0

        async def perform(*args: object) -> object:
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            await world.clock.sleep(0.05)
            under_way -= 1
            return await slow(*args)  # type: ignore[arg-type] # passed on as it came

        world.participants["points"].perform = perform  # type: ignore[method-assign,assignment]
        await world.start()
        ids = await accepted(world, "points_and_card", PAYMENTS, "many")
        await recovering(world, 60.0)
        assert await states(world, ids) == {State.PAID}
        assert most == 3
        for transaction_id in ids:
            check(await world.scene(transaction_id))
        await world.close()

    run(program())
