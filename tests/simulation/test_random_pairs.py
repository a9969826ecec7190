"""Two coordinators, each with a name of its own, callers and operators at both; then every check.

Either may be frozen with its calls under way, die, or be stopped and give its claims back, at any
moment. A failing seed is in the test's name; `pytest -k 'seed_17'` replays it.
"""

from __future__ import annotations

import asyncio
import random  # noqa: TID251 - seeded by the test's name
from collections.abc import Awaitable, Callable
from datetime import datetime

import pytest

from adapters.guarded_participant import Guard
from coordinator.domain.decide import Call
from coordinator.domain.errors import CallerError
from coordinator.domain.ids import TransactionId
from coordinator.domain.money import Money
from coordinator.domain.outcome import Outcome
from coordinator.domain.split import InOrder, ProRata
from coordinator.domain.transaction import Failure
from coordinator.engine.capture import NewCapture
from coordinator.engine.operate.desk import Order
from coordinator.engine.refund import NewRefund
from coordinator.engine.shares import Part
from fault_injection.invariants import check
from fault_injection.model_participant import ModelParticipant
from fault_injection.simulation.operators import OPERATORS, act
from fault_injection.virtual_time import run
from fault_injection.world import FLOWS, LEASE_S, World, payment
from tests.simulation.test_random_operators import outages

SEEDS = range(40)
PAYMENTS = 5


class Frozen:
    """A participant as one process sees it: no call leaves and no answer comes while it sleeps."""

    def __init__(self, inner: ModelParticipant, awake: asyncio.Event) -> None:
        self._inner = inner
        self._awake = awake

    async def perform(
        self, transaction_id: TransactionId, call: Call, hold_until: datetime
    ) -> Outcome:
        """See `Participant.perform`."""
        await self._awake.wait()
        outcome = await self._inner.perform(transaction_id, call, hold_until)
        await self._awake.wait()
        return outcome


class Process:
    """One of the coordinators. `restart` is what a service manager does after its end."""

    def __init__(self, world: World, name: str) -> None:
        self._first = world
        self._name = name
        self._starts = 0
        self._models = dict(world.participants)
        self.restart()

    def restart(self) -> None:
        """A new process, under a new name."""
        self._starts += 1
        self.awake = asyncio.Event()
        self.awake.set()
        self.world = self._first.beside(f"{self._name}-{self._starts}")
        self.world.participants = {
            name: Frozen(model, self.awake)  # type: ignore[misc] # it only has to perform
            for name, model in self._models.items()
        }
        self.world.restart()

    async def crash(self) -> None:
        """It dies; another one starts at once."""
        await self.world.crash()
        await self.world.store.close()
        self.restart()

    async def stop(self) -> None:
        """It is stopped, gives its claims back, and another one starts."""
        await self.world.driver.drain(0)
        await self.world.store.release_claims()
        await self.world.store.close()
        self.restart()


@pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: f"seed_{seed}")
def test_whoever_drives_it_every_payment_ends_everywhere_or_nowhere(seed: int) -> None:
    run(play(seed))


async def play(seed: int) -> None:
    chance = random.Random(f"pairs {seed}")
    healed: list[bool] = []
    world = World(outages(seed, healed), seed)
    if seed % 2:
        world.guard = Guard(max_in_flight=2, breaker_failures=1 + seed % 3, breaker_open_s=2.0)
    await world.start()
    pair = [Process(world, "first"), Process(world, "second")]
    try:
        made = []
        for number in range(PAYMENTS):
            new = payment(chance.choice(list(FLOWS)), f"key-{number}", manual=chance.random() < 0.3)
            made.append((await chance.choice(pair).world.accept(new, 0.0)).transaction.id)
        for number in range(chance.randrange(15, 40)):
            await world.clock.sleep(chance.uniform(0.0, 4.0))
            await look(pair)
            await stir(pair, chance, made, number)
        await end(world, pair, made, healed)
    finally:
        for process in pair:
            await process.world.driver.drain(0)
            await process.world.store.close()
        await world.close()


