"""Records are frozen, copied by `evolve`, and show nothing that may be secret."""

from __future__ import annotations

import gc
from io import StringIO
from typing import Any

import pytest
from rich.console import Console
from rich.pretty import pprint

from coordinator.domain.machine import State
from coordinator.domain.outcome import Applied, Pending
from coordinator.domain.record import evolve
from tests.support.domain import opened


def test_a_copy_differs_in_what_was_changed_and_the_original_is_left_alone() -> None:
    before = opened().transaction
    after = evolve(before, state=State.PAID, version=7)
    assert (after.state, after.version) == (State.PAID, 7)
    assert evolve(after, state=before.state, version=before.version) == before
    assert (before.state, before.version) == (State.CREATED, 0)
    assert hash(after.steps) == hash(before.steps)


def test_a_record_cannot_be_changed() -> None:
    step: Any = evolve(opened().transaction.steps[0], attempts=3)
    with pytest.raises(AttributeError, match="immutable"):
        step.attempts = 4


def test_an_unknown_field_is_refused() -> None:
    changes: dict[str, Any] = {"colour": "blue"}
    with pytest.raises(TypeError, match="colour"):
        evolve(opened().transaction, **changes)


def test_records_of_different_kinds_are_never_equal() -> None:
    applied: Any = Applied("a")
    assert applied == Applied("a")
    assert applied != Pending("a")


def test_the_garbage_collector_need_not_look_at_records() -> None:
    assert not gc.is_tracked(opened().transaction)


def test_a_record_is_shown_by_its_kind_and_its_fields() -> None:
    assert repr(Pending("a")) == "Pending(reference='a', next_action=None)"


def test_hidden_fields_are_shown_by_no_repr() -> None:
    step = evolve(opened().transaction.steps[0], source="tok_secret")
    pretty = StringIO()
    pprint(step, console=Console(file=pretty))
    for shown in (repr(step), str(step), pretty.getvalue()):
        assert "tok_secret" not in shown
        assert step.phase in shown
