"""The table of planted bugs: what the page shows, and how it is read again."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.planted.bug import Bug, Layer
from tests.planted.trial import Trial

PAGE = Path(__file__).resolve().parents[2] / "docs" / "planted-bugs.md"
BEGIN, END = "<!-- bugs -->\n", "<!-- /bugs -->\n"
HEAD = "| bug | the mistake | caught by |\n|---|---|---|\n"
_FIGURES = re.compile(r" \([^)]*\)")


def row(bug: Bug, trials: Mapping[tuple[str, Layer], Trial]) -> str:
    """One line: every layer that has to catch it, with what it found and after how many cases."""
    cells = []
    for layer in sorted(bug.caught_by, key=list(Layer).index):
        trial = trials.get((bug.name, layer))
        cells.append(f"{layer} ({figures(trial)})" if trial and trial.caught else str(layer))
    return f"| `{bug.name}` | {bug.mistake} | {', '.join(cells)} |\n"


def figures(trial: Trial) -> str:
    """What was broken, and by which case, such as `S1, 5`."""
    what = "" if trial.is_test else f"{trial.invariant or 'error'}, "
    return f"{what}{trial.cases:,}"


def write(bugs: Sequence[Bug], trials: Mapping[tuple[str, Layer], Trial]) -> None:
    """Puts the table into the page."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    table = HEAD + "".join(row(bug, trials) for bug in bugs)
    PAGE.write_text(before + BEGIN + table + END + after)


def read() -> dict[str, tuple[str, set[str]]]:
    """The mistake and the layers of every bug that the page has."""
    table = PAGE.read_text().partition(BEGIN)[2].partition(END)[0]
    found = {}
    for line in table.removeprefix(HEAD).splitlines():
        name, mistake, layers = (cell.strip() for cell in line.strip("|").split("|"))
        found[name.strip("`")] = (mistake, set(_FIGURES.sub("", layers).split(", ")))
    return found
