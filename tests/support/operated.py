"""Transactions as an operator finds them: in any state, due, or waiting for one of their steps."""

from __future__ import annotations

from datetime import timedelta

from coordinator.domain.machine import RELEASED, SETTLED, State
from coordinator.domain.record import evolve
from coordinator.domain.transaction import Draft, Failure, Step, StepStatus, Transaction
from tests.support.domain import BOTH, NOW, standing, with_step

CARD, MERCHANT, WALLET = "card_charge", "merchant_credit", "points_reserve"
LATER = NOW + timedelta(minutes=5)


def stands(state: State, **statuses: StepStatus) -> Transaction:
    """A transaction in a state, due now; a released one says why."""
    found = standing(state, BOTH, **statuses).transaction
    failure = Failure("CARD_DECLINED", "no") if state in RELEASED else None
    due_at = None if state in SETTLED else NOW
    return evolve(found, failure=failure, due_at=due_at, reserved_until=LATER)


def moved(transaction: Transaction, phase: str, **changes: object) -> Transaction:
    """The transaction with one of its steps changed."""
    step: Step = evolve(transaction.step(phase), **changes)
    return with_step(Draft(transaction), step).transaction


def waiting(state: State, phase: str, code: str = "UNAVAILABLE", **changes: object) -> Transaction:
    """A transaction whose step is asked again in five minutes."""
    values: dict[str, object] = {"attempts": 4, "last_error": code, "next_attempt_at": LATER}
    return evolve(moved(stands(state), phase, **(values | changes)), due_at=LATER)
