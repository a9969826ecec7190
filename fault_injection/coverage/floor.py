"""How often each cell has to be seen, at least, in a run of all tests; and every exception."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from fault_injection.coverage.tally import STORE, Cell
from fault_injection.simulation.swarm import DATABASE_AWAY
from fault_injection.sweep.places import CRASHES, WRITE_FAULTS

FLOOR = 100


@dataclass(frozen=True, slots=True)
class Allowance:
    """Cells that are seen less often in a run of all tests, and why. `*` stands for anything."""

    least: int
    reason: str
    step: str = "*"
    operation: str = "*"
    fault: str = "*"
    outcome: str = "*"
    flow: str = "*"

    def covers(self, cell: Cell) -> bool:
        """Whether the cell is one of them."""
        patterns = (self.flow, self.step, self.operation, self.fault, self.outcome)
        return all(fnmatchcase(word, pattern) for word, pattern in zip(cell, patterns, strict=True))


_A_POINT = (
    "a commit is one point of a path, and few paths of a flow reach each state; pairs do more"
)
_A_TRY = "a Try ends at its deadline, after three attempts at most, however long an outage lasts"
_AT_ONCE = "it is answered at once, so that there is one attempt for each path that gets there"
_FEW = "one path of the flow gets there without a second fault, with 33 attempts for each fault"

ALLOWANCES: tuple[Allowance, ...] = (
    *(
        Allowance(2, _A_POINT, step=STORE, fault=fault)
        for fault in (*WRITE_FAULTS, DATABASE_AWAY, *CRASHES)
    ),
    Allowance(1, _AT_ONCE, fault="delivered-twice"),
    Allowance(20, _FEW, operation="query"),
    Allowance(20, _FEW, flow="* refund", operation="cancel"),
    Allowance(25, _A_TRY, operation="try"),
)


def floor_of(cell: Cell, floor: int = FLOOR) -> int:
    """How often this cell has to be seen when `floor` is asked of cells in general."""
    return min([floor, *(each.least for each in ALLOWANCES if each.covers(cell))])


def below(
    cells: Iterable[Cell], counts: Mapping[Cell, int], floor: int = FLOOR
) -> list[tuple[Cell, int, int]]:
    """The cells that were seen too seldom: how often, and how often they have to be."""
    asked = ((cell, counts.get(cell, 0), floor_of(cell, floor)) for cell in cells)
    return [(cell, count, least) for cell, count, least in asked if count < least]
