"""`python -m tests.mutants`: whether the tests of the domain killed enough mutants.

Reads what `mutmut export-cicd-stats` wrote. Exit code 1 when too many live, or were never tried.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from coordinator.cli.output import say

WRITTEN = Path("mutants/mutmut-cicd-stats.json")
AT_LEAST = 0.95


def killed_share(counts: Mapping[str, int]) -> float:
    """The share of all mutants that a test noticed; one that never ends counts as noticed."""
    return (counts["killed"] + counts["timeout"]) / counts["total"]


def main() -> int:
    """Says how many of them died. Returns the exit code."""
    counts: dict[str, int] = json.loads(WRITTEN.read_text())
    share = killed_share(counts)
    say(f"{counts['total']} mutants, {share:.1%} killed; at least {AT_LEAST:.0%} have to be")
    return 0 if share >= AT_LEAST else 1


if __name__ == "__main__":
    sys.exit(main())
