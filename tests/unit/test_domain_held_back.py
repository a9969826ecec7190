"""A call that never left this process: what it does to a payment, and what it must not do."""

from __future__ import annotations

from datetime import timedelta

import pytest

from coordinator.domain.decide import Advance, Perform, Wait, decide
from coordinator.domain.machine import State
from coordinator.domain.moves import advance, record
from coordinator.domain.outcome import Outcome, Unknown
from coordinator.domain.phase import Operation
from coordinator.domain.step import SPREAD
from coordinator.domain.transaction import Draft, Result, StepStatus, as_recovered
from tests.support.domain import BOTH, NOW, opened, standing

HELD_BACK = Unknown("BREAKER_OPEN", "points did not answer", retry_after_s=4.0)
LOST = Unknown("DEADLINE_EXCEEDED")


def after(
    draft: Draft, outcome: Outcome, operation: Operation = Operation.TRY, draw: float = 0.0
) -> Draft:
    return record(draft, BOTH, [Result("points_reserve", operation, outcome, draw)], NOW)


@pytest.mark.parametrize("draw", [0.0, 0.5, 1.0])
def test_it_is_repeated_when_it_is_worth_it_spread_out(draw: float) -> None:
    step = after(opened(), HELD_BACK, draw=draw).transaction.step("points_reserve")
    assert step.next_attempt_at == NOW + timedelta(seconds=4.0 * (1 + SPREAD * draw))
    assert step.last_error == "BREAKER_OPEN"


def test_it_is_no_attempt_and_leaves_no_line_in_the_journal() -> None:
    before = opened()
    draft = after(before, HELD_BACK)
    assert draft.transaction.step("points_reserve").attempts == 0
    assert draft.entries == before.entries
    assert draft.transaction.sequence == before.transaction.sequence


def test_a_try_that_never_left_needs_no_cancel() -> None:
    draft = after(opened(), HELD_BACK)
    deadline = draft.transaction.try_deadline
    action = decide(draft.transaction, BOTH, deadline)
    assert isinstance(action, Advance)
    assert action.failure is not None
    assert action.failure.code == "TRY_DEADLINE_EXCEEDED"
    assert "BREAKER_OPEN" in action.failure.reason
    released = advance(draft, BOTH, action.events, deadline, action.failure)
    assert released.transaction.step("points_reserve").status is StepStatus.CANCELLED


def test_a_try_that_left_once_is_cancelled_however_often_it_was_held_back_since() -> None:
    draft = after(after(opened(), LOST), HELD_BACK)
    assert draft.transaction.step("points_reserve").status is StepStatus.TRYING


def test_whoever_takes_it_up_again_supposes_that_it_left() -> None:
    draft = after(opened(), HELD_BACK)
    step = as_recovered(draft.transaction).step("points_reserve")
    assert step.status is StepStatus.TRYING


@pytest.mark.parametrize(
    ("state", "operation"),
    [(State.SETTLING, Operation.CONFIRM), (State.CANCELLING, Operation.CANCEL)],
)
def test_after_the_decision_it_waits_and_nobody_is_called_for(
    state: State, operation: Operation
) -> None:
    done = StepStatus.CANCELLED if state is State.CANCELLING else StepStatus.CONFIRMED
    draft = standing(state, merchant_credit=done, card_charge=done)
    for _ in range(50):
        draft = after(draft, HELD_BACK, operation)
    assert draft.transaction.attention is None
    assert draft.transaction.step("points_reserve").status is StepStatus.HELD
    assert decide(draft.transaction, BOTH, NOW) == Wait(NOW + timedelta(seconds=4))
    action = decide(draft.transaction, BOTH, NOW + timedelta(seconds=4))
    assert isinstance(action, Perform)
    assert [call.operation for call in action.calls] == [operation]
