"""Counts what came of every call, commit and event of a run, with the faults that befell it.

A cell is (flow, step, operation, fault, outcome). What is counted here knows nothing of which cells
there are: that is for `cells` to say.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

NONE = "none"
"""The fault of what nothing befell."""
STORE, BROKER = "store", "broker"
"""The steps that are no phases."""
GIVEN_UP, DIED = "given up", "died"
"""The outcome of a call that nobody waited for, and of a commit whose coordinator died."""


class Cell(NamedTuple):
    """What was tried, and what came of it.

    flow       the flow's name; a refund's has `refund` behind it
    step       a phase, or STORE or BROKER
    operation  of a phase; `commit STATE` and `publish STATE` of the others
    """

    flow: str
    step: str
    operation: str
    fault: str
    outcome: str


class Attempt:
    """One call, commit or event that is under way."""

    __slots__ = ("_faults", "_tally", "_unended", "_what")

    def __init__(self, tally: Tally, what: tuple[str, str, str], unended: str) -> None:
        self._tally, self._what, self._unended = tally, what, unended
        self._faults: list[str] = []

    def meets(self, fault: str) -> None:
        """The fault befalls it."""
        if fault not in self._faults:
            self._faults.append(fault)

    def ends(self, outcome: str = "") -> None:
        """What came of it; without an outcome nothing did."""
        if self._tally.under_way.pop(self, 0) is None:
            for fault in self._faults or [NONE]:
                self._tally.cells[Cell(*self._what, fault, outcome or self._unended)] += 1


class Tally:
    """What was counted in one run."""

    def __init__(self) -> None:
        self.cells: Counter[Cell] = Counter()
        self.under_way: dict[Attempt, None] = {}

    def begins(self, flow: str, step: str, operation: str, *, unended: str) -> Attempt:
        """Something is tried; its outcome is `unended` if it never ends."""
        attempt = Attempt(self, (flow, step, operation), unended)
        self.under_way[attempt] = None
        return attempt

    def close(self) -> None:
        """The run is over: nothing more comes of what is under way."""
        for attempt in tuple(self.under_way):
            attempt.ends()


def flow_label(flow: str, *, refund: bool) -> str:
    """What cells call a flow, or its refunds."""
    return f"{flow} refund" if refund else flow
