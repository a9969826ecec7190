"""Operators who do anything at any time, allowed or not.

None of them gives evidence: what rests on that alone cannot be checked.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

from coordinator.domain.ids import TransactionId
from coordinator.domain.permitted import StepAnswer
from coordinator.engine.operate.desk import Order
from coordinator.engine.operate.explain import Explain
from coordinator.engine.operate.resolve import Resolve
from fault_injection.simulation.swarm import draw
from fault_injection.world import World

T = TypeVar("T")
OPERATORS = ("alice", "bob")
_LISTED = 0.8
"""How often an operator gives an answer that is listed as possible, where one is."""


class Chance(Protocol):
    """What decides."""

    def random(self) -> float:
        """Uniform in 0..1."""

    def choice(self, seq: Sequence[T], /) -> T:
        """One of them."""


class Drawn:
    """A `Chance` that is always the same for the same key."""

    def __init__(self, *key: object) -> None:
        self._key = key
        self._count = 0

    def random(self) -> float:
        """See `Chance.random`."""
        self._count += 1
        return draw(*self._key, self._count)

    def choice(self, seq: Sequence[T], /) -> T:
        """See `Chance.choice`."""
        return seq[int(self.random() * len(seq))]


def act(
    world: World, chance: Chance, transaction_id: TransactionId, operator: str
) -> Callable[[], Awaitable[object]]:
    """Something an operator may try, allowed or not; asks whichever process is there then."""
    order = Order(operator, "because")

    def resolve() -> Awaitable[object]:
        return _resolve(world.explain, world.resolve)

    async def _resolve(explain: Explain, resolve: Resolve) -> object:
        story = await explain(transaction_id, 1)
        tried = [(each.phase, answer) for each in story.answers for answer in StepAnswer]
        listed = [(each.phase, answer) for each in story.answers for answer in each.possible]
        phase, answer = chance.choice(listed if listed and chance.random() < _LISTED else tried)
        return await resolve(transaction_id, phase, answer, order)

    acts: list[Callable[[], Awaitable[object]]] = [
        lambda: world.hold(transaction_id, order),
        lambda: world.unhold(transaction_id, order),
        lambda: world.resume(transaction_id, order),
        lambda: world.operator_cancel(transaction_id, order),
        *[resolve] * 4,
    ]
    return chance.choice(acts)
