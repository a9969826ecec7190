"""What must hold at any moment is checked then, and told with the virtual time."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from coordinator.domain.ids import TransactionId
from coordinator.domain.phase import Operation
from coordinator.domain.retry import RetryPolicy
from fault_injection.invariants import Violation
from fault_injection.model_participant import Held, ModelParticipant
from fault_injection.simulation.plan import Asked, plan_of
from fault_injection.simulation.run import play
from fault_injection.simulation.watch import (
    EFFECT_CHECKERS,
    Commit,
    Place,
    a_stale_version_writes_nothing,
    nothing_is_confirmed_and_cancelled,
    nothing_takes_effect_twice,
    what_was_cancelled_holds_nothing,
)
from fault_injection.virtual_time import VirtualClock
from tests.planted.deciding import confirms_in_parallel_with_the_pivot
from tests.support.transactions import commit_of, creation, touched, until

PLACE = (TransactionId("transaction"), "phase")
AT = re.compile(r", at [0-9]+\.[0-9]{6} s$")


def first_problem(asked: Asked) -> str:
    findings = (play(plan_of(seed, asked)).finding for seed in range(40))
    return next(finding.problem for finding in findings if finding is not None)


def test_a_write_over_a_newer_version_is_a_violation() -> None:
    made = creation().after
    newer = commit_of(until(made, "PAID")).after
    stale = Commit(
        before=newer,
        change=touched(made),
        earlier=(),
        announced=set(),
        pivot="",
        payment=None,
        refunds=(),
    )
    with pytest.raises(Violation, match="S15"):
        a_stale_version_writes_nothing(stale)


def test_a_confirm_that_is_sent_too_early_is_told_at_that_moment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    confirms_in_parallel_with_the_pivot.plant(monkeypatch)
    problem = first_problem(Asked())
    assert problem.startswith("S3")
    assert AT.search(problem)


def participant(*effects: Operation, record: Held) -> ModelParticipant:
    model = ModelParticipant(VirtualClock())
    model.records[PLACE] = record
    for operation in effects:
        model.effects[*PLACE, operation] += 1
    return model


@pytest.mark.parametrize(
    ("checker", "at", "cancelled"),
    [
        (
            nothing_takes_effect_twice,
            participant(Operation.TRY, Operation.TRY, record=Held.HELD),
            False,
        ),
        (
            nothing_is_confirmed_and_cancelled,
            participant(Operation.CONFIRM, Operation.CANCEL, record=Held.CANCELLED),
            True,
        ),
        (what_was_cancelled_holds_nothing, participant(Operation.TRY, record=Held.HELD), True),
    ],
)
def test_what_a_participant_may_not_do_is_a_violation(
    checker: Callable[[ModelParticipant, Place, bool], None], at: ModelParticipant, cancelled: bool
) -> None:
    assert checker in EFFECT_CHECKERS
    with pytest.raises(Violation):
        checker(at, PLACE, cancelled)


def test_a_backoff_beyond_its_cap_ends_too_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RetryPolicy, "delay_s", lambda *_: 1_000.0)
    problem = first_problem(Asked(faults=("reply-lost",), crashes=0))
    assert re.fullmatch(r"L1: took 1[0-9]{3} s of [0-9]+ s at most; .*", problem), problem
    assert AT.search(problem)
