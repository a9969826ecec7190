"""Retry policies and phases: checked when they are made."""

from __future__ import annotations

from typing import Any

import pytest

from coordinator.domain.phase import Phase, Role
from coordinator.domain.retry import LONGEST_S, RetryPolicy

NAN, INFINITY = float("nan"), float("inf")


@pytest.mark.parametrize(
    "values",
    [
        {"attempts": 0},
        {"attempts": -1},
        {"base_s": 0.0},
        {"base_s": -1.0},
        {"base_s": 31.0},
        {"base_s": NAN},
        {"cap_s": NAN},
        {"cap_s": INFINITY},
        {"cap_s": LONGEST_S + 1},
        {"jitter": -0.1},
        {"jitter": 1.1},
        {"jitter": NAN},
        {"timeout_s": 0.0},
        {"timeout_s": -1.0},
        {"timeout_s": NAN},
        {"timeout_s": INFINITY},
    ],
)
def test_a_policy_out_of_range_is_refused_by_the_name_of_its_value(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(values))) as caught:
        RetryPolicy(**values)
    assert str(caught.value) in {
        "attempts must be at least 1",
        f"base_s must be above 0, at most cap_s, and that at most {LONGEST_S}",
        "jitter must be in 0..1",
        f"timeout_s must be above 0 and at most {LONGEST_S}",
    }


def test_a_policy_may_be_as_short_and_as_long_as_its_bounds() -> None:
    for policy in (
        RetryPolicy(attempts=1, base_s=0.01, cap_s=0.01, jitter=0.0, timeout_s=0.01),
        RetryPolicy(base_s=LONGEST_S, cap_s=LONGEST_S, jitter=1.0, timeout_s=LONGEST_S),
    ):
        assert policy.delay_s(1, 0.0) == policy.base_s


def test_waits_double_up_to_the_cap() -> None:
    policy = RetryPolicy(base_s=0.1, cap_s=1.0, jitter=0.0)
    waits = [policy.delay_s(attempt, 0.7) for attempt in range(1, 7)]
    assert waits == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.0, 1.0])


def test_jitter_only_ever_shortens_a_wait_and_by_its_share() -> None:
    policy = RetryPolicy(base_s=1.0, cap_s=1.0, jitter=0.5)
    assert policy.delay_s(1, 0.0) == 1.0
    assert policy.delay_s(1, 0.5) == 0.75
    assert policy.delay_s(1, 1.0) == 0.5


def test_the_millionth_attempt_waits_no_longer_than_the_cap() -> None:
    assert RetryPolicy(cap_s=LONGEST_S).delay_s(10**6, 0.0) == LONGEST_S


@pytest.mark.parametrize("name", ["", "Card", "1card", "card-charge", "a" * 41, "card charge", "é"])
def test_a_phase_is_named_in_snake_case(name: str) -> None:
    with pytest.raises(ValueError, match="snake case") as caught:
        Phase(name, "T", Role.TAKES, "p")
    assert str(caught.value) == f"phase name {name!r} must be snake case, at most 40 characters"


def test_only_moving_money_needs_a_participant() -> None:
    sentence = "^phase a: a participant goes with moving money, and only then$"
    with pytest.raises(ValueError, match=sentence):
        Phase("a", "A", Role.TAKES)
    with pytest.raises(ValueError, match=sentence):
        Phase("a", "A", Role.ANNOUNCES, "p")
    assert Phase("a", "A", Role.ANNOUNCES).participant == ""


@pytest.mark.parametrize("role", [Role.GIVES, Role.KEEPS])
def test_only_a_tender_has_a_secret_source(role: Role) -> None:
    sentence = "^phase a: only what takes money has a secret source$"
    with pytest.raises(ValueError, match=sentence):
        Phase("a", "A", role, "p", secret_source=True)
    assert Phase("a", "A", Role.TAKES, "p", secret_source=True).secret_source


@pytest.mark.parametrize("field", ["poll_s", "park_s", "longest_hold_s"])
@pytest.mark.parametrize("value", [0.0, -1.0, LONGEST_S + 1, NAN, INFINITY])
def test_a_phase_rests_for_a_time_that_ends(field: str, value: float) -> None:
    values: dict[str, Any] = {field: value}
    with pytest.raises(ValueError, match=field) as caught:
        Phase("a", "A", Role.TAKES, "p", **values)
    assert str(caught.value) in {
        f"phase a: longest_hold_s must be above 0 and at most {LONGEST_S}",
        f"phase a: poll_s and park_s must be above 0 and at most {LONGEST_S}",
    }


@pytest.mark.parametrize("field", ["poll_s", "park_s", "longest_hold_s"])
@pytest.mark.parametrize("value", [0.5, float(LONGEST_S)])
def test_a_phase_may_rest_as_shortly_and_as_long_as_its_bounds(field: str, value: float) -> None:
    values: dict[str, Any] = {field: value}
    assert getattr(Phase("a", "A", Role.TAKES, "p", **values), field) == value


def test_polls_come_ever_more_seldom_up_to_the_cap() -> None:
    phase = Phase("a", "A", Role.TAKES, "p", poll_s=2.0)
    waits = [phase.next_poll_s(attempt) for attempt in (1, 2, 3, 4, 5, 6, 1000)]
    assert waits == [2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]


def test_a_poll_that_is_slower_than_the_cap_stays_as_it_is() -> None:
    phase = Phase("a", "A", Role.TAKES, "p", poll_s=60.0)
    assert [phase.next_poll_s(attempt) for attempt in (1, 5)] == [60.0, 60.0]