async def look(pair: list[Process]) -> None:
    for process in pair:
        if process.awake.is_set():
            await process.world.renew.run_once()
            await process.world.recover.run_once()


async def end(
    world: World, pair: list[Process], made: list[TransactionId], healed: list[bool]
) -> None:
    """Everything is healed and unheld, and runs to its end; then every check."""
    healed.append(True)
    for process in pair:
        process.awake.set()
    every = list(made)
    for transaction_id in made:
        every += [refund.id for refund in await world.store.refunds_of(transaction_id)]
    for transaction_id in every:
        await pair[0].world.unhold(transaction_id, Order("alice", ""))
    for transaction_id in every:
        await world.until_settled(transaction_id)
    await world.clock.sleep(100.0)  # whatever was late has arrived by now
    for transaction_id in every:
        check(await world.scene(transaction_id))
    owned = [await world.store.claim_of(each) for each in every]
    assert owned == [None] * len(every), "claims outlive their payments"


async def stir(
    pair: list[Process], chance: random.Random, made: list[TransactionId], number: int
) -> None:
    """One of them dies, stops, freezes or wakes, or somebody wants something of one or both."""
    process = chance.choice(pair)
    match chance.choice(["crash", "stop", "freeze", "freeze", *["ask"] * 8]):
        case "crash":
            await process.crash()
        case "stop":
            await process.stop()
        case "freeze":
            if process.awake.is_set():
                process.awake.clear()
                await process.world.clock.sleep(chance.choice([0.0, 5.0, LEASE_S + 1.0]))
            else:
                process.awake.set()
        case "ask":
            transaction_id = chance.choice(made)
            refunds = await process.world.store.refunds_of(transaction_id)
            if refunds and chance.random() < 0.5:
                transaction_id = chance.choice([each.id for each in refunds])
            asks = [
                wish(chance.choice(pair).world, chance, transaction_id, f"{number}-{each}")
                for each in range(chance.choice([1, 2, 3]))
            ]
            asking = [asyncio.ensure_future(ask()) for ask in asks]
            await asyncio.wait(asking, timeout=chance.choice([0.1, 5.0, 20.0]))
            for each in asking:
                each.cancel()
            answers = await asyncio.gather(*asking, return_exceptions=True)
            bugs = [
                each
                for each in answers
                if isinstance(each, BaseException)
                and not isinstance(each, CallerError | asyncio.CancelledError)
            ]
            assert not bugs, bugs


def wish(
    world: World, chance: random.Random, transaction_id: TransactionId, name: str
) -> Callable[[], Awaitable[object]]:
    """Something a caller, a participant or an operator may want, allowed or not."""
    part = some_part(chance)
    failure = Failure("CANCELLED_BY_CALLER", "why")
    flow_phase = chance.choice(["points_reserve", "card_charge", "merchant_credit"])
    participant = next(
        phase.participant
        for flow in FLOWS.values()
        for phase in flow.called
        if phase.name == flow_phase
    )
    operator = chance.choice(OPERATORS)
    return chance.choice(
        [
            lambda: world.cancel("shop", transaction_id, failure),
            lambda: world.capture(NewCapture("shop", f"capture-{name}", transaction_id, part)),
            lambda: world.refund(NewRefund("shop", f"refund-{name}", transaction_id, part)),
            lambda: world.report(participant, transaction_id, flow_phase),
            *[act(world, chance, transaction_id, operator)] * 5,
        ]
    )


def some_part(chance: random.Random) -> Part:
    """All of it, or so much, divided in some way."""
    amount = Money(chance.randrange(1, 1001), "JPY") if chance.random() < 0.7 else None
    first = chance.choice(["points_reserve", "card_charge"])
    return Part(amount, ProRata() if chance.random() < 0.6 else InOrder((first,)))
