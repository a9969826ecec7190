"""When a flow pauses itself, by the numbers alone."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.domain.machine import Event, State
from coordinator.domain.moves import advance
from coordinator.domain.pausing import PausePolicy, Window, found_silence
from coordinator.domain.record import evolve
from coordinator.domain.retry import LONGEST_S
from coordinator.domain.transaction import Change, Failure, RefundOf
from tests.support.domain import BOTH, ID, NOW, opened, standing, with_step


@pytest.mark.parametrize(
    ("ended", "silent", "pauses"),
    [(19, 19, False), (20, 10, False), (20, 11, True), (1000, 500, False), (1000, 501, True)],
)
def test_it_pauses_over_the_limit_and_not_on_a_handful(
    ended: int, silent: int, pauses: bool
) -> None:
    assert PausePolicy().pauses(ended, silent) is pauses


@pytest.mark.parametrize(
    "values",
    [
        {"window_s": 0.0},
        {"window_s": LONGEST_S + 1},
        {"window_s": math.nan},
        {"window_s": math.inf},
        {"at_least": 0},
        {"limit": 0.0},
        {"limit": 1.0},
        {"limit": math.nan},
        {"pause_s": 0.0},
        {"pause_s": LONGEST_S + 1},
        {"pause_s": math.inf},
    ],
    ids=str,
)
def test_a_policy_out_of_range_is_refused(values: dict[str, float]) -> None:
    (name,) = values
    with pytest.raises(ValueError, match=f"^{name} must be") as caught:
        PausePolicy(**values)  # type: ignore[arg-type] # one of its fields
    assert str(caught.value) in {
        f"{name} must be above 0 and at most {LONGEST_S}",
        f"{name} must be at least 1",
        f"{name} must be between 0 and 1",
    }


def test_a_policy_may_be_as_small_and_as_large_as_its_bounds() -> None:
    assert PausePolicy(window_s=0.5, at_least=1, limit=0.01, pause_s=0.5).pauses(1, 1)
    assert not PausePolicy(window_s=LONGEST_S, limit=0.99, pause_s=LONGEST_S).pauses(100, 99)


def test_why_it_was_paused_is_said_with_its_numbers() -> None:
    assert PausePolicy().reason(20, 11) == (
        "11 of 20 payments within 60 s were released because a participant did not answer"
    )


def released(code: str, state: State = State.CREATED, last_error: str = "UNAVAILABLE") -> Change:
    before = standing(state)
    step = evolve(before.transaction.step("points_reserve"), last_error=last_error)
    failure = Failure(code, "because", "points_reserve")
    draft = advance(with_step(before, step), BOTH, (Event.RELEASE,), NOW, failure)
    return draft.change(now=NOW, due_at=NOW, keep_claim=True)


@pytest.mark.parametrize(
    ("code", "silent"),
    [
        ("TRY_DEADLINE_EXCEEDED", True),
        ("INSUFFICIENT_POINTS", False),
        ("CANCELLED_BY_CALLER", False),
        ("ORDER_SUPERSEDED", False),
        ("RESERVATION_EXPIRED", False),
    ],
)
def test_only_a_release_for_want_of_an_answer_is_silence(code: str, silent: bool) -> None:
    assert found_silence(released(code)) is silent


def test_a_payment_whose_participant_nobody_asked_says_nothing() -> None:
    assert found_silence(released("TRY_DEADLINE_EXCEEDED", last_error="")) is None
    assert found_silence(released("TRY_DEADLINE_EXCEEDED", last_error="BREAKER_OPEN")) is True


def test_a_payment_is_counted_once_when_it_leaves_created() -> None:
    begun = opened().change(now=NOW, due_at=NOW, keep_claim=True)
    assert found_silence(begun) is None
    held = advance(standing(State.CREATED), BOTH, (Event.HOLD, Event.CAPTURE), NOW)
    assert found_silence(held.change(now=NOW, due_at=NOW, keep_claim=True)) is False
    paid = advance(standing(State.SETTLING), BOTH, (Event.PAY,), NOW)
    assert found_silence(paid.change(now=NOW, due_at=None, keep_claim=True)) is None
    assert found_silence(released("CARD_DECLINED", State.CAPTURING)) is None
    assert found_silence(released("CANCELLED_BY_CALLER", State.RESERVED)) is None


def test_a_refund_does_not_count() -> None:
    change = released("TRY_DEADLINE_EXCEEDED")
    refund = evolve(change.after, refund_of=RefundOf(ID, 1))
    assert found_silence(evolve(change, after=refund)) is None


ENDS = st.lists(st.tuples(st.floats(0, 300), st.booleans()), max_size=200)


@given(ends=ENDS, window_s=st.sampled_from([1.0, 10.0, 60.0]))
def test_the_window_counts_what_is_younger_than_it_to_a_sixtieth(
    ends: list[tuple[float, bool]], window_s: float
) -> None:
    window = Window(window_s)
    ends = sorted(ends)
    for at_s, silent in ends:
        window.add(at_s, silent=silent)
    now_s = ends[-1][0] if ends else 0.0
    ended, silent_ones = window.totals(now_s)
    surely = [silent for at_s, silent in ends if at_s > now_s - window_s * 58 / 60]
    at_most = [silent for at_s, silent in ends if at_s >= now_s - window_s]
    assert len(surely) <= ended <= len(at_most)
    assert sum(surely) <= silent_ones <= sum(at_most)


def test_the_window_forgets_slot_by_slot() -> None:
    window = Window(60.0)
    window.add(0.5, silent=True)
    window.add(1.5, silent=False)
    assert window.totals(59.9) == (2, 1)
    assert window.totals(60.5) == (1, 0)
    assert window.totals(61.5) == (0, 0)


def test_the_window_forgets_when_time_passes_and_when_it_is_told_to() -> None:
    window = Window(60.0)
    for _ in range(5):
        window.add(10.0, silent=True)
    assert window.totals(60.0) == (5, 5)
    assert window.totals(71.0) == (0, 0)
    window.add(80.0, silent=False)
    window.clear()
    assert window.totals(80.0) == (0, 0)
