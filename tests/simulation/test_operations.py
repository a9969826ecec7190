"""Every business path on every flow without faults, and what is asked at one instant."""

from __future__ import annotations

import asyncio

import pytest

from coordinator.domain.machine import State
from coordinator.engine.refund import NewRefund
from coordinator.engine.shares import Part
from fault_injection.business_paths import PATHS, capture_or_cancel, paths_of
from fault_injection.invariants import Scene, check
from fault_injection.virtual_time import run
from fault_injection.world import FLOWS, World


async def walk(world: World, path: str, flow: str) -> list[Scene]:
    await world.start()
    try:
        ids = await paths_of(FLOWS[flow])[path].walk(world, flow)
        for transaction_id in ids:
            await world.until_settled(transaction_id)
        scenes = [await world.scene(transaction_id) for transaction_id in ids]
        for scene in scenes:
            check(scene)
        return scenes
    finally:
        await world.close()


@pytest.mark.parametrize(
    ("path", "flow"), [(path, flow.name) for flow in FLOWS.values() for path in paths_of(flow)]
)
def test_without_faults_a_path_ends_as_it_says(path: str, flow: str) -> None:
    gone = paths_of(FLOWS[flow])[path]
    first, *_ = run(walk(World(gone.answers), path, flow))
    assert first.transaction.state is gone.expect


@pytest.mark.parametrize("flow", FLOWS)
def test_of_a_capture_and_a_cancel_at_one_instant_exactly_one_wins(flow: str) -> None:
    async def play() -> Scene:
        world = World()
        await world.start()
        try:
            [payment_id] = await capture_or_cancel(world, flow)
            await world.until_settled(payment_id)
            return await world.scene(payment_id)
        finally:
            await world.close()

    scene = run(play())
    check(scene)
    events = {entry.event for entry in scene.journal}
    assert ("capture" in events) != ("release" in events)
    assert scene.transaction.state in {State.PAID, State.FAILED}


def test_the_same_refund_asked_for_many_times_at_once_is_one_refund_for_everybody() -> None:
    async def play() -> None:
        world = World()
        await world.start()
        [payment_id] = await PATHS["pay"].walk(world, "points_and_card")
        new = NewRefund("shop", "refund-1", payment_id, Part())
        answers = await asyncio.gather(*(world.refund(new) for _ in range(15)))
        assert len({answer.transaction.id for answer in answers}) == 1
        assert [answer.replayed for answer in answers].count(False) == 1
        await world.until_settled(answers[0].transaction.id)
        check(await world.scene(payment_id))
        await world.close()

    run(play())
