"""What `kessai faults coverage` does: reads ledgers, shows every cell, and judges the counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from coordinator.cli.failures import Failure
from coordinator.cli.output import Format, emit_all, say, table
from fault_injection.coverage.ledger import BadLedger, Ledger
from fault_injection.coverage.page import page
from fault_injection.coverage.report import Report, Row, Section, report_of
from fault_injection.coverage.tally import Cell
from fault_injection.world import FLOWS

NAMED = 20
"""How many of the cells that were seen too seldom are named."""


def run(files: list[Path], floor: int, html: Path | None, output: Format) -> None:
    """Shows the coverage. Raises Failure when a cell is below its floor."""
    report = report_of(FLOWS, _read(files), floor)
    if html is not None:
        try:
            html.write_text(page(report), encoding="utf-8")
        except OSError as error:
            raise typer.BadParameter(f"{html}: {error.strerror}", param_hint="--html") from None
        say(f"wrote {html}")
    emit_all(output, _records(report), lambda: Group(*map(_table, report.sections())))
    low = report.low
    seen = sum(each.count for each in report.counted)
    say(f"{len(report.counted)} cells, seen {seen} times; {len(low)} too seldom")
    if low:
        named = [f"{' / '.join(e.cell)}: {e.count} of {e.least}" for e in low[:NAMED]]
        more = [f"and {len(low) - NAMED} more"] if len(low) > NAMED else []
        raise Failure(
            f"{len(low)} of {len(report.counted)} cells were seen too seldom",
            code="BELOW_FLOOR",
            hint="\n".join(named + more),
        )


class Recording:
    """What a command's runs have seen, for the file that it was asked for, if any."""

    def __init__(self, path: Path | None) -> None:
        self._path, self._ledger = path, Ledger()
        if path is None:
            return
        try:
            self._ledger.write(path)  # that it cannot be written is said before anything starts
        except OSError as error:
            raise typer.BadParameter(f"{path}: {error.strerror}", param_hint="--coverage") from None

    def add(self, campaign: str, cells: Mapping[Cell, int]) -> None:
        """Counts what a run has seen."""
        self._ledger.add(campaign, cells)

    def end(self) -> None:
        """Writes the file."""
        if self._path is not None:
            self._ledger.write(self._path)
            say(f"wrote {self._path}")


def _read(files: list[Path]) -> Ledger:
    try:
        return Ledger.read(files)
    except BadLedger as error:
        raise typer.BadParameter(str(error), param_hint="--from") from None
    except OSError as error:
        raise typer.BadParameter(
            f"{error.filename}: {error.strerror}", param_hint="--from"
        ) from None


def _records(report: Report) -> Iterable[dict[str, Any]]:
    for each in report.counted:
        campaigns = {
            name: cells[each.cell]
            for name, cells in sorted(report.ledger.campaigns.items())
            if cells[each.cell]
        }
        yield {
            **each.cell._asdict(),
            "count": each.count,
            "least": each.least,
            "campaigns": campaigns,
        }
    for cell, count in sorted(report.others.items()):
        yield {**cell._asdict(), "count": count, "least": 0, "campaigns": {}}


def _table(section: Section) -> RenderableType:
    heads = ("FLOW", "STEP", "OPERATION", *map(str.upper, section.faults))
    made = table(*heads, right=heads[3:])
    for row in section.rows:
        made.add_row(row.flow, row.step, row.operation, *(_shown(row, f) for f in section.faults))
    return made


def _shown(row: Row, fault: str) -> Text:
    """The count of the rarest outcome."""
    cells = row.faults.get(fault)
    if not cells:
        return Text("–", style="dim")
    style = "bold red" if any(each.is_low for each in cells) else "green"
    return Text(str(min(each.count for each in cells)), style=style)
