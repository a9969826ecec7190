"""What operators may do in each state, why not, and what a transaction waits for."""

from __future__ import annotations

import itertools

import pytest

from coordinator.domain.entries import Act, Hold
from coordinator.domain.machine import CANCELLABLE, LIVE, SETTLED, State
from coordinator.domain.outcome import NextAction
from coordinator.domain.permitted import (
    StepAnswer,
    WaitCode,
    answers,
    open_calls,
    verdicts,
    waits_for,
)
from coordinator.domain.record import evolve
from coordinator.domain.transaction import StepStatus, Transaction
from tests.support.domain import BOTH, NOW, POINTS, standing
from tests.support.operated import CARD, LATER, MERCHANT, WALLET, moved, stands, waiting

C, X = StepAnswer.CONFIRMED, StepAnswer.CANCELLED


def code(transaction: Transaction, act: Act, driven_by: str = "", *, served: bool = True) -> str:
    flow = BOTH if served else None
    [verdict] = [v for v in verdicts(transaction, flow, driven_by, NOW) if v.act is act]
    assert verdict.reason, "every verdict has its reason"
    assert verdict.allowed == (not verdict.code)
    return verdict.code


# --- acts ------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", State)
def test_every_act_has_one_verdict_in_every_state(state: State) -> None:
    for served, owner in itertools.product((True, False), ("", "worker-1")):
        found = verdicts(stands(state), BOTH if served else None, owner, NOW)
        assert [verdict.act for verdict in found] == [
            Act.RESUME,
            Act.HOLD,
            Act.UNHOLD,
            Act.CANCEL,
            Act.RESOLVE,
        ]


@pytest.mark.parametrize("state", sorted(SETTLED))
def test_what_has_ended_is_left_alone(state: State) -> None:
    ended = stands(state)
    assert code(ended, Act.RESUME) == code(ended, Act.HOLD) == "ALREADY_SETTLED"
    assert code(ended, Act.RESOLVE) == "ALREADY_SETTLED"
    assert code(ended, Act.UNHOLD) == "NOT_HELD"
    cancel = "ALREADY_RELEASED" if state is State.FAILED else "ALREADY_SETTLED"
    assert code(ended, Act.CANCEL) == cancel


@pytest.mark.parametrize("state", sorted(LIVE))
def test_what_is_live_may_be_held_once(state: State) -> None:
    free = stands(state)
    held = evolve(free, hold=Hold("alice", "ask the bank"))
    assert (code(free, Act.HOLD), code(free, Act.UNHOLD)) == ("", "NOT_HELD")
    assert (code(held, Act.HOLD), code(held, Act.UNHOLD)) == ("HELD_BY_OPERATOR", "")
    assert code(held, Act.RESUME) == "HELD_BY_OPERATOR"


@pytest.mark.parametrize("state", State)
def test_only_what_is_not_decided_may_be_cancelled(state: State) -> None:
    expected = {
        State.CAPTURING: "ALREADY_DECIDED",
        State.SETTLING: "ALREADY_DECIDED",
        State.CANCELLING: "ALREADY_RELEASED",
        State.FAILED: "ALREADY_RELEASED",
        State.PAID: "ALREADY_SETTLED",
        State.REFUNDED: "ALREADY_SETTLED",
    }
    assert code(stands(state), Act.CANCEL) == expected.get(state, "")


@pytest.mark.parametrize("state", sorted(LIVE - {State.RESERVED}))
def test_what_a_process_works_on_is_not_resumed_unless_it_waits(state: State) -> None:
    phase = WALLET if state is not State.CAPTURING else CARD
    assert code(stands(state), Act.RESUME, "worker-1") == "BEING_DRIVEN"
    assert code(stands(state), Act.RESUME) == ""
    assert code(waiting(state, phase), Act.RESUME, "worker-1") == ""


def test_what_waits_for_its_caller_is_resumed_only_when_its_time_is_over() -> None:
    reserved = evolve(stands(State.RESERVED), manual=True)
    assert code(reserved, Act.RESUME) == "NOTHING_TO_RETRY"
    assert code(evolve(reserved, reserved_until=NOW), Act.RESUME) == ""


