"""One random run: a plan is played on virtual time, then every invariant is checked.

Several shops walk business paths at once while calls, commits and processes fail; then the world
is healed, and everything has to end as the invariants say.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from coordinator.domain.errors import CallerError, WrongState
from coordinator.domain.ids import TransactionId
from coordinator.domain.machine import CANCELLABLE
from coordinator.domain.money import Money
from coordinator.domain.split import InOrder, ProRata
from coordinator.domain.transaction import Failure
from coordinator.engine.capture import NewCapture
from coordinator.engine.operate.desk import Order
from coordinator.engine.refund import NewRefund
from coordinator.engine.shares import Part
from coordinator.ports import Clock
from fault_injection.business_paths import PATHS
from fault_injection.coverage.tally import Cell
from fault_injection.databases import Database, Sqlite
from fault_injection.invariants import (
    Violation,
    captured_as_asked,
)
from fault_injection.simulation.finding import STORY_LINES, Finding, play_out
from fault_injection.simulation.operators import OPERATORS, Drawn, act
from fault_injection.simulation.plan import Act, Buying, Plan
from fault_injection.simulation.swarm import OPERATORS as OPERATORS_ACT
from fault_injection.simulation.swarm import draw
from fault_injection.simulation.trace import parting
from fault_injection.simulation.world import SimulatedWorld
from fault_injection.world import RECOVER_EVERY_S
from phases.registry import PHASES

OPERATOR_ACTS = 4
"""How often operators deal with each payment, where they do."""
LATE_S = 100.0
"""After so long whatever was late has arrived, in seconds."""


@dataclass(frozen=True, slots=True)
class Run:
    """A run that is over. `finding` is None when everything held.

    transactions  payments and refunds
    cells         what was tried, and what came of it
    met           how often each kind of fault came about
    """

    plan: Plan
    hash: str
    payments: int
    transactions: int
    crashes: int
    finding: Finding | None
    cells: Mapping[Cell, int] = field(default_factory=Counter)
    met: Mapping[str, int] = field(default_factory=dict)


def play(plan: Plan, database: Callable[[Clock], Database] = Sqlite) -> Run:
    """Plays the plan. What does not hold, and what breaks, is in the result and not raised."""
    return _run(SimulatedWorld(plan.swarm, len(plan.buyings), database), plan)


def play_twice(plan: Plan, database: Callable[[Clock], Database] = Sqlite) -> Run:
    """Plays the plan in memory, then on `database`, and finds where the two traces part (S20)."""
    worlds = [SimulatedWorld(plan.swarm, len(plan.buyings), each) for each in (Sqlite, database)]
    first, second = [_run(world, plan) for world in worlds]
    if second.finding is not None or first.hash == second.hash:
        return second
    story = parting(worlds[0].trace, worlds[1].trace, STORY_LINES)
    problem = "S20: the same seed gives another trace than in memory"
    return replace(second, finding=Finding(problem, "", tuple(story)))


def _run(world: SimulatedWorld, plan: Plan) -> Run:
    finding, made = play_out(world, plan.seed, lambda: _live(world, plan))
    return Run(
        plan=plan,
        hash=world.trace.hash,
        payments=len(plan.buyings),
        transactions=len(made),
        crashes=world.crashes,
        finding=finding,
        cells=world.tally.cells,
        met=world.faults_met(),
    )


async def _live(world: SimulatedWorld, plan: Plan) -> list[TransactionId]:
    """Everything that happens; returns every transaction that was made, in order."""
    async with asyncio.TaskGroup() as everybody:
        for buying in plan.buyings:
            everybody.create_task(_walk(world, buying))
            for number, act in enumerate(buying.acts):
                everybody.create_task(_act(world, buying, number, act))
        everybody.create_task(_crashes(world, plan))
        everybody.create_task(_seconds(world, plan))
        everybody.create_task(_heal(world, plan.healed_s))
        everybody.create_task(_operate(world, plan))
        everybody.create_task(_freezes(world, plan))
    made = [world.told.made[buying.caller] for buying in plan.buyings]
    for payment_id in tuple(made):
        made += [refund.id for refund in await world.eye.refunds_of(payment_id)]
    for transaction_id in made:
        await world.until_settled(transaction_id)
    await world.clock.sleep(LATE_S)
    return made


async def _until(world: SimulatedWorld, at_s: float) -> None:
    await world.clock.sleep(max(0.0, at_s - world.clock.monotonic()))


async def _heal(world: SimulatedWorld, at_s: float) -> None:
    await _until(world, at_s)
    world.heal()


async def _crashes(world: SimulatedWorld, plan: Plan) -> None:
    for crash in sorted(plan.crashes, key=lambda each: each.at_s):
        await _until(world, crash.at_s)
        if not world.healed:
            await world.crash_once(crash)


async def _seconds(world: SimulatedWorld, plan: Plan) -> None:
    """A second coordinator comes, is asked from then on, and the first one is stopped later."""
    for start_s, end_s in sorted(plan.seconds):
        await _until(world, start_s)
        first = world.second()
        if first is not None:
            await _until(world, end_s)
            await world.stop(first)


async def _freezes(world: SimulatedWorld, plan: Plan) -> None:
    """A coordinator stands still, goes on, and is stopped some time later if another one came."""
    for freeze in sorted(plan.freezes, key=lambda each: each.start_s):
        await _until(world, freeze.start_s)
        frozen = world.freeze(alone=freeze.alone)
        if frozen is not None:
            await _until(world, freeze.end_s)
            world.thaw(frozen)
            if not freeze.alone:
                await world.clock.sleep(RECOVER_EVERY_S)
                await world.stop(frozen)


async def _walk(world: SimulatedWorld, buying: Buying) -> None:
    await world.clock.sleep(buying.at_s)
    await PATHS[buying.path].walk(world, buying.flow, buying.caller)


async def _act(world: SimulatedWorld, buying: Buying, number: int, act: Act) -> None:
    """What another till of the shop does; a refusal is fine, anything else is a bug."""
    await world.clock.sleep(act.at_s)
    payment_id = world.told.made.get(buying.caller)
    if payment_id is None:
        return  # it is not bought yet, or nobody has heard of it
    part = _some_part(world.swarm.seed, buying.number, number)
    key = f"{act.what}-till-2-{number}"
    match act.what:
        case "cancel":
            await _cancel(world, buying.caller, payment_id)
        case "capture":
            await _refusable(_capture(world, NewCapture(buying.caller, key, payment_id, part)))
        case "refund":
            refunds = [
                NewRefund(buying.caller, f"{key}-{each}", payment_id, part)
                for each in range(1 + int(3 * draw(world.swarm.seed, buying.number, key)))
            ]
            await asyncio.gather(*(_refund(world, refund) for refund in refunds))


async def _capture(world: SimulatedWorld, new: NewCapture) -> None:
    accepted = await world.call(lambda: world.capture(new))
    captured_as_asked(new, accepted.transaction)


async def _operate(world: SimulatedWorld, plan: Plan) -> None:
    """What operators do until the world is healed; then nothing is held any more."""
    if not plan.swarm.has(OPERATORS_ACT):
        return
    async with asyncio.TaskGroup() as desk:
        for buying in plan.buyings:
            for number in range(OPERATOR_ACTS):
                desk.create_task(_operator(world, buying, number))
    await _until(world, plan.healed_s)
    held = world.database.rows("SELECT id FROM transactions WHERE held_by IS NOT NULL")
    for transaction_id in sorted(TransactionId(str(each)) for (each,) in held):
        await _unhold(world, transaction_id)
    world.over_now()


async def _unhold(world: SimulatedWorld, transaction_id: TransactionId) -> None:
    order = Order(OPERATORS[0], "")
    await _refusable(world.call(lambda: world.unhold(transaction_id, order)))


async def _operator(world: SimulatedWorld, buying: Buying, number: int) -> None:
    """One act, about a payment or one of its refunds; a refusal is fine."""
    chance = Drawn(world.swarm.seed, "operator", buying.number, number)
    await world.clock.sleep(buying.at_s + (world.swarm.healed_s - buying.at_s) * chance.random())
    payment_id = world.told.made.get(buying.caller)
    if payment_id is None or world.healed:
        return
    refunds = [refund.id for refund in await world.eye.refunds_of(payment_id)]
    about = chance.choice([payment_id, *refunds])
    world.met[OPERATORS_ACT] += 1
    await _refusable(world.call(act(world, chance, about, chance.choice(OPERATORS))))


async def _refund(world: SimulatedWorld, new: NewRefund) -> None:
    await _refusable(world.call(lambda: world.refund(new)))


async def _refusable(asking: Coroutine[Any, Any, object]) -> None:
    try:
        await asking
    except CallerError:
        return


async def _cancel(world: SimulatedWorld, caller: str, payment_id: TransactionId) -> None:
    failure = Failure("CANCELLED_BY_CALLER", "changed their mind")
    try:
        await world.call(lambda: world.cancel(caller, payment_id, failure))
    except WrongState:
        found = await world.eye.get(payment_id)
        assert found is not None, "nothing is ever deleted"
        if found.state in CANCELLABLE:
            raise Violation(f"a cancel was refused while {found.state}") from None


def _some_part(*key: object) -> Part:
    """All of it, or so much, divided in some way."""
    everything = draw(*key, "all") < 0.3  # noqa: PLR2004 - now and then
    amount = None if everything else Money(1 + int(1000 * draw(*key, "amount")), "JPY")
    takers = sorted(phase.name for phase in PHASES.values() if phase.role == "takes")
    first = takers[int(len(takers) * draw(*key, "first"))]
    in_order = draw(*key, "split") < 0.4  # noqa: PLR2004 - now and then
    return Part(amount, InOrder((first,)) if in_order else ProRata())
