"""What callers are told, and that none of it ever becomes untrue (S11, S12)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from typing import TypeVar

from coordinator.domain.ids import TransactionId
from coordinator.domain.machine import State
from coordinator.domain.transaction import Transaction
from coordinator.engine.accept import Accepted
from fault_injection.chaos.history import reachable
from fault_injection.invariants import Violation

T = TypeVar("T")


def transaction_of(answer: object) -> Transaction | None:
    """The payment or refund that an answer shows, if any."""
    if isinstance(answer, Accepted):
        return answer.transaction
    return answer if isinstance(answer, Transaction) else None


async def twice(first: Awaitable[T], second: Awaitable[T]) -> T:
    """Asks for the same thing twice at once. Raises as `one_of`."""
    return one_of(await asyncio.gather(first, second, return_exceptions=True))


def one_of(answers: Sequence[T | BaseException]) -> T:
    """An answer to what was asked several times at once. Raises the first problem without any.

    Raises Violation when they show different transactions (S12).
    """
    good = [answer for answer in answers if not isinstance(answer, BaseException)]
    shown = [each for each in map(transaction_of, good) if each is not None]
    if len(ids := sorted({each.id for each in shown})) > 1:
        raise Violation(f"S12: one key made {ids}")
    for answer in good:
        return answer
    problem = answers[0]
    assert isinstance(problem, BaseException), "there is no answer"
    raise problem


class Told:
    """The state that was last told of each transaction.

    made  the payment of each caller
    """

    def __init__(self) -> None:
        self._states: dict[TransactionId, State] = {}
        self.made: dict[str, TransactionId] = {}

    def copy(self) -> Mapping[TransactionId, State]:
        """What was told until now."""
        return self._states.copy()

    def hear(self, told: Transaction, before: Mapping[TransactionId, State]) -> None:
        """A caller is told. Raises Violation when it contradicts what was told `before` it asked.

        Two who ask at the same time may hear of it in either order.
        """
        _check(before, told.id, told.state)
        if told.refund_of is None:
            self.made[told.caller] = told.id
        if told.state in reachable(self._states.get(told.id, told.state)):
            self._states[told.id] = told.state

    def check(self, transaction_id: TransactionId, state: State) -> None:
        """Raises Violation when it stands where what was told of it does not lead to."""
        _check(self._states, transaction_id, state)


def _check(
    told: Mapping[TransactionId, State], transaction_id: TransactionId, state: State
) -> None:
    before = told.get(transaction_id, state)
    if state not in reachable(before):
        raise Violation(f"S11: told {before}, and then it is {state}; {transaction_id}")
