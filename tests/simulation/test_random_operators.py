"""Operators who do anything at any time, among faults and crashes; then every check.

None of them gives evidence: what rests on that alone cannot be checked.

A failing seed is in the test's name; `pytest -k 'seed_17'` replays it.
"""

from __future__ import annotations

import asyncio
import random  # noqa: TID251 - seeded by the test's name

import pytest

from coordinator.domain.decide import Call
from coordinator.domain.errors import CallerError
from coordinator.domain.ids import TransactionId
from coordinator.domain.phase import Operation
from coordinator.engine.operate.desk import Order
from fault_injection.invariants import check
from fault_injection.model_participant import Fault, Late, LoseReply, LoseRequest, Script
from fault_injection.simulation.operators import OPERATORS, act
from fault_injection.simulation.swarm import CALL_FAULTS, draw, swarm_of
from fault_injection.virtual_time import run
from fault_injection.world import FLOWS, LEASE_S, World, payment
from phases.registry import PHASES

SEEDS = range(80)
PAYMENTS = 5


def outages(seed: int, healed: list[bool]) -> Script:
    """The swarm's faults, and some operations of some phases are not answered until `healed`."""
    chance = random.Random(f"outages {seed}")
    allowed = tuple(kind for kind in CALL_FAULTS if draw(seed, "operators", kind) < 0.6)
    swarm = swarm_of(seed, allowed)
    kinds: list[Fault] = [LoseRequest(), LoseReply(), Late(3.0), Late(40.0)]
    broken = {
        (phase, operation): chance.choice(kinds)
        for phase in PHASES
        for operation in (Operation.CONFIRM, Operation.CANCEL, Operation.QUERY)
        if chance.random() < 0.35
    }

    def script(tx: TransactionId, call: Call, attempt: int) -> Fault | None:
        kind = None if healed else broken.get((call.phase.name, call.operation))
        if kind and chance.random() < 0.8:
            return kind
        return None if healed else swarm.fault(tx, call, attempt)

    return script


@pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: f"seed_{seed}")
def test_whatever_operators_do_every_payment_ends_everywhere_or_nowhere(seed: int) -> None:
    run(play(seed))


async def play(seed: int) -> None:
    chance = random.Random(f"operators {seed}")
    healed: list[bool] = []
    world = World(outages(seed, healed), seed)
    await world.start()
    try:
        made = []
        for number in range(PAYMENTS):
            manual = chance.random() < 0.3
            new = payment(chance.choice(list(FLOWS)), f"key-{number}", manual=manual)
            made.append((await world.accept(new, 0.0)).transaction.id)
        for _ in range(chance.randrange(10, 30)):
            await world.clock.sleep(chance.uniform(0.0, 4.0))
            await world.recover.run_once()
            await stir(world, chance, made)
        for transaction_id in made:
            await world.unhold(transaction_id, Order("alice", ""))
        healed.append(True)
        for transaction_id in made:
            await world.until_settled(transaction_id)
        await world.clock.sleep(100.0)  # whatever was late has arrived by now
        for transaction_id in made:
            check(await world.scene(transaction_id))
    finally:
        await world.close()


async def stir(world: World, chance: random.Random, made: list[TransactionId]) -> None:
    """A crash, a second coordinator, or one or two acts at one instant."""
    match chance.choice(["crash", "take over", *["act"] * 8]):
        case "crash":
            await world.crash()
            await world.clock.sleep(chance.uniform(0.0, 2 * LEASE_S))
            world.restart()
        case "take over":
            paused = world.driver
            world.restart()  # the paused one goes on driving what it has
            await world.clock.sleep(LEASE_S + 1.0)
            await world.recover.run_once()
            await paused.drain(60.0)
        case "act":
            transaction_id = chance.choice(made)
            count = chance.choice([1, 2])
            acts = [act(world, chance, transaction_id, who) for who in OPERATORS[:count]]
            asking = [asyncio.ensure_future(each()) for each in acts]
            if chance.random() < 0.3:  # the process dies while they wait for their answers
                await world.clock.sleep(chance.uniform(0.0, 3.0))
                for each in asking:
                    each.cancel()
                await world.crash()
                world.restart()
            answers = await asyncio.gather(*asking, return_exceptions=True)
            bugs = [
                each
                for each in answers
                if isinstance(each, BaseException)
                and not isinstance(each, CallerError | asyncio.CancelledError)
            ]
            assert not bugs, bugs
