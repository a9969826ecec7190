"""How often each cell was seen, by campaign; written to files and put together again."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fault_injection.coverage.tally import Cell

CELL = ("flow", "step", "operation", "fault", "outcome")


class BadLedger(ValueError):
    """A file that is no ledger."""


class Ledger:
    """Counts of cells. A campaign is a kind of trying, such as `sweep singles`."""

    def __init__(self) -> None:
        self.campaigns: dict[str, Counter[Cell]] = {}

    def add(self, campaign: str, cells: Mapping[Cell, int]) -> None:
        """Counts what a run of this campaign has seen."""
        self.campaigns.setdefault(campaign, Counter()).update(cells)

    def merge(self, other: Ledger) -> None:
        """Counts what another one has."""
        for campaign, cells in other.campaigns.items():
            self.add(campaign, cells)

    def total(self) -> Counter[Cell]:
        """The counts of all campaigns together."""
        counts: Counter[Cell] = Counter()
        for cells in self.campaigns.values():
            counts.update(cells)
        return counts

    def write(self, path: Path) -> None:
        """Writes a file that `read` reads. Raises OSError."""
        content = {
            "cell": CELL,
            "campaigns": {
                name: [[*cell, count] for cell, count in sorted(cells.items())]
                for name, cells in sorted(self.campaigns.items())
            },
        }
        path.write_text(json.dumps(content, indent=None) + "\n")

    @classmethod
    def read(cls, paths: Iterable[Path]) -> Ledger:
        """Puts together what these files hold; of a folder, every .json file.

        Raises BadLedger for what is no ledger, and OSError for what cannot be read.
        """
        found = cls()
        for path in paths:
            files = sorted(path.glob("*.json")) if path.is_dir() else [path]
            if not files:
                raise BadLedger(f"{path} has no .json file")
            for file in files:
                found._read(file)
        return found

    def _read(self, path: Path) -> None:
        try:
            content = json.loads(path.read_text())
            for campaign, rows in content["campaigns"].items():
                self.add(str(campaign), dict(map(_counted, rows)))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise BadLedger(f"{path} is no ledger of fault coverage: {error}") from None


def _counted(row: Any) -> tuple[Cell, int]:
    *words, count = row
    if len(words) != len(CELL) or not all(isinstance(word, str) for word in words):
        raise TypeError(f"{row!r} is no cell with its count")
    if not isinstance(count, int) or isinstance(count, bool) or count < 0:
        raise TypeError(f"{count!r} is no count")
    return Cell(*words), count
