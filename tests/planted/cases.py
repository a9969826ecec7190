"""The cases of each layer that runs in this process: deterministic, and in a mixed order.

Mixed, so that the first few hundred already touch every path, flow and kind of fault.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator, Mapping
from itertools import islice, product
from typing import Any, NamedTuple

from coordinator.domain.decide import Call
from coordinator.domain.ids import TransactionId
from coordinator.domain.phase import Operation
from fault_injection.business_paths import paths_of
from fault_injection.invariants import Violation, check, nobody_else_is_held
from fault_injection.model_participant import (
    Defer,
    Fault,
    Late,
    LoseReply,
    LoseRequest,
    Refuse,
    Script,
    no_faults,
)
from fault_injection.simulation.plan import plan_of
from fault_injection.simulation.run import play
from fault_injection.simulation.swarm import draw
from fault_injection.virtual_time import run
from fault_injection.world import FLOWS, World
from tests.planted.bug import Layer
from tests.simulation import test_random_operators, test_random_pairs

OPERATIONS = (Operation.TRY, Operation.CONFIRM, Operation.CANCEL)
FAULTS: Mapping[str, Fault] = {
    "request lost": LoseRequest(),
    "reply lost": LoseReply(),
    "late": Late(3.0),
    "very late": Late(60.0),
    "refused": Refuse(),
    "pending": Defer(2.5),
    "pending for ever": Defer(3600.0),
}
LENGTHS = (4, 8, 16, 32)
"""Calls in a row that an outage swallows."""
STARTS = range(1, 5)
LOST = ("request lost", "reply lost")
COMMITS = range(1, 13)


class Case(NamedTuple):
    """One run; it raises when something does not hold."""

    name: str
    run: Callable[[], object]


async def walk(world: World, path: str, flow: str) -> None:
    """One caller on one path; then every invariant of all that it made."""
    await world.start()
    try:
        made = await paths_of(FLOWS[flow])[path].walk(world, flow)
        for transaction_id in made:
            await world.until_settled(transaction_id)
        for transaction_id in made:
            check(await world.scene(transaction_id))
        known = world.database.rows("SELECT id FROM transactions")
        nobody_else_is_held(world.participants, {TransactionId(each) for (each,) in known})
    finally:
        await world.close()


def _walking(path: str, flow: str, script: Script = no_faults) -> Callable[[], object]:
    return lambda: run(walk(_world(path, flow, script), path, flow))


def _world(path: str, flow: str, script: Script) -> World:
    """Where the fault befalls what the path's participants would have answered."""
    answers = paths_of(FLOWS[flow])[path].answers
    return World(lambda tx, call, attempt: script(tx, call, attempt) or answers(tx, call, attempt))


def _nth(phase: str, operation: Operation, fault: Fault, times: int) -> Script:
    def script(_id: TransactionId, call: Call, attempt: int) -> Fault | None:
        its = call.phase.name == phase and call.operation is operation
        return fault if its and attempt <= times else None

    return script


def _possible(flow: str, phase: str, operation: Operation, fault: Fault) -> bool:
    if isinstance(fault, Defer):
        return operation is Operation.TRY
    if isinstance(fault, Refuse):
        pivot = FLOWS[flow].pivot
        is_pivot = pivot is not None and pivot.name == phase
        return operation is Operation.TRY or (operation is Operation.CONFIRM and is_pivot)
    return True


def singles() -> Iterator[Case]:
    """Every path and flow without a fault, and with each fault at each step and operation."""
    for flow in FLOWS:
        for path in paths_of(FLOWS[flow]):
            yield Case(f"{path}, {flow}", _walking(path, flow))
            for phase in (each.name for each in FLOWS[flow].called):
                for operation, (name, fault) in product(OPERATIONS, FAULTS.items()):
                    if not _possible(flow, phase, operation, fault):
                        continue
                    for times in (1, 4):
                        script = _nth(phase, operation, fault, times)
                        title = f"{path}, {flow}: {phase} {operation} {name} {times}x"
                        yield Case(title, _walking(path, flow, script))


def crashes() -> Iterator[Case]:
    """Every path and flow with a crash before and after every commit."""
    for flow in FLOWS:
        for path in paths_of(FLOWS[flow]):
            for number, after in product(COMMITS, (False, True)):
                title = f"{path}, {flow}: a crash {'after' if after else 'before'} commit {number}"
                yield Case(title, _crashing(path, flow, number, after=after))


def _crashing(path: str, flow: str, number: int, *, after: bool) -> Callable[[], object]:
    def crashing() -> None:
        world = _world(path, flow, no_faults)
        world.crash_at(number, after=after)
        run(walk(world, path, flow))

    return crashing


def windows() -> Iterator[Case]:
    """Every path and flow with a participant that is out of reach for so many calls in a row."""
    for flow in FLOWS:
        for path in paths_of(FLOWS[flow]):
            for phase in (each.name for each in FLOWS[flow].called):
                for length, start, lost in product(LENGTHS, STARTS, LOST):
                    calls = range(start, start + length)
                    title = f"{path}, {flow}: {phase} {lost} {calls.start}..{calls.stop - 1}"
                    yield Case(title, _away(path, flow, phase, FAULTS[lost], calls))


def _away(path: str, flow: str, phase: str, fault: Fault, calls: range) -> Callable[[], object]:
    def away() -> None:
        made = 0

        def script(_id: TransactionId, call: Call, _attempt: int) -> Fault | None:
            nonlocal made
            made += call.phase.name == phase
            return fault if call.phase.name == phase and made in calls else None

        run(walk(_world(path, flow, script), path, flow))

    return away


def seeds() -> Iterator[Case]:
    """The runs of `kessai simulate`."""
    for seed in range(10_000):
        yield Case(f"seed {seed}", lambda seed=seed: _play(seed))  # type: ignore[misc] # a default


def _play(seed: int) -> None:
    finding = play(plan_of(seed)).finding
    if finding is not None:
        raise Violation(finding.problem)


def _random(name: str, program: Callable[[int], Coroutine[Any, Any, None]]) -> Iterator[Case]:
    for seed in range(10_000):
        yield Case(f"{name} {seed}", lambda seed=seed: run(program(seed)))  # type: ignore[misc]


def pairs() -> Iterator[Case]:
    """Two coordinators that freeze, die and take each other's payments up."""
    return _random("pair", test_random_pairs.play)


def operators() -> Iterator[Case]:
    """Operators who do anything at any time."""
    return _random("operators", test_random_operators.play)


class Budget(NamedTuple):
    """A layer's cases, and how many of them a bug may take before it counts as not caught."""

    cases: Callable[[], Iterator[Case]]
    most: int
    mixed: bool = False


BUDGETS: Mapping[Layer, Budget] = {
    Layer.SINGLES: Budget(singles, 300, mixed=True),
    Layer.CRASHES: Budget(crashes, 300, mixed=True),
    Layer.WINDOWS: Budget(windows, 150, mixed=True),
    Layer.SEEDS: Budget(seeds, 60),
    Layer.PAIRS: Budget(pairs, 40),
    Layer.OPERATORS: Budget(operators, 40),
}


def cases_of(layer: Layer, where: str = "") -> list[Case]:
    """The cases that a bug may take, in order; those that have `where` in their names first."""
    budget = BUDGETS[layer]
    found = budget.cases()
    if budget.mixed:
        mixed = sorted(found, key=lambda case: (where not in case.name, draw(layer, case.name)))
        return mixed[: budget.most]
    return list(islice(found, budget.most))
