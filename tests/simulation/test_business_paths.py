"""Every business path of every flow, with everything that can go wrong at each of its points."""

from __future__ import annotations

import pytest

from coordinator.domain.decide import Call
from coordinator.domain.ids import TransactionId
from coordinator.domain.machine import State
from coordinator.domain.phase import Operation
from fault_injection.coverage.ledger import Ledger
from fault_injection.invariants import Scene, check
from fault_injection.model_participant import Defer, Fault, Script
from fault_injection.sweep.campaign import Kind, Wanted, play_portion, portions, walks
from fault_injection.sweep.cases import dashed
from fault_injection.sweep.run import play as play_case
from fault_injection.sweep.smaller import command
from fault_injection.virtual_time import run
from fault_injection.world import FLOWS, World, payment

WALKS = walks(list(FLOWS), ())
SWEPT = [(*walk, kind) for walk in WALKS for kind in (Kind.SINGLES, Kind.WINDOWS)]


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


@pytest.mark.parametrize(
    ("flow", "path", "kind"),
    SWEPT,
    ids=[f"{flow}/{dashed(path)}/{kind}" for flow, path, kind in SWEPT],
)
def test_whatever_fails_once_or_many_times_a_path_ends_as_it_must(
    flow: str, path: str, kind: Kind, ledger: Ledger
) -> None:
    tried = 0
    for portion in portions(flow, path, Wanted()):
        if portion.kind is kind:
            played = play_portion(portion)
            tried += played.cases
            ledger.add(f"sweep {kind}", played.cells)
            if played.failed is not None:
                failing = play_case(played.failed)
                assert failing.finding is not None
                story = "\n".join([failing.finding.problem, *failing.finding.story])
                pytest.fail(f"{command(failing)}\n{story}")
    assert tried, "every path has points"


@pytest.mark.parametrize(
    ("flow", "phase"), [(flow.name, phase.name) for flow in FLOWS.values() for phase in flow.called]
)
def test_a_try_that_is_never_decided_is_released_when_the_reservation_is_over(
    flow: str, phase: str
) -> None:
    scene = run(play(World(at(phase, Operation.TRY, Defer(3600.0), 1)), flow))
    check(scene)
    assert scene.transaction.state is State.FAILED