@pytest.mark.parametrize("act", [Act.RESUME, Act.CANCEL, Act.RESOLVE])
def test_what_needs_a_flow_is_refused_where_it_is_not_served(act: Act) -> None:
    state = State.CREATED if act is Act.CANCEL else State.SETTLING
    assert code(stands(state), act, served=False) == "FLOW_NOT_SERVED"
    assert code(stands(state), Act.HOLD, served=False) == ""


# --- answers ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("transaction", "possible"),
    [
        (stands(State.CREATED), {CARD: (), MERCHANT: (), WALLET: ()}),
        (stands(State.RESERVED), {CARD: (), MERCHANT: (), WALLET: ()}),
        (stands(State.CAPTURING), {CARD: (C, X), MERCHANT: (), WALLET: ()}),
        (
            stands(State.SETTLING, card_charge=StepStatus.CONFIRMED),
            {CARD: (), MERCHANT: (C,), WALLET: (C,)},
        ),
        (
            moved(stands(State.SETTLING, card_charge=StepStatus.CONFIRMED), WALLET, final_minor=0),
            {CARD: (), MERCHANT: (C,), WALLET: (X,)},
        ),
        (
            stands(State.CANCELLING, points_reserve=StepStatus.CANCELLED),
            {CARD: (X,), MERCHANT: (X,), WALLET: ()},
        ),
        (
            stands(State.CANCELLING, card_charge=StepStatus.REFUSED),
            {CARD: (), MERCHANT: (X,), WALLET: (X,)},
        ),
        (stands(State.PAID), {CARD: (), MERCHANT: (), WALLET: ()}),
        (stands(State.FAILED), {CARD: (), MERCHANT: (), WALLET: ()}),
        (
            waiting(State.CAPTURING, CARD),
            {CARD: (C, X), MERCHANT: (), WALLET: ()},
        ),
    ],
)
def test_the_answers_are_those_that_no_participant_is_left_behind_by(
    transaction: Transaction, possible: dict[str, tuple[StepAnswer, ...]]
) -> None:
    found = answers(transaction, BOTH, NOW)
    assert {each.phase: each.possible for each in found} == possible
    assert all(each.reason for each in found)
    held = evolve(transaction, hold=Hold("alice", "ask the bank"))
    assert answers(held, BOTH, NOW) == found, "a hold is a good time to look"
    resolvable = any(each.possible for each in found)
    assert (code(transaction, Act.RESOLVE) == "") == resolvable


def test_where_the_flow_is_not_served_nothing_is_answered() -> None:
    assert answers(stands(State.CAPTURING), None, NOW) == ()
    assert open_calls(stands(State.CAPTURING), None, NOW) == ()


# --- waits -----------------------------------------------------------------------------------


def waits(transaction: Transaction, driven_by: str = "") -> list[tuple[WaitCode, str]]:
    found = waits_for(transaction, BOTH, driven_by, NOW)
    assert all(wait.sentence for wait in found)
    return [(wait.code, wait.phase) for wait in found]


@pytest.mark.parametrize("state", State)
def test_whatever_is_live_waits_for_something(state: State) -> None:
    for found in (stands(state), waiting(state, WALLET)):
        for owner in ("", "worker-1"):
            assert bool(waits(found, owner)) == (state in LIVE)


def test_a_retry_says_how_often_why_and_when() -> None:
    [wait] = waits_for(waiting(State.CAPTURING, CARD), BOTH, "", NOW)
    assert (wait.code, wait.phase, wait.until) == (WaitCode.RETRY, CARD, LATER)
    assert wait.sentence == (
        "Card: Confirm did not answer 4 times (UNAVAILABLE); asked again at 2026-01-02 03:09:05 UTC"
    )


def test_what_is_held_back_by_ourselves_counts_no_attempt() -> None:
    held_back = waiting(State.CAPTURING, CARD, "BREAKER_OPEN", attempts=0)
    [wait] = waits_for(held_back, BOTH, "", NOW)
    assert wait.sentence.startswith("Card: Confirm was held back here (BREAKER_OPEN); asked")


def test_an_error_of_what_was_asked_before_is_no_holding_back() -> None:
    released = waiting(State.CANCELLING, CARD, "ABANDONED", attempts=0)
    found = {wait.phase: wait for wait in waits_for(released, BOTH, "", NOW)}
    assert found[CARD].sentence.startswith(
        "Card: Cancel has no answer yet (the last error: ABANDONED); asked again at "
    )


