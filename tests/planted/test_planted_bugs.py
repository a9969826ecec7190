"""The alarm works: each planted bug is caught by the cheapest layer that is declared to catch it.

`make planted` tries all the declared layers, and the others.
"""

from __future__ import annotations

import pytest

from tests.planted import table
from tests.planted.bug import Bug, Layer
from tests.planted.catalog import BUGS
from tests.planted.trial import attempt

FEWEST = 24


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_planted_bug_is_caught_by_its_cheapest_layer(bug: Bug) -> None:
    trial = attempt(bug, bug.cheapest, hurried=True)
    assert trial.caught, f"{trial.layer} does not catch it in {trial.cases} cases"
    assert trial.is_test or trial.invariant, f"no invariant is named: {trial.caught}"


def test_there_are_enough_of_them_and_each_has_a_name_of_its_own() -> None:
    assert len({bug.name for bug in BUGS}) == len(BUGS) >= FEWEST


def test_each_layer_has_to_catch_something() -> None:
    assert {layer for bug in BUGS for layer in bug.caught_by} == set(Layer)


def test_the_page_lists_the_bugs_and_the_layers_that_have_to_catch_them() -> None:
    assert table.read() == {
        bug.name: (bug.mistake, {str(layer) for layer in bug.caught_by}) for bug in BUGS
    }
