"""Tries whether a layer catches a planted bug, and with what."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest

from adapters.system import SystemClock
from fault_injection.model.explore import explore
from fault_injection.model.protocol import Protocol
from fault_injection.model.variants import BY_NAME, SOUND
from fault_injection.virtual_time import Idle
from fault_injection.world import FLOWS
from tests.planted import suites
from tests.planted.bug import Bug, Layer
from tests.planted.cases import Case, cases_of

NAMED = re.compile(r"(?:S|L|R)[0-9]+\b|steps\b|hold\b")
MODELLED = "card_only"
"""The flow that the model check explores: with two participants every variant is found."""


@dataclass(frozen=True)
class Trial:
    """What came of one layer and one bug (or none).

    caught     what did not hold; empty: everything held
    cases      how many were run
    case       the one that caught it
    """

    bug: str
    layer: Layer
    caught: str
    cases: int
    case: str
    seconds: float

    @property
    def is_test(self) -> bool:
        """Whether the layer is a suite of tests, whose names say what was broken."""
        return self.layer in suites.SUITES

    @property
    def invariant(self) -> str:
        """The name of the invariant that was broken; empty for a stray exception."""
        found = NAMED.match(self.caught)
        return found[0] if found else ""


def attempt(bug: Bug | None, layer: Layer, *, hurried: bool = False) -> Trial:
    """Plants the bug (or nothing) and runs the layer until it finds something, or its budget.

    `hurried` tries the cases first that are said to show the bug soonest.
    """
    clock = SystemClock()
    began = clock.monotonic()
    name, where = (bug.name, bug.where if hurried else "") if bug else ("", "")
    if layer in suites.SUITES:
        caught, cases, case = suites.run(layer, name, where)
    else:
        with pytest.MonkeyPatch.context() as patch:
            if bug is not None:
                bug.plant(patch)
            caught, cases, case = _modelled(bug) if layer is Layer.MODEL else _first(layer, where)
    return Trial(name, layer, caught, cases, case, clock.monotonic() - began)


def _first(layer: Layer, where: str) -> tuple[str, int, str]:
    cases = cases_of(layer, where)
    for number, case in enumerate(cases, 1):
        if caught := _fails(case):
            return caught, number, case.name
    return "", len(cases), ""


def _fails(case: Case) -> str:
    try:
        case.run()
    except Idle as idle:
        return f"L2: {idle}"
    except BaseExceptionGroup as group:
        return _said(group.exceptions[0])
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever breaks is looked for
        return _said(error)
    return ""


def _said(error: BaseException) -> str:
    text = str(error)
    return text if NAMED.match(text) else f"{type(error).__name__}: {text}"


def _modelled(bug: Bug | None) -> tuple[str, int, str]:
    """The states that were explored count as cases."""
    switches = BY_NAME[bug.variant].switches if bug and bug.variant else SOUND
    explored = explore(Protocol(FLOWS[MODELLED], switches))
    if explored.found is None:
        return "", explored.states, ""
    breach = explored.found.breach
    return f"{breach.rule}: {breach.what}", explored.states, f"{len(explored.found.story)} steps"
