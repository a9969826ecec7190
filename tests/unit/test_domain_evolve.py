"""`evolve` is `dataclasses.replace`, faster."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, dataclass, replace
from typing import Any

import pytest

from coordinator.domain.evolve import evolve
from coordinator.domain.machine import State
from coordinator.domain.money import Money
from tests.support.domain import opened


def test_it_gives_what_replace_gives_and_leaves_the_original_alone() -> None:
    before = opened().transaction
    after = evolve(before, state=State.PAID, version=7)
    assert after == replace(before, state=State.PAID, version=7)
    assert (before.state, before.version) == (State.CREATED, 0)
    assert hash(after.steps) == hash(before.steps)


def test_the_copy_is_as_frozen_as_the_original() -> None:
    step: Any = evolve(opened().transaction.steps[0], attempts=3)
    with pytest.raises(FrozenInstanceError):
        step.attempts = 4


def test_an_unknown_field_is_refused() -> None:
    changes: dict[str, Any] = {"colour": "blue"}
    with pytest.raises(TypeError, match="colour"):
        evolve(opened().transaction, **changes)


@dataclass(frozen=True)
class Loose:
    value: int = 0


@pytest.mark.parametrize("record", [Money(1, "JPY"), Loose()])
def test_records_that_check_themselves_or_have_no_slots_are_refused(record: Any) -> None:
    with pytest.raises(TypeError, match="use dataclasses"):
        evolve(record)