def test_a_try_that_is_not_answered_is_released_in_time() -> None:
    [wait, *_] = waits_for(waiting(State.CREATED, WALLET), BOTH, "", NOW)
    assert "Try did not answer 4 times (UNAVAILABLE)" in wait.sentence
    assert "released at 2026-01-02 03:04:10 UTC if it does not" in wait.sentence


def test_a_refusal_after_the_decision_is_parked() -> None:
    refused = {"refusal_code": "CLOSED", "refusal_reason": "The account is closed."}
    parked = waiting(State.SETTLING, MERCHANT, "CLOSED", **refused)
    found = [wait for wait in waits_for(parked, BOTH, "", NOW) if wait.phase == MERCHANT]
    [wait] = found
    assert wait.code is WaitCode.PARKED
    assert "Confirm was refused (CLOSED: The account is closed.)" in wait.sentence


def test_a_pending_step_waits_for_the_customer_or_for_the_participant() -> None:
    pending = {"status": StepStatus.PENDING, "last_error": "", "attempts": 1}
    held = {"points_reserve": StepStatus.HELD, "merchant_credit": StepStatus.HELD}
    base = moved(
        evolve(stands(State.CREATED, **held), due_at=LATER), CARD, next_attempt_at=LATER, **pending
    )
    assert waits(base) == [(WaitCode.PARTICIPANT, CARD)]
    asked = moved(base, CARD, next_action=NextAction("redirect", "https://card.example"))
    assert waits(asked) == [(WaitCode.CUSTOMER, CARD)]


def test_a_reserved_payment_waits_for_its_caller() -> None:
    reserved = evolve(stands(State.RESERVED), manual=True, due_at=LATER)
    [wait] = waits_for(reserved, BOTH, "", NOW)
    assert (wait.code, wait.until) == (WaitCode.CALLER, LATER)


def test_a_held_one_waits_for_the_operator_whatever_else_there_is() -> None:
    held = evolve(waiting(State.CAPTURING, CARD), hold=Hold("alice", "ask the bank"))
    [wait] = waits_for(held, BOTH, "", NOW)
    assert (wait.code, wait.sentence) == (WaitCode.HELD, "held by alice: ask the bank")


def test_what_is_due_and_not_driven_waits_to_be_taken_up() -> None:
    assert waits(stands(State.SETTLING)) == [(WaitCode.CLAIM, "")]
    overdue = evolve(waiting(State.CAPTURING, CARD, next_attempt_at=NOW), due_at=NOW)
    assert waits(overdue) == [(WaitCode.RETRY, CARD), (WaitCode.CLAIM, "")]


def test_what_is_driven_waits_for_the_answers_that_are_asked_for() -> None:
    assert waits(stands(State.CAPTURING), "worker-1") == [(WaitCode.DRIVER, "")]
    one_of_two = moved(
        stands(State.SETTLING, card_charge=StepStatus.CONFIRMED),
        MERCHANT,
        last_error="UNAVAILABLE",
        attempts=1,
        next_attempt_at=LATER,
    )
    assert waits(one_of_two, "worker-1") == [(WaitCode.RETRY, MERCHANT), (WaitCode.DRIVER, "")]


def test_what_is_not_served_here_waits_for_those_who_serve_it() -> None:
    [wait] = waits_for(stands(State.SETTLING), None, "", NOW)
    assert wait.code is WaitCode.FLOW


def test_a_flow_without_a_pivot_has_no_step_that_could_be_not_captured() -> None:
    found = evolve(standing(State.SETTLING, POINTS).transaction, due_at=NOW)
    assert {each.possible for each in answers(found, POINTS, NOW)} == {(C,)}


def test_where_every_step_is_done_there_is_none_to_resolve() -> None:
    confirmed = dict.fromkeys((CARD, MERCHANT, WALLET), StepStatus.CONFIRMED)
    assert code(stands(State.SETTLING, **confirmed), Act.RESOLVE) == "ANSWER_NOT_POSSIBLE"
    captured = stands(State.CAPTURING, card_charge=StepStatus.CONFIRMED)
    assert code(captured, Act.RESOLVE) == "ANSWER_NOT_POSSIBLE"


def test_what_is_not_decided_is_cancelled_rather_than_resolved() -> None:
    for state in CANCELLABLE:
        assert code(stands(state), Act.RESOLVE) == "ANSWER_NOT_POSSIBLE"
