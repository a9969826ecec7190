"""How long a call may wait for its payment."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.system import SystemClock
from coordinator.domain.errors import DeadlineRequired, DeadlineTooShort
from coordinator.rpc.credentials import Credentials
from coordinator.rpc.gate import Gate
from coordinator.telemetry import LogObserver

MARGIN_S = 0.1


class CallWith:
    """A call with so many seconds left, as gRPC tells; None without a deadline."""

    def __init__(self, remaining_s: float | None) -> None:
        self._remaining_s = remaining_s

    def time_remaining(self) -> float | None:
        return self._remaining_s


def gate() -> Gate:
    return Gate(
        credentials=Credentials("caller", (), SystemClock()),
        max_in_flight=1,
        deadline_margin_s=MARGIN_S,
        observer=LogObserver(),
    )


def call(remaining_s: float | None) -> Any:
    return CallWith(remaining_s)


@pytest.mark.parametrize("asked_s", [0.5, 5.0, 9.99, 10.01, 60.01, 99.95, 100.1, 600.0, 999.5])
def test_the_answer_leaves_a_margin_before_the_deadline_that_the_caller_asked_for(
    asked_s: float,
) -> None:
    # On the wire gRPC rounds up: above ten seconds to a tenth, above a hundred to a whole second.
    step_s = 0.001 if asked_s <= 10 else 0.1 if asked_s <= 100 else 1.0
    seen_s = asked_s + step_s
    assert gate().wait_s(call(seen_s)) <= asked_s - MARGIN_S + 0.002


def test_a_call_without_a_deadline_is_told_to_set_one() -> None:
    with pytest.raises(DeadlineRequired):
        gate().wait_s(call(None))


@pytest.mark.parametrize("remaining_s", [-1.0, 0.0, MARGIN_S])
def test_a_deadline_within_the_margin_is_too_near(remaining_s: float) -> None:
    with pytest.raises(DeadlineTooShort):
        gate().wait_s(call(remaining_s))
