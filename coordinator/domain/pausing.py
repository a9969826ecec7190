"""When a flow stops taking new payments by itself: too many of them found a participant silent.

Whoever is refused a payment that could not have been paid loses nothing, and a participant that is
in trouble is left alone. What counts is how a payment leaves CREATED: every participant answered,
whatever it said, or one of them did not in time. Refusals, cancels and expired reservations are
business as usual.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from coordinator.domain.machine import Event, State
from coordinator.domain.retry import LONGEST_S
from coordinator.domain.transaction import Change, EntryKind

NOT_ANSWERED = "TRY_DEADLINE_EXCEEDED"
SLOTS = 60
"""A window moves on in so many steps."""


@dataclass(frozen=True, slots=True)
class PausePolicy:
    """When to pause, and for how long.

    window_s  how far back payments count, in seconds
    at_least  with fewer payments in the window nothing is paused
    limit     0..1: pauses when more than this share of them found a participant silent
    pause_s   how long, in seconds

    Raises ValueError when a value is out of range.
    """

    window_s: float = 60.0
    at_least: int = 20
    limit: float = 0.5
    pause_s: float = 30.0

    def __post_init__(self) -> None:
        if not 0 < self.window_s <= LONGEST_S:
            raise ValueError(f"window_s must be above 0 and at most {LONGEST_S}")
        if self.at_least < 1:
            raise ValueError("at_least must be at least 1")
        if not 0 < self.limit < 1:
            raise ValueError("limit must be between 0 and 1")
        if not 0 < self.pause_s <= LONGEST_S:
            raise ValueError(f"pause_s must be above 0 and at most {LONGEST_S}")

    def pauses(self, ended: int, silent: int) -> bool:
        """Whether `silent` of `ended` payments are too many."""
        return ended >= self.at_least and silent > self.limit * ended

    def reason(self, ended: int, silent: int) -> str:
        """Why it was paused, for people."""
        return (
            f"{silent} of {ended} payments within {self.window_s:g} s were released because a "
            "participant did not answer"
        )


def found_silence(change: Change) -> bool | None:
    """Whether the payment was released for want of an answer; None when that cannot be said.

    Each payment is told at most once: in the change in which it leaves CREATED. One that a crash
    left behind may be over its deadline before anybody was asked, which says nothing about the
    participants. Refunds do not count, since they are never refused.
    """
    if change.after.refund_of is not None:
        return None
    for entry in change.entries:
        if entry.kind is EntryKind.TRANSITION and entry.from_state is State.CREATED:
            if entry.event != Event.RELEASE.value or entry.code != NOT_ANSWERED:
                return False
            asked = change.after.step(entry.phase).last_error != ""
            return True if asked else None
    return None


class Window:
    """How many payments ended in the last `window_s` seconds, and how many found silence.

    Times are seconds that never go back. It is kept by slots of time: what it costs does not depend
    on how many payments there are.
    """

    def __init__(self, window_s: float) -> None:
        self._slot_s = window_s / SLOTS
        self._slots: deque[list[int]] = deque()  # number of the slot, ended, silent

    def add(self, now_s: float, *, silent: bool) -> None:
        """One more payment ended."""
        number = self._slot_of(now_s)
        if not self._slots or self._slots[-1][0] != number:
            self._forget(number)
            self._slots.append([number, 0, 0])
        self._slots[-1][1] += 1
        self._slots[-1][2] += silent

    def totals(self, now_s: float) -> tuple[int, int]:
        """How many ended, and how many of them found silence."""
        self._forget(self._slot_of(now_s))
        return sum(each[1] for each in self._slots), sum(each[2] for each in self._slots)

    def clear(self) -> None:
        """Forgets all of it."""
        self._slots.clear()

    def _slot_of(self, now_s: float) -> int:
        return int(now_s / self._slot_s)

    def _forget(self, number: int) -> None:
        while self._slots and self._slots[0][0] <= number - SLOTS:
            self._slots.popleft()
