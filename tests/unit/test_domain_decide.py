"""decide: every state and every branch."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from coordinator.domain.decide import (
    MIN_TIMEOUT_S,
    Advance,
    Perform,
    Rest,
    Wait,
    capture_events,
    decide,
    may_cancel,
)
from coordinator.domain.flow import Flow
from coordinator.domain.ids import TransactionId
from coordinator.domain.machine import Event, State
from coordinator.domain.opening import open_refund
from coordinator.domain.phase import Operation
from coordinator.domain.record import evolve
from coordinator.domain.retry import RetryPolicy
from coordinator.domain.transaction import Draft, Failure, StepStatus, as_recovered, with_finals
from phases.flows import FLOW_ROWS, bind_flows
from phases.registry import PHASES
from tests.support.domain import BOTH, CARD, FLOWS, ID, NOW, POINTS, opened, standing, with_step

HELD, TRYING, PENDING, REFUSED = (
    StepStatus.HELD,
    StepStatus.TRYING,
    StepStatus.PENDING,
    StepStatus.REFUSED,
)
LATE = NOW + timedelta(days=1)


def calls(draft: Draft, flow: Flow = BOTH, now: datetime = NOW) -> list[tuple[str, Operation]]:
    action = decide(draft.transaction, flow, now)
    assert isinstance(action, Perform)
    assert all(call.step == draft.transaction.step(call.phase.name) for call in action.calls)
    return [(call.phase.name, call.operation) for call in action.calls]


def later(draft: Draft, phase: str, seconds: float) -> Draft:
    """The draft with the next attempt of a step that many seconds away."""
    at = NOW + timedelta(seconds=seconds)
    return with_step(draft, evolve(draft.transaction.step(phase), next_attempt_at=at))


def test_the_first_stage_is_tried_together_and_the_card_waits() -> None:
    assert calls(opened()) == [
        ("points_reserve", Operation.TRY),
        ("merchant_credit", Operation.TRY),
    ]


def test_the_card_is_tried_when_the_first_stage_is_held() -> None:
    draft = standing(State.CREATED, points_reserve=HELD, merchant_credit=HELD)
    assert calls(draft) == [("card_charge", Operation.TRY)]


def test_half_a_stage_asks_only_for_the_other_half() -> None:
    draft = standing(State.CREATED, points_reserve=HELD, merchant_credit=TRYING)
    assert calls(draft) == [("merchant_credit", Operation.TRY)]


def test_a_pending_try_is_queried_not_tried_again() -> None:
    draft = standing(State.CREATED, points_reserve=HELD, merchant_credit=HELD, card_charge=PENDING)
    assert calls(draft) == [("card_charge", Operation.QUERY)]


def test_when_everything_is_held_the_flow_with_a_pivot_captures() -> None:
    held = {"points_reserve": HELD, "merchant_credit": HELD, "card_charge": HELD}
    draft = standing(State.CREATED, BOTH, **held)
    assert decide(draft.transaction, BOTH, NOW) == Advance((Event.HOLD, Event.CAPTURE))


def test_when_everything_is_held_the_flow_without_a_pivot_goes_on_to_settling() -> None:
    draft = standing(State.CREATED, POINTS, points_reserve=HELD, merchant_credit=HELD)
    expected = Advance((Event.HOLD, Event.CAPTURE, Event.SETTLE))
    assert decide(draft.transaction, POINTS, NOW) == expected


def test_what_is_wholly_held_is_paid_even_if_the_try_deadline_has_passed_meanwhile() -> None:
    draft = standing(State.CREATED, POINTS, points_reserve=HELD, merchant_credit=HELD)
    after = draft.transaction.try_deadline + timedelta(seconds=1)
    action = decide(draft.transaction, POINTS, after)
    assert isinstance(action, Advance)
    assert action.failure is None


def test_a_refused_try_releases_with_the_participants_words() -> None:
    draft = standing(State.CREATED, points_reserve=REFUSED, merchant_credit=TRYING)
    step = evolve(
        draft.transaction.step("points_reserve"),
        refusal_code="INSUFFICIENT_POINTS",
        refusal_reason="There are not enough points.",
    )
    failure = Failure("INSUFFICIENT_POINTS", "There are not enough points.", "points_reserve")
    for now in (NOW, LATE):
        action = decide(with_step(draft, step).transaction, BOTH, now)
        assert action == Advance((Event.RELEASE,), failure)


def test_a_try_that_is_not_due_is_waited_for() -> None:
    draft = later(later(opened(), "points_reserve", 2), "merchant_credit", 1)
    assert decide(draft.transaction, BOTH, NOW) == Wait(NOW + timedelta(seconds=1))


def test_a_try_that_is_due_does_not_wait_for_one_that_is_not() -> None:
    assert calls(later(opened(), "points_reserve", 2)) == [("merchant_credit", Operation.TRY)]


def test_a_try_is_due_at_its_very_time() -> None:
    assert ("points_reserve", Operation.TRY) in calls(later(opened(), "points_reserve", 0))


def test_no_wait_goes_beyond_the_try_deadline() -> None:
    draft = later(later(opened(), "points_reserve", 60), "merchant_credit", 60)
    assert decide(draft.transaction, BOTH, NOW) == Wait(draft.transaction.try_deadline)


@pytest.mark.parametrize("status", [StepStatus.UNTRIED, TRYING, PENDING])
def test_at_the_try_deadline_what_is_not_held_is_released(status: StepStatus) -> None:
    draft = standing(State.CREATED, points_reserve=HELD, merchant_credit=status)
    action = decide(draft.transaction, BOTH, draft.transaction.try_deadline)
    assert isinstance(action, Advance)
    assert action.events == (Event.RELEASE,)
    assert action.failure is not None
    assert (action.failure.code, action.failure.phase) == (
        "TRY_DEADLINE_EXCEEDED",
        "merchant_credit",
    )
    assert action.failure.reason == "Merchant did not answer in time"


def test_at_the_try_deadline_the_one_that_is_pending_is_named_before_others() -> None:
    draft = standing(State.CREATED, points_reserve=TRYING, merchant_credit=PENDING)
    action = decide(draft.transaction, BOTH, draft.transaction.try_deadline)
    assert action == Advance(
        (Event.RELEASE,),
        Failure("TRY_DEADLINE_EXCEEDED", "Merchant did not answer in time", "merchant_credit"),
    )


def test_a_customer_who_did_not_act_while_the_reservation_lasted_let_it_expire() -> None:
    draft = standing(State.CREATED, points_reserve=HELD, merchant_credit=PENDING)
    end = draft.transaction.reserved_until
    draft = evolve(draft, transaction=evolve(draft.transaction, try_deadline=end))
    action = decide(draft.transaction, BOTH, end)
    assert isinstance(action, Advance)
    assert action.failure == Failure(
        "RESERVATION_EXPIRED", "Merchant was not completed in time", "merchant_credit"
    )


def test_the_deadlines_failure_names_the_last_error_if_there_was_one() -> None:
    draft = opened()
    step = evolve(draft.transaction.step("points_reserve"), last_error="UNAVAILABLE")
    action = decide(with_step(draft, step).transaction, BOTH, LATE)
    assert isinstance(action, Advance)
    assert action.failure is not None
    assert action.failure.reason == "Points did not answer in time (last error: UNAVAILABLE)"


@pytest.mark.parametrize(
    ("left_s", "timeout_s"), [(5.0, 2.0), (1.5, 1.5), (0.01, MIN_TIMEOUT_S), (2.0, 2.0)]
)
def test_a_try_gets_no_more_time_than_the_deadline_leaves(left_s: float, timeout_s: float) -> None:
    transaction = opened().transaction
    now = transaction.try_deadline - timedelta(seconds=left_s)
    action = decide(transaction, BOTH, now)
    assert isinstance(action, Perform)
    assert [call.timeout_s for call in action.calls] == pytest.approx([timeout_s, timeout_s])


def test_a_reservation_is_captured_while_it_lasts() -> None:
    transaction = standing(State.RESERVED).transaction
    assert decide(transaction, BOTH, NOW) == Advance((Event.CAPTURE,))
    last = transaction.reserved_until - timedelta(microseconds=1)
    assert decide(transaction, BOTH, last) == Advance((Event.CAPTURE,))
    points = standing(State.RESERVED, POINTS).transaction
    assert decide(points, POINTS, NOW) == Advance((Event.CAPTURE, Event.SETTLE))


def test_a_reservation_that_is_over_is_released() -> None:
    transaction = standing(State.RESERVED).transaction
    action = decide(transaction, BOTH, transaction.reserved_until)
    assert isinstance(action, Advance)
    assert action.events == (Event.RELEASE,)
    assert action.failure is not None
    assert action.failure == Failure("RESERVATION_EXPIRED", "the reservation's time is over")


def test_the_pivot_is_confirmed_alone() -> None:
    assert calls(standing(State.CAPTURING)) == [("card_charge", Operation.CONFIRM)]


def test_capturing_knows_no_deadline() -> None:
    assert calls(standing(State.CAPTURING), now=LATE) == [("card_charge", Operation.CONFIRM)]


def test_an_unanswered_pivot_is_waited_for_and_nothing_else_leaves() -> None:
    draft = later(standing(State.CAPTURING), "card_charge", 7)
    assert decide(draft.transaction, BOTH, NOW) == Wait(NOW + timedelta(seconds=7))


@pytest.mark.parametrize(
    ("attempts", "operation"),
    [
        (0, Operation.CONFIRM),
        (9, Operation.CONFIRM),
        (10, Operation.QUERY),
        (11, Operation.CONFIRM),
        (20, Operation.QUERY),
    ],
)
def test_a_pivot_that_does_not_answer_is_now_and_then_asked_what_holds(
    attempts: int, operation: Operation
) -> None:
    draft = standing(State.CAPTURING)
    step = evolve(draft.transaction.step("card_charge"), attempts=attempts)
    assert calls(with_step(draft, step)) == [("card_charge", operation)]


def test_a_pivot_that_needs_a_person_at_once_is_still_confirmed_every_other_time() -> None:
    once = replace(PHASES["card_charge"], retry=RetryPolicy(attempts=1))
    flow = bind_flows(FLOW_ROWS, {**PHASES, "card_charge": once})["points_and_card"]
    asked = []
    for attempts in (1, 2, 3, 4):
        draft = standing(State.CAPTURING, flow)
        step = evolve(draft.transaction.step("card_charge"), attempts=attempts)
        asked += calls(with_step(draft, step), flow)
    confirm, query = Operation.CONFIRM, Operation.QUERY
    assert [operation for _phase, operation in asked] == [confirm, query, confirm, query]


def test_the_others_are_confirmed_however_often_it_takes() -> None:
    draft = standing(State.SETTLING, card_charge=StepStatus.CONFIRMED)
    for phase in ("points_reserve", "merchant_credit"):
        draft = with_step(draft, evolve(draft.transaction.step(phase), attempts=10))
    assert {operation for _phase, operation in calls(draft)} == {Operation.CONFIRM}


def test_a_confirmed_pivot_settles() -> None:
    draft = standing(State.CAPTURING, card_charge=StepStatus.CONFIRMED)
    assert decide(draft.transaction, BOTH, NOW) == Advance((Event.SETTLE,))


def test_a_refused_pivot_releases_with_the_participants_words() -> None:
    draft = standing(State.CAPTURING, card_charge=REFUSED)
    step = evolve(
        draft.transaction.step("card_charge"), refusal_code="EXPIRED", refusal_reason="Too late."
    )
    action = decide(with_step(draft, step).transaction, BOTH, NOW)
    assert action == Advance((Event.RELEASE,), Failure("EXPIRED", "Too late.", "card_charge"))


def test_a_flow_without_a_pivot_that_is_found_capturing_settles() -> None:
    transaction = standing(State.CAPTURING, POINTS).transaction
    assert decide(transaction, POINTS, NOW) == Advance((Event.SETTLE,))


def test_all_other_confirms_leave_together() -> None:
    draft = standing(State.SETTLING, card_charge=StepStatus.CONFIRMED)
    assert calls(draft, now=LATE) == [
        ("points_reserve", Operation.CONFIRM),
        ("merchant_credit", Operation.CONFIRM),
    ]


def test_settling_waits_for_the_earliest_confirm() -> None:
    draft = standing(State.SETTLING, card_charge=StepStatus.CONFIRMED)
    draft = later(later(draft, "points_reserve", 9), "merchant_credit", 8)
    assert decide(draft.transaction, BOTH, NOW) == Wait(NOW + timedelta(seconds=8))


def test_when_everything_is_confirmed_it_is_paid() -> None:
    done = dict.fromkeys([phase.name for phase in BOTH.called], StepStatus.CONFIRMED)
    draft = standing(State.SETTLING, BOTH, **done)
    assert decide(draft.transaction, BOTH, NOW) == Advance((Event.PAY,))


def test_whatever_may_be_held_is_cancelled_and_nothing_else() -> None:
    draft = standing(
        State.CANCELLING, points_reserve=TRYING, merchant_credit=PENDING, card_charge=HELD
    )
    assert [operation for _, operation in calls(draft)] == [Operation.CANCEL] * 3
    draft = standing(
        State.CANCELLING,
        points_reserve=HELD,
        merchant_credit=REFUSED,
        card_charge=StepStatus.CANCELLED,
    )
    assert calls(draft, now=LATE) == [("points_reserve", Operation.CANCEL)]


def test_cancelling_waits_for_the_earliest_cancel() -> None:
    draft = standing(
        State.CANCELLING, merchant_credit=StepStatus.CANCELLED, card_charge=StepStatus.CANCELLED
    )
    draft = later(draft, "points_reserve", 3)
    assert decide(draft.transaction, BOTH, NOW) == Wait(NOW + timedelta(seconds=3))


def test_when_nothing_is_held_any_more_it_has_failed() -> None:
    done = dict.fromkeys([phase.name for phase in BOTH.called], StepStatus.CANCELLED)
    done["points_reserve"] = REFUSED
    draft = standing(State.CANCELLING, BOTH, **done)
    assert decide(draft.transaction, BOTH, NOW) == Advance((Event.FAIL,))


@pytest.mark.parametrize("state", [State.PAID, State.FAILED, State.REFUNDED])
def test_what_is_settled_rests(state: State) -> None:
    assert decide(standing(state).transaction, BOTH, LATE) == Rest()


@pytest.mark.parametrize("state", State)
def test_a_caller_may_cancel_only_before_the_decision(state: State) -> None:
    undecided = state in {State.CREATED, State.RESERVED}
    assert may_cancel(standing(state).transaction) == undecided


@pytest.mark.parametrize("flow", FLOWS.values(), ids=FLOWS.keys())
def test_a_recovered_payment_is_asked_for_what_a_fresh_one_is(flow: Flow) -> None:
    fresh = opened(flow)
    found = evolve(fresh, transaction=as_recovered(fresh.transaction))
    assert calls(found, flow) == calls(fresh, flow)


def test_the_card_flow_holds_the_merchant_before_the_card() -> None:
    assert calls(opened(CARD), CARD) == [("merchant_credit", Operation.TRY)]


def test_what_is_wholly_held_is_not_captured_after_the_reservation() -> None:
    held = dict.fromkeys(("points_reserve", "merchant_credit", "card_charge"), StepStatus.HELD)
    transaction = standing(State.CREATED, BOTH, **held).transaction
    assert decide(transaction, BOTH, transaction.reserved_until) == Advance(
        (Event.RELEASE,), Failure("RESERVATION_EXPIRED", "the reservation's time is over")
    )


def manual(draft: Draft) -> Draft:
    return evolve(draft, transaction=evolve(draft.transaction, manual=True))


def test_a_manual_payment_that_is_wholly_held_is_reserved_and_goes_no_further() -> None:
    draft = manual(
        standing(State.CREATED, points_reserve=HELD, merchant_credit=HELD, card_charge=HELD)
    )
    assert decide(draft.transaction, BOTH, NOW) == Advance((Event.HOLD,))


def test_a_reserved_manual_payment_waits_for_its_caller_until_the_reservation_ends() -> None:
    draft = manual(standing(State.RESERVED))
    until = draft.transaction.reserved_until
    assert decide(draft.transaction, BOTH, NOW) == Wait(until)
    action = decide(draft.transaction, BOTH, until)
    assert isinstance(action, Advance)
    assert action.events == (Event.RELEASE,)


@pytest.mark.parametrize(
    ("shares", "events"),
    [
        ({"points_reserve": 400, "card_charge": 400}, (Event.CAPTURE,)),
        ({"points_reserve": 0, "card_charge": 1}, (Event.CAPTURE,)),
        ({"points_reserve": 400, "card_charge": 0}, (Event.CAPTURE, Event.SETTLE)),
    ],
)
def test_a_capture_that_drops_the_pivot_settles_at_once(
    shares: dict[str, int], events: tuple[Event, ...]
) -> None:
    decided = with_finals(standing(State.RESERVED).transaction, shares)
    assert capture_events(decided, BOTH) == events


def test_what_a_partial_capture_drops_is_cancelled_and_the_rest_is_confirmed() -> None:
    shares = {"points_reserve": 0, "card_charge": 100}
    draft = standing(State.SETTLING, card_charge=StepStatus.CONFIRMED)
    draft = evolve(draft, transaction=with_finals(draft.transaction, shares))
    assert calls(draft) == [
        ("points_reserve", Operation.CANCEL),
        ("merchant_credit", Operation.CONFIRM),
    ]
    done = {"points_reserve": StepStatus.CANCELLED, "merchant_credit": StepStatus.CONFIRMED}
    for phase, status in done.items():
        draft = with_step(draft, evolve(draft.transaction.step(phase), status=status))
    assert decide(draft.transaction, BOTH, NOW) == Advance((Event.PAY,))


def refund_of(shares: dict[str, int]) -> Draft:
    paid = standing(State.PAID).transaction
    return open_refund(
        paid,
        transaction_id=TransactionId("0197f2a0-0000-7000-8000-000000000009"),
        idempotency_key="refund-1",
        request="{}",
        ordinal=3,
        flow=BOTH.refund,
        shares=shares,
        now=NOW,
    )


def test_a_refund_holds_the_merchants_part_first_and_then_the_tenders_that_get_something() -> None:
    draft = refund_of({"points_reserve": 0, "card_charge": 150})
    assert calls(draft, BOTH.refund) == [("merchant_credit", Operation.TRY)]
    held = evolve(draft.transaction.step("merchant_credit"), status=HELD)
    draft = with_step(draft, held)
    assert calls(draft, BOTH.refund) == [("card_charge", Operation.TRY)]
    action = decide(draft.transaction, BOTH.refund, NOW)
    assert isinstance(action, Perform)
    assert [call.refund_of for call in action.calls] == [ID]
    draft = with_step(draft, evolve(draft.transaction.step("card_charge"), status=HELD))
    every = (Event.HOLD, Event.CAPTURE, Event.SETTLE)
    assert decide(draft.transaction, BOTH.refund, NOW) == Advance(every)
