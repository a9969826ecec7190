"""`python -m tests.planted`: which layers catch which planted bugs, and after how many cases.

Exit code 1 when a layer does not catch what it is declared to catch, or finds something although
nothing is planted.
"""

from __future__ import annotations

import argparse
import sys

from coordinator.cli.output import lines, say
from tests.planted import table
from tests.planted.bug import Bug, Layer
from tests.planted.catalog import BUGS, BY_NAME
from tests.planted.trial import Trial, attempt

LAYERS = {layer.name.lower(): layer for layer in Layer}


def main() -> int:
    """Runs what is asked for. Every trial is told as it ends; what is wrong, once more at the end.

    Returns the exit code.
    """
    asked = _parser().parse_args()
    layers = [LAYERS[name] for name in asked.layer or LAYERS]
    bugs: list[Bug | None] = [BY_NAME[name] for name in asked.bug or BY_NAME]
    trials: dict[tuple[str, Layer], Trial] = {}
    wrong: list[str] = []
    for bug in bugs if asked.bug else [None, *bugs]:
        for layer in layers:
            declared = bug is not None and layer in bug.caught_by
            if (asked.declared and bug is not None and not declared) or (
                asked.cheapest and (bug is None or layer is not bug.cheapest)
            ):
                continue
            trial = attempt(bug, layer)
            trials[trial.bug, layer] = trial
            problem = _problem(trial, declared=declared)
            wrong += [problem] if problem else []
            lines(_line(trial, declared=declared))
    if asked.write:
        table.write(BUGS, trials)
    for problem in wrong:
        say(problem)
    return 1 if wrong else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.planted", description=__doc__)
    parser.add_argument("--bug", action="append", choices=sorted(BY_NAME), help="repeatable")
    parser.add_argument("--layer", action="append", choices=list(LAYERS), help="repeatable")
    parser.add_argument("--declared", action="store_true", help="only layers that have to catch it")
    parser.add_argument("--cheapest", action="store_true", help="only the cheapest of those")
    parser.add_argument("--write", action="store_true", help="put the table into docs")
    return parser


def _problem(trial: Trial, *, declared: bool) -> str:
    if not trial.bug and trial.caught:
        return f"{trial.layer} finds something although nothing is planted: {trial.caught}"
    if declared and not trial.caught:
        return f"{trial.layer} does not catch {trial.bug} in {trial.cases} cases"
    return ""


def _line(trial: Trial, *, declared: bool) -> str:
    verdict = table.figures(trial) if trial.caught else f"not in {trial.cases:,}"
    mark = "*" if declared else " "
    where = f"  {trial.case}: {trial.caught}"[:120] if trial.caught else ""
    name = trial.bug or "(nothing)"
    return f"{name:<42} {mark}{trial.layer:<24} {verdict:<14} {trial.seconds:6.1f} s{where}"


if __name__ == "__main__":
    sys.exit(main())
