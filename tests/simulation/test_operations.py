"""Every business path on every flow, with a crash at every commit and a fault at every step."""

from __future__ import annotations

import asyncio

import pytest

from coordinator.domain.machine import State
from coordinator.domain.phase import Operation
from coordinator.engine.refund import NewRefund
from coordinator.engine.shares import Part
from fault_injection.business_paths import PATHS, capture_or_cancel, paths_of
from fault_injection.invariants import Scene, check
from fault_injection.model_participant import (
    Fault,
    Late,
    LoseReply,
    LoseRequest,
    Refuse,
    Script,
    no_faults,
)
from fault_injection.virtual_time import run
from fault_injection.world import FLOWS, World
from tests.simulation.test_business_paths import at

WALKS = [(path, flow) for path in PATHS for flow in FLOWS]


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


@pytest.mark.parametrize("after", [False, True], ids=["before the commit", "after the commit"])
@pytest.mark.parametrize(("path", "flow"), WALKS)
def test_a_crash_at_any_commit_is_repaired(path: str, flow: str, after: bool) -> None:
    number, crashed = 0, True
    while crashed:  # until there are not so many commits
        number += 1
        world = World()
        world.crash_at(number, after=after)
        run(walk(world, path, flow))
        crashed = world.crashes > 0
    assert number > PATHS[path].commits, "every commit had its crash"


FAULTS: dict[str, Fault] = {
    "request lost": LoseRequest(),
    "reply lost": LoseReply(),
    "late, beyond every timeout": Late(60.0),
    "refused": Refuse(),
}
OPERATIONS = [
    (operation, fault)
    for operation in (Operation.TRY, Operation.CONFIRM, Operation.CANCEL)
    for fault in FAULTS
    if fault != "refused" or operation is Operation.TRY
]


WHOLE = ("points_and_card", "points_only")
"""Flows whose every path meets every fault; of the others, which are made of the same phases and
cost minutes, the paths that hold the most."""


@pytest.mark.parametrize(("operation", "fault"), OPERATIONS)
@pytest.mark.parametrize(
    ("path", "flow"),
    [(path, flow) for path, flow in WALKS if flow in WHOLE or path in ("pay", "refund at once")],
)
def test_a_fault_in_a_payment_or_in_its_refund_never_leaves_money_behind(
    path: str, flow: str, operation: Operation, fault: str
) -> None:
    for phase in FLOWS[flow].called:
        for times in (1, 4) if flow == "points_and_card" else (2,):
            script = at(phase.name, operation, FAULTS[fault], times)
            run(walk(World(script), path, flow))
            if "refund" in path:
                run(walk(World(only_refunds(script)), path, flow))


def only_refunds(script: Script) -> Script:
    """The same, but the payment itself meets no fault."""
    return lambda tx, call, attempt: (script if call.refund_of else no_faults)(tx, call, attempt)


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
