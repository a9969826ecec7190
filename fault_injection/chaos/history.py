"""What callers were told, and whether it stays true: a state that was seen never goes back."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import cache

from coordinator.domain.machine import TABLE, State


@cache
def reachable(state: State) -> frozenset[State]:
    """Every state that a transaction may be in after it was seen in `state`, this one included."""
    found = {state}
    while True:
        more = {row.target for row in TABLE if row.source in found} - found
        if not more:
            return frozenset(found)
        found |= more


class History:
    """What was told of every transaction; used by many threads.

    Each shop asks about its own payments one call after the other, so that what it hears of one
    transaction is in the order of time.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: dict[str, State] = {}
        self.answers = 0
        self.breaks: list[str] = []

    def told(self, transaction_id: str, state: str) -> None:
        """A caller heard that the transaction is in this state."""
        seen = State(state)
        with self._lock:
            self.answers += 1
            before = self._last.get(transaction_id, seen)
            if seen not in reachable(before):
                self.breaks.append(f"S11: {transaction_id} went back from {before} to {seen}")
            self._last[transaction_id] = seen

    def missed(self, problem: str) -> None:
        """A caller heard something that cannot be."""
        with self._lock:
            self.breaks.append(problem)

    @property
    def last(self) -> Mapping[str, State]:
        """The last state that was told, by transaction."""
        with self._lock:
            return dict(self._last)
