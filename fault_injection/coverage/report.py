"""The cells and their counts as rows and columns: what the terminal and the page both show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from coordinator.domain.flow import Flow
from fault_injection.coverage.cells import cells_of
from fault_injection.coverage.floor import floor_of
from fault_injection.coverage.ledger import Ledger
from fault_injection.coverage.tally import BROKER, STORE, Cell


@dataclass(frozen=True, slots=True)
class Counted:
    """A cell, how often it was seen, and how often it has to be."""

    cell: Cell
    count: int
    least: int

    @property
    def is_low(self) -> bool:
        """Whether it was seen too seldom."""
        return self.count < self.least


@dataclass(frozen=True, slots=True)
class Row:
    """One operation of a step of a flow: its cells by fault, one for each outcome."""

    flow: str
    step: str
    operation: str
    faults: dict[str, list[Counted]] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """How often the operation was tried, in all."""
        return sum(each.count for cells in self.faults.values() for each in cells)


@dataclass(frozen=True, slots=True)
class Section:
    """Rows with the same columns: what meets the same faults."""

    title: str
    faults: tuple[str, ...]
    rows: tuple[Row, ...]

    def total(self, fault: str) -> int:
        """How often a fault was met, in all."""
        return sum(each.count for row in self.rows for each in row.faults.get(fault, []))


@dataclass(frozen=True, slots=True)
class Report:
    """Every cell there is. `others` were seen as well, with outcomes that need not be."""

    counted: tuple[Counted, ...]
    others: Mapping[Cell, int]
    ledger: Ledger
    floor: int

    @property
    def low(self) -> list[Counted]:
        """The cells that were seen too seldom."""
        return [each for each in self.counted if each.is_low]

    def sections(self) -> Iterator[Section]:
        """Calls, commits and events, each with its own columns."""
        titles = {STORE: "Commits", BROKER: "Events"}
        for title in ("Calls", *titles.values()):
            yield _section(
                title,
                [each for each in self.counted if titles.get(each.cell.step, "Calls") == title],
            )


def report_of(flows: Mapping[str, Flow], ledger: Ledger, floor: int) -> Report:
    """What the ledger says of every cell of these flows."""
    counts = ledger.total()
    counted = tuple(
        Counted(cell, counts.pop(cell, 0), floor_of(cell, floor)) for cell in cells_of(flows)
    )
    return Report(counted, counts, ledger, floor)


def _section(title: str, cells: Sequence[Counted]) -> Section:
    rows: dict[tuple[str, str, str], Row] = {}
    faults: dict[str, None] = {}
    for each in cells:
        cell = each.cell
        row = rows.setdefault(cell[:3], Row(*cell[:3]))
        row.faults.setdefault(cell.fault, []).append(each)
        faults[cell.fault] = None
    return Section(title, tuple(faults), tuple(rows.values()))
