"""What callers were told, and whether it stays true: a state that was seen never goes back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from coordinator.domain.machine import TABLE, State

REFUND_ENDS = frozenset({"SUCCEEDED", "FAILED"})


@cache
def reachable(state: State) -> frozenset[State]:
    """Every state that a transaction may be in after it was seen in `state`, this one included."""
    found = {state}
    while True:
        more = {row.target for row in TABLE if row.source in found} - found
        if not more:
            return frozenset(found)
        found |= more


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, however often its call had to be repeated.

    began_s, ended_s  from the first call to the answer, in seconds since the run began
    call              what was asked, such as `create`
    subject           the payment or refund; empty when the answer names none
    said              its state, or the code of a refusal
    """

    began_s: float
    ended_s: float
    call: str
    subject: str
    said: str

    @property
    def took_s(self) -> float:
        """How long the caller waited, in seconds."""
        return self.ended_s - self.began_s


class History:
    """Every answer; used by many threads. `elapsed_s` is how long the run has lasted.

    Each shop asks about its own payments one call after the other, so that what it hears of one
    transaction is in the order of time.
    """

    def __init__(self, elapsed_s: Callable[[], float] = lambda: 0.0) -> None:
        self.elapsed_s = elapsed_s
        self._lock = threading.Lock()
        self._last: dict[str, State] = {}
        self._refunds: dict[str, str] = {}
        self._answers: list[Answer] = []
        self.breaks: list[str] = []

    def answered(self, began_s: float, call: str, subject: str, said: str) -> None:
        """A call that began then was answered now."""
        answer = Answer(began_s, self.elapsed_s(), call, subject, said)
        with self._lock:
            self._answers.append(answer)

    def told(self, transaction_id: str, state: str) -> None:
        """A caller heard that the payment is in this state."""
        seen = State(state)
        with self._lock:
            before = self._last.get(transaction_id, seen)
            if seen not in reachable(before):
                self._break(f"S11: {transaction_id} went back from {before} to {seen}")
            self._last[transaction_id] = seen

    def told_refund(self, refund_id: str, state: str) -> None:
        """A caller heard that the refund is in this state, in callers' words."""
        with self._lock:
            before = self._refunds.get(refund_id, state)
            if before in REFUND_ENDS and state != before:
                self._break(f"S11: refund {refund_id} went back from {before} to {state}")
            self._refunds[refund_id] = state

    def missed(self, problem: str) -> None:
        """Something that cannot be was seen."""
        with self._lock:
            self._break(problem)

    def _break(self, problem: str) -> None:
        self.breaks.append(f"{problem}, {self.elapsed_s():.1f} s after the start")

    @property
    def last(self) -> Mapping[str, State]:
        """The last state that was told, by payment."""
        with self._lock:
            return dict(self._last)

    @property
    def refunds(self) -> Mapping[str, str]:
        """The last state that was told, by refund."""
        with self._lock:
            return dict(self._refunds)

    @property
    def answers(self) -> Sequence[Answer]:
        """Every answer so far."""
        with self._lock:
            return tuple(self._answers)


def percentile(values: Iterable[float], share: float) -> float | None:
    """The value that `share` (0 to 1) of them do not exceed; None when there are none."""
    ordered = sorted(values)
    if not ordered:
        return None
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
