"""How often each cell has to be seen, at least, in a run of all tests; and every exception."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from fault_injection.coverage.tally import Cell

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


ALLOWANCES: tuple[Allowance, ...] = ()


def floor_of(cell: Cell, floor: int = FLOOR) -> int:
    """How often this cell has to be seen when `floor` is asked of cells in general."""
    return min([floor, *(each.least for each in ALLOWANCES if each.covers(cell))])


def below(
    cells: Iterable[Cell], counts: Mapping[Cell, int], floor: int = FLOOR
) -> list[tuple[Cell, int, int]]:
    """The cells that were seen too seldom: how often, and how often they have to be."""
    asked = ((cell, counts.get(cell, 0), floor_of(cell, floor)) for cell in cells)
    return [(cell, count, least) for cell, count, least in asked if count < least]
