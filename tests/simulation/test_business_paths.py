"""Every flow, step, operation and fault: each payment ends paid or undone everywhere."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from coordinator.domain.decide import Call
from coordinator.domain.ids import TransactionId
from coordinator.domain.machine import State
from coordinator.domain.phase import Operation
from fault_injection.invariants import Scene, check
from fault_injection.model_participant import (
    Defer,
    Fault,
    Late,
    LoseReply,
    LoseRequest,
    Refuse,
    Script,
)
from fault_injection.virtual_time import run
from fault_injection.world import FLOWS, World, payment

FAULTS: dict[str, Fault] = {
    "request lost": LoseRequest(),
    "reply lost": LoseReply(),
    "late, within the deadline": Late(3.0),
    "late, beyond every timeout": Late(60.0),
    "refused": Refuse(),
    "pending, then held": Defer(2.5),
    "pending for ever": Defer(3600.0),
}
SITES = [
    (flow.name, phase.name, operation, fault, times)
    for flow in FLOWS.values()
    for phase in flow.called
    for operation in (Operation.TRY, Operation.CONFIRM, Operation.CANCEL)
    for fault in FAULTS
    for times in ((1, 4, 32) if flow.name == "points_and_card" else (1, 32))
    if operation is Operation.TRY or not fault.startswith("pending")
    if not (fault == "refused" and operation is Operation.CANCEL)
    if not (fault == "refused" and operation is Operation.CONFIRM and phase is not flow.pivot)
]


def at(phase: str, operation: Operation, fault: Fault, times: int) -> Script:
    """The first `times` calls of this step meet the fault; a Cancel needs a refusal before it."""

    def script(_id: TransactionId, call: Call, attempt: int) -> Fault | None:
        if call.phase.name == phase and call.operation is operation and attempt <= times:
            return fault
        return None

    return script


async def play(world: World, flow: str) -> Scene:
    await world.start()
    try:
        accepted = await world.accept(payment(flow), 0.0)
        await world.until_settled(accepted.transaction.id)
        return await world.scene(accepted.transaction.id)
    finally:
        await world.close()


@pytest.mark.parametrize("flow", FLOWS)
def test_without_faults_every_flow_is_paid_everywhere(flow: str) -> None:
    scene = run(play(World(), flow))
    check(scene)
    assert scene.transaction.state is State.PAID


@pytest.mark.parametrize(("flow", "phase", "operation", "fault", "times"), SITES)
def test_a_single_fault_never_leaves_a_payment_half_done(
    flow: str, phase: str, operation: Operation, fault: str, times: int
) -> None:
    script = at(phase, operation, FAULTS[fault], times)
    if operation is Operation.CANCEL:
        script = with_a_refusal(script, flow, phase)
    check(run(play(World(script), flow)))


def with_a_refusal(script: Script, flow: str, spared: str) -> Script:
    """Also makes another step than `spared` refuse, so that there is something to cancel."""
    others = [phase.name for phase in FLOWS[flow].called if phase.name != spared]
    refuse = at(others[-1], Operation.TRY, Refuse(), 1)
    return lambda tx, call, attempt: script(tx, call, attempt) or refuse(tx, call, attempt)


@pytest.mark.parametrize("flow", FLOWS)
@pytest.mark.parametrize("after", [False, True], ids=["before the commit", "after the commit"])
@pytest.mark.parametrize("number", [1, 2, 3, 4])
@pytest.mark.parametrize("refused", ["nobody", "last try", "pivot"])
def test_a_crash_at_any_commit_is_repaired(
    flow: str, after: bool, number: int, refused: str
) -> None:
    check(run(play_with_crash(flow, after, number, refused)))


async def play_with_crash(flow: str, after: bool, number: int, refused: str) -> Scene:
    phases = FLOWS[flow].called
    script: Script | None = None
    if refused == "last try":
        script = at(phases[-1].name, Operation.TRY, Refuse(), 99)
    elif refused == "pivot" and (pivot := FLOWS[flow].pivot):
        script = at(pivot.name, Operation.CONFIRM, Refuse(), 99)
    world = World(script)
    await world.start()
    commits = itertools.count(1)
    crashed = False

    def maybe_crash(_change: object) -> None:
        nonlocal crashed
        if next(commits) == number:
            crashed = True
            for task in world.driver.tasks:
                task.cancel()

    hook = "after_commit" if after else "before_commit"
    setattr(world.store, hook, maybe_crash)
    try:
        accepting = asyncio.create_task(world.accept(payment(flow), 0.0))
        await asyncio.wait([accepting])
        while not crashed and world.driver.in_flight:
            await world.clock.sleep(0.1)
        await world.crash()
        setattr(world.store, hook, lambda _change: None)
        world.restart()
        # The caller of a process that died before it answered asks again, with the same key.
        accepted = await world.accept(payment(flow), 0.0)
        assert accepted.replayed or accepting.cancelled()
        await world.until_settled(accepted.transaction.id)
        return await world.scene(accepted.transaction.id)
    finally:
        await world.close()
