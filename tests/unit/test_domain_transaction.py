"""Opening, recovering, recording and advancing: what they do to steps, journal and outbox."""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import Any, TypeAlias

import pytest

from coordinator.domain.errors import IllegalTransition
from coordinator.domain.flow import FlowRow, bind
from coordinator.domain.ids import TransactionId, event_id
from coordinator.domain.machine import Event, State
from coordinator.domain.money import Money
from coordinator.domain.moves import advance, attempted, late_success_undone, record
from coordinator.domain.opening import Terms, open_refund, open_transaction
from coordinator.domain.outcome import (
    Applied,
    NextAction,
    Outcome,
    Pending,
    Refused,
    Unknown,
)
from coordinator.domain.phase import Operation, Role
from coordinator.domain.record import evolve
from coordinator.domain.transaction import (
    Attention,
    Draft,
    EntryKind,
    Failure,
    RefundOf,
    Result,
    Step,
    StepStatus,
    Tender,
    as_recovered,
    flow_of,
    with_finals,
)
from phases.registry import PHASES
from tests.support.domain import BOTH, FLOWS, ID, NOW, POINTS, SOURCES, opened, standing, with_step

REFUND_ID = TransactionId("0197f2a0-0000-7000-8000-000000000009")

S = StepStatus
O = Operation  # noqa: E741 - the tables below are read by their shape
YES, NO, WAIT = Applied("ref-1"), Refused("NO_FUNDS", "Not enough."), Pending("ref-2")
FINAL = Applied("ref-1", confirmed=True)
LOST, ODD = Unknown("UNAVAILABLE", "gone"), Unknown("ANSWER_MISMATCH", "amount", suspicious=True)
CARD_DONE = {"card_charge": S.CONFIRMED}
SECRET = SOURCES["card_charge"]


def answer(
    draft: Draft, phase: str, operation: Operation, outcome: Outcome, draw: float = 0.0
) -> Draft:
    return record(draft, BOTH, [Result(phase, operation, outcome, draw)], NOW)


def step_after(draft: Draft, phase: str, operation: Operation, outcome: Outcome) -> Step:
    return answer(draft, phase, operation, outcome).transaction.step(phase)


# --- opening ---------------------------------------------------------------------------------


def test_a_new_payment_has_its_steps_deadlines_and_first_journal_line() -> None:
    draft = opened()
    transaction = draft.transaction
    assert [
        (s.phase, s.position, s.status, s.amount, s.source, s.secret) for s in transaction.steps
    ] == [
        ("points_reserve", 0, S.UNTRIED, Money(400, "JPY"), "wallet-1", False),
        ("merchant_credit", 1, S.UNTRIED, Money(800, "JPY"), "merchant-1", False),
        ("card_charge", 2, S.UNTRIED, Money(400, "JPY"), SECRET, True),
        ("notify", 3, S.UNTRIED, None, "", False),
    ]
    assert transaction.try_deadline == NOW + timedelta(seconds=5)
    assert transaction.reserved_until == NOW + timedelta(seconds=900)
    assert (transaction.version, transaction.sequence, transaction.due_at) == (0, 1, NOW)
    [line] = draft.entries
    assert (line.sequence, line.kind, line.from_state, line.to_state, line.event) == (
        1,
        EntryKind.TRANSITION,
        None,
        State.CREATED,
        "create",
    )
    change = draft.change(now=NOW, due_at=NOW, keep_claim=True)
    assert (change.expected_version, change.after.version, change.events) == (0, 1, ())


@pytest.mark.parametrize(
    "tenders",
    [
        [],
        [("points_reserve", 800, "JPY")],
        [("points_reserve", 400, "JPY"), ("card_charge", 399, "JPY")],
        [("points_reserve", 400, "JPY"), ("card_charge", 400, "USD")],
        [("points_reserve", 400, "USD"), ("card_charge", 400, "USD")],
        [("points_reserve", 400, "JPY"), ("points_reserve", 400, "JPY")],
        [("points_reserve", 200, "JPY"), ("card_charge", 400, "JPY"), ("card_charge", 200, "JPY")],
        [("points_reserve", 400, "JPY"), ("merchant_credit", 400, "JPY")],
        [("points_reserve", 400, "JPY"), ("gift_card", 400, "JPY")],
    ],
)
def test_tenders_that_do_not_make_up_the_amount_never_become_a_payment(
    tenders: list[tuple[str, int, str]],
) -> None:
    with pytest.raises(ValueError, match="tender") as refused:
        open_transaction(
            transaction_id=ID,
            caller="shop",
            idempotency_key="key",
            request="{}",
            flow=BOTH,
            amount=Money(800, "JPY"),
            tenders=[Tender(method, "x", Money(n, code)) for method, n, code in tenders],
            merchant_id="merchant-1",
            order_id="",
            customer_id="",
            now=NOW,
        )
    assert str(refused.value) in {
        "flow points_and_card takes one tender for each phase that takes money",
        "the tenders do not add up to the amount",
    }


def test_a_step_is_found_by_its_phase_and_a_stranger_is_not() -> None:
    transaction = opened().transaction
    assert transaction.step("notify").position == 3
    with pytest.raises(KeyError, match="gift_card"):
        transaction.step("gift_card")


def test_only_what_is_settled_is_settled() -> None:
    settled = {state for state in State if standing(state).transaction.settled}
    assert settled == {State.PAID, State.FAILED, State.REFUNDED}


def test_no_repr_shows_a_source_or_the_request() -> None:
    draft = opened()
    tender = Tender("card_charge", SECRET, Money(1, "JPY"))
    shown = repr(draft) + repr(draft.transaction.steps) + repr(tender)
    assert SECRET not in shown
    assert "wallet-1" not in shown


# --- recovering ------------------------------------------------------------------------------


def test_a_payment_found_created_has_perhaps_been_tried_everywhere() -> None:
    found = as_recovered(standing(State.CREATED, points_reserve=S.HELD).transaction)
    assert [step.status for step in found.steps] == [S.HELD, S.TRYING, S.TRYING, S.UNTRIED]


def test_a_payment_found_later_is_what_it_is() -> None:
    for state in set(State) - {State.CREATED}:
        transaction = standing(state).transaction
        assert as_recovered(transaction) is transaction


# --- recording -------------------------------------------------------------------------------

Expected: TypeAlias = tuple[StepStatus, float | None, str]
EXPECTED: list[tuple[State, str, Operation, Outcome, Expected]] = [
    # state, phase, operation, outcome -> (status, seconds to the next attempt, attention)
    (State.CREATED, "card_charge", O.TRY, YES, (S.HELD, None, "")),
    (State.CREATED, "card_charge", O.TRY, NO, (S.REFUSED, None, "")),
    (State.CREATED, "card_charge", O.TRY, WAIT, (S.PENDING, 2.0, "")),
    (State.CREATED, "card_charge", O.TRY, LOST, (S.TRYING, 0.1, "")),
    (State.CREATED, "card_charge", O.TRY, ODD, (S.TRYING, 0.1, "ANSWER_MISMATCH")),
    (State.CREATED, "card_charge", O.QUERY, YES, (S.HELD, None, "")),
    (State.CREATED, "card_charge", O.QUERY, NO, (S.REFUSED, None, "")),
    (State.CREATED, "card_charge", O.QUERY, WAIT, (S.PENDING, 2.0, "")),
    (State.CAPTURING, "card_charge", O.CONFIRM, YES, (S.CONFIRMED, None, "")),
    (State.CAPTURING, "card_charge", O.CONFIRM, NO, (S.REFUSED, None, "")),
    (State.CAPTURING, "card_charge", O.CONFIRM, WAIT, (S.HELD, 2.0, "")),
    (State.CAPTURING, "card_charge", O.CONFIRM, LOST, (S.HELD, 0.1, "")),
    (State.CAPTURING, "card_charge", O.CONFIRM, ODD, (S.HELD, 0.1, "ANSWER_MISMATCH")),
    (State.CAPTURING, "card_charge", O.QUERY, YES, (S.HELD, None, "")),
    (State.CAPTURING, "card_charge", O.QUERY, FINAL, (S.CONFIRMED, None, "")),
    (State.CAPTURING, "card_charge", O.QUERY, NO, (S.REFUSED, None, "")),
    (State.CAPTURING, "card_charge", O.QUERY, WAIT, (S.HELD, 2.0, "")),
    (State.CAPTURING, "card_charge", O.QUERY, LOST, (S.HELD, 0.1, "")),
    (State.SETTLING, "points_reserve", O.CONFIRM, YES, (S.CONFIRMED, None, "")),
    (State.SETTLING, "points_reserve", O.CONFIRM, NO, (S.HELD, 300.0, "REFUSED_AFTER_DECISION")),
    (State.SETTLING, "points_reserve", O.CONFIRM, WAIT, (S.HELD, 2.0, "")),
    (State.SETTLING, "points_reserve", O.CONFIRM, LOST, (S.HELD, 0.1, "")),
    (State.SETTLING, "points_reserve", O.CONFIRM, ODD, (S.HELD, 0.1, "ANSWER_MISMATCH")),
    (State.CANCELLING, "points_reserve", O.CANCEL, YES, (S.CANCELLED, None, "")),
    (State.CANCELLING, "points_reserve", O.CANCEL, NO, (S.HELD, 300.0, "REFUSED_AFTER_DECISION")),
    (State.CANCELLING, "points_reserve", O.CANCEL, WAIT, (S.HELD, 2.0, "")),
    (State.CANCELLING, "points_reserve", O.CANCEL, LOST, (S.HELD, 0.1, "")),
    (State.CANCELLING, "points_reserve", O.CANCEL, ODD, (S.HELD, 0.1, "ANSWER_MISMATCH")),
    (State.CANCELLING, "card_charge", O.CANCEL, NO, (S.HELD, 300.0, "REFUSED_AFTER_DECISION")),
]


@pytest.mark.parametrize(("state", "phase", "operation", "outcome", "expected"), EXPECTED)
def test_an_outcome_moves_its_step(
    state: State, phase: str, operation: Operation, outcome: Outcome, expected: Expected
) -> None:
    draft = answer(standing(state), phase, operation, outcome)
    status, wait_s, flag = expected
    step = draft.transaction.step(phase)
    assert step.status is status
    assert step.attempts == 1
    at = None if wait_s is None else NOW + timedelta(seconds=wait_s)
    assert step.next_attempt_at == at
    attention = draft.transaction.attention
    assert (attention.code if attention else "") == flag


PAIRS: list[Any] = list(
    itertools.product(
        State, Operation, [YES, NO, WAIT, LOST, ODD], ["points_reserve", "card_charge"]
    )
)


@pytest.mark.parametrize(("state", "operation", "outcome", "phase"), PAIRS)
def test_every_result_is_one_journal_line_and_no_result_moves_the_state(
    state: State, operation: Operation, outcome: Outcome, phase: str
) -> None:
    before = standing(state)
    after = answer(before, phase, operation, outcome)
    assert after.transaction.state is state
    assert after.transaction.sequence == before.transaction.sequence + 1
    assert [event.attention for event in after.events] == [
        attention for attention in (after.transaction.attention,) if attention is not None
    ]
    [line] = after.entries
    assert (line.from_state, line.to_state, line.event) == (state, state, "")
    assert (line.kind, line.phase, line.operation) == (EntryKind.ATTEMPT, phase, operation)
    code, detail = {
        "applied": ("", ""),
        "pending": ("", ""),
        "refused": ("NO_FUNDS", "Not enough."),
        "unknown": (getattr(outcome, "code", ""), getattr(outcome, "detail", "")),
    }[line.outcome]
    assert (line.code, line.detail, line.attempt) == (code, detail, 1)
    others = [step for step in after.transaction.steps if step.phase != phase]
    assert others == [step for step in before.transaction.steps if step.phase != phase]


def test_a_query_that_finds_confirmed_what_nobody_confirmed_proves_nothing() -> None:
    final = Applied("ref-1", confirmed=True)
    draft = answer(standing(State.CREATED, card_charge=S.PENDING), "card_charge", O.QUERY, final)
    assert draft.transaction.step("card_charge").status is S.PENDING
    attention = draft.transaction.attention
    assert attention is not None
    assert attention == Attention(
        "UNEXPECTED_STATUS", "Card: query found it confirmed, which nobody asked for"
    )
    [line] = draft.entries
    assert (line.outcome, line.code) == ("unknown", "UNEXPECTED_STATUS")


@pytest.mark.parametrize("status", [S.TRYING, S.PENDING, S.HELD])
def test_unknown_leaves_a_step_as_it_stood(status: StepStatus) -> None:
    draft = standing(State.CREATED, card_charge=status)
    assert step_after(draft, "card_charge", O.QUERY, LOST).status is status


def test_a_refusal_is_kept_with_its_words() -> None:
    step = step_after(standing(State.CREATED), "points_reserve", O.TRY, NO)
    assert (step.refusal_code, step.refusal_reason, step.last_error) == (
        "NO_FUNDS",
        "Not enough.",
        "NO_FUNDS",
    )


def test_success_clears_the_last_error_and_keeps_a_reference() -> None:
    draft = answer(standing(State.CREATED), "points_reserve", O.TRY, LOST)
    assert draft.transaction.step("points_reserve").last_error == "UNAVAILABLE"
    draft = answer(draft, "points_reserve", O.TRY, YES)
    step = draft.transaction.step("points_reserve")
    assert (step.last_error, step.reference, step.attempts) == ("", "ref-1", 2)
    draft = advance(draft, BOTH, [Event.RELEASE], NOW)
    step = step_after(draft, "points_reserve", O.CANCEL, Applied())
    assert step.reference == "ref-1"


@pytest.mark.parametrize("outcome", [YES, NO, WAIT])
def test_a_secret_is_forgotten_once_its_try_is_answered(outcome: Outcome) -> None:
    assert step_after(standing(State.CREATED), "card_charge", O.TRY, outcome).source == ""


@pytest.mark.parametrize("outcome", [LOST, ODD])
def test_a_secret_is_kept_while_its_try_may_have_to_be_repeated(outcome: Outcome) -> None:
    assert step_after(standing(State.CREATED), "card_charge", O.TRY, outcome).source == SECRET


@pytest.mark.parametrize("outcome", [YES, NO, WAIT, LOST])
def test_a_source_that_is_no_secret_stays(outcome: Outcome) -> None:
    step = step_after(standing(State.CREATED), "points_reserve", O.TRY, outcome)
    assert step.source == "wallet-1"


def test_waits_grow_with_attempts_and_shrink_with_the_draw() -> None:
    draft = standing(State.CAPTURING)
    waits = []
    for draw in (0.0, 0.0, 1.0, 0.0):
        draft = answer(draft, "card_charge", O.CONFIRM, LOST, draw)
        at = draft.transaction.step("card_charge").next_attempt_at
        assert at is not None
        waits.append((at - NOW).total_seconds())
    assert waits == pytest.approx([0.1, 0.2, 0.2, 0.8])


def test_after_too_many_attempts_a_person_is_told_and_it_is_still_asked() -> None:
    draft = standing(State.CAPTURING)
    attempts = BOTH.by_name["card_charge"].retry.attempts
    for _ in range(attempts - 1):
        draft = answer(draft, "card_charge", O.CONFIRM, LOST)
    assert draft.transaction.attention is None
    draft = answer(draft, "card_charge", O.CONFIRM, LOST)
    attention = draft.transaction.attention
    assert attention == Attention(
        "TOO_MANY_ATTEMPTS", "Card did not answer 10 times while CAPTURING: UNAVAILABLE"
    )
    assert draft.transaction.step("card_charge").next_attempt_at is not None


def test_attention_outlives_the_answer_that_ends_its_cause() -> None:
    draft = answer(standing(State.SETTLING, BOTH, **CARD_DONE), "points_reserve", O.CONFIRM, NO)
    draft = answer(draft, "points_reserve", O.CONFIRM, YES)
    assert draft.transaction.attention is not None


def test_results_of_one_round_are_journaled_in_their_order() -> None:
    results = [
        Result("merchant_credit", O.TRY, YES),
        Result("points_reserve", O.TRY, NO),
    ]
    draft = record(opened(), BOTH, results, NOW)
    assert [(line.sequence, line.phase) for line in draft.entries] == [
        (1, ""),
        (2, "merchant_credit"),
        (3, "points_reserve"),
    ]


def test_a_call_that_never_left_does_not_hide_the_answers_of_the_others() -> None:
    held_back = Unknown("BREAKER_OPEN", retry_after_s=4.0)
    results = [
        Result("points_reserve", O.TRY, held_back),
        Result("merchant_credit", O.TRY, YES),
    ]
    draft = record(opened(), BOTH, results, NOW)
    assert [step.status for step in draft.transaction.steps[:2]] == [S.UNTRIED, S.HELD]
    assert [line.phase for line in draft.entries] == ["", "merchant_credit"]


@pytest.mark.parametrize("outcome", [YES, LOST])
def test_an_answer_that_comes_late_does_not_move_the_try_deadline(outcome: Outcome) -> None:
    before = opened()
    late = NOW + timedelta(seconds=3)
    after = record(before, BOTH, [Result("points_reserve", O.TRY, outcome)], late)
    assert after.transaction.try_deadline == before.transaction.try_deadline


# --- advancing -------------------------------------------------------------------------------


def test_several_events_are_several_journal_lines_of_one_draft() -> None:
    held = {"points_reserve": S.HELD, "merchant_credit": S.HELD}
    events = [Event.HOLD, Event.CAPTURE, Event.SETTLE]
    draft = advance(standing(State.CREATED, POINTS, **held), POINTS, events, NOW)
    assert draft.transaction.state is State.SETTLING
    assert [(e.sequence, e.from_state, e.to_state, e.event) for e in draft.entries] == [
        (2, State.CREATED, State.RESERVED, "hold"),
        (3, State.RESERVED, State.CAPTURING, "capture"),
        (4, State.CAPTURING, State.SETTLING, "settle"),
    ]
    assert draft.events == ()


def test_an_event_that_has_no_row_moves_nothing() -> None:
    draft = standing(State.CAPTURING)
    with pytest.raises(IllegalTransition):
        advance(draft, BOTH, [Event.SETTLE, Event.FAIL], NOW)
    assert draft.transaction.state is State.CAPTURING


def test_a_release_cancels_what_was_never_asked_and_forgets_secrets() -> None:
    draft = standing(State.CREATED, points_reserve=S.REFUSED, merchant_credit=S.TRYING)
    failure = Failure("NO_FUNDS", "Not enough.", "points_reserve")
    draft = advance(draft, BOTH, [Event.RELEASE], NOW, failure)
    steps = draft.transaction.steps
    assert [s.status for s in steps] == [S.REFUSED, S.TRYING, S.CANCELLED, S.UNTRIED]
    assert draft.transaction.step("card_charge").source == ""
    assert draft.transaction.step("points_reserve").source == "wallet-1"
    assert draft.transaction.failure == failure
    [line] = draft.entries
    assert (line.code, line.detail, line.phase) == ("NO_FUNDS", "Not enough.", "points_reserve")


def test_a_release_asks_anew_what_may_hold_and_leaves_the_attempts_of_the_rest() -> None:
    draft = standing(State.CREATED, points_reserve=S.TRYING, merchant_credit=S.REFUSED)
    for phase, attempts in (("points_reserve", 3), ("merchant_credit", 2)):
        step = draft.transaction.step(phase)
        draft = with_step(draft, evolve(step, attempts=attempts, next_attempt_at=NOW))
    draft = advance(draft, BOTH, [Event.RELEASE], NOW)
    steps = draft.transaction.steps
    assert [step.attempts for step in steps] == [0, 2, 0, 0]
    assert {step.next_attempt_at for step in steps} == {None}


def test_what_was_decided_to_become_final_stays_decided() -> None:
    shares = {"points_reserve": 100, "card_charge": 50}
    draft = standing(State.RESERVED)
    draft = evolve(draft, transaction=with_finals(draft.transaction, shares))
    for events in ([Event.CAPTURE], [Event.SETTLE], [Event.PAY]):
        draft = advance(draft, BOTH, events, NOW)
        finals = [step.final_minor for step in draft.transaction.steps]
        assert finals == [100, 150, 50, None]


def test_a_transition_does_not_touch_steps_that_stay_as_they_are() -> None:
    before = standing(State.CAPTURING, card_charge=S.CONFIRMED).transaction
    steps = (*before.steps[:2], evolve(before.steps[2], attempts=2), before.steps[3])
    before = evolve(before, steps=steps)
    settled = advance(Draft(before, stored=before.steps), BOTH, [Event.SETTLE], NOW)
    assert settled.change(now=NOW, due_at=NOW, keep_claim=True).moved == ()


def test_a_live_transition_keeps_the_attention() -> None:
    attention = Attention("TOO_OLD", "old")
    before = evolve(standing(State.CAPTURING).transaction, attention=attention)
    later = NOW + timedelta(seconds=9)
    after = advance(Draft(before), BOTH, [Event.SETTLE], later).transaction
    assert (after.attention, after.state_since) == (attention, later)


def test_a_refused_capture_leaves_an_authorization_to_void() -> None:
    draft = standing(State.CAPTURING, card_charge=S.REFUSED)
    draft = advance(draft, BOTH, [Event.RELEASE], NOW, Failure("NO", "No.", "card_charge"))
    assert [s.status for s in draft.transaction.steps] == [S.HELD, S.HELD, S.HELD, S.UNTRIED]


def test_every_live_state_starts_its_attempts_anew() -> None:
    draft = answer(standing(State.CAPTURING), "card_charge", O.CONFIRM, LOST)
    draft = advance(draft, BOTH, [Event.SETTLE], NOW)
    assert all(s.attempts == 0 and s.next_attempt_at is None for s in draft.transaction.steps)


@pytest.mark.parametrize(
    ("state", "event", "target"),
    [
        (State.SETTLING, Event.PAY, State.PAID),
        (State.CANCELLING, Event.FAIL, State.FAILED),
        (State.PAID, Event.REFUND, State.REFUNDED),
    ],
)
def test_reaching_a_settled_state_announces_it_once_and_ends_the_attention(
    state: State, event: Event, target: State
) -> None:
    draft = standing(state)
    failure = Failure("NO", "No.") if target is State.FAILED else None
    flagged = evolve(draft.transaction, attention=Attention("A", "b"), failure=failure)
    draft = advance(evolve(draft, transaction=flagged), BOTH, [event], NOW)
    assert draft.transaction.attention is None
    assert draft.transaction.step("notify").status is S.CONFIRMED
    [announced] = draft.events
    assert (announced.id, announced.state) == (event_id(ID, target), target)
    assert announced.sequence == draft.entries[-1].sequence
    assert announced.failure == failure
    assert (announced.amount, announced.merchant_id, announced.order_id, announced.at) == (
        Money(800, "JPY"),
        "merchant-1",
        "order-1",
        NOW,
    )


def test_a_flow_that_announces_nothing_writes_no_outbox_row() -> None:
    quiet = bind(FlowRow("points_only", (("points_reserve", "merchant_credit"),)), PHASES)
    draft = advance(standing(State.SETTLING, quiet), quiet, [Event.PAY], NOW)
    assert draft.transaction.state is State.PAID
    assert draft.events == ()


def test_a_change_raises_the_version_by_one_and_says_who_goes_on() -> None:
    draft = standing(State.CAPTURING)
    later = NOW + timedelta(seconds=3)
    change = draft.change(now=later, due_at=later, keep_claim=False)
    assert (change.expected_version, change.after.version) == (1, 2)
    assert (change.after.updated_at, change.after.due_at, change.keep_claim) == (
        later,
        later,
        False,
    )


@pytest.mark.parametrize("flow", FLOWS.values(), ids=FLOWS.keys())
def test_the_amount_of_the_takers_is_the_amount_of_the_giver(flow: Any) -> None:
    transaction = opened(flow).transaction
    taken = sum(s.amount.minor for s in transaction.steps if s.amount and s.role is Role.TAKES)
    assert taken == transaction.amount.minor == 400 * len(flow.takers)


def test_putting_a_step_in_changes_only_that_step() -> None:
    draft = opened()
    changed = with_step(draft, evolve(draft.transaction.step("notify"), attempts=3))
    assert [s.attempts for s in changed.transaction.steps] == [0, 0, 0, 3]


def test_before_the_decision_silence_needs_nobody_since_the_deadline_releases() -> None:
    draft = opened(BOTH)
    for _ in range(BOTH.by_name["points_reserve"].retry.attempts + 1):
        draft = answer(draft, "points_reserve", O.TRY, LOST)
    assert draft.transaction.attention is None


def test_a_pending_try_may_take_the_whole_reservation_and_then_the_budget_starts_anew() -> None:
    draft = answer(opened(BOTH), "points_reserve", O.TRY, Pending())
    waiting = draft.transaction
    assert waiting.try_deadline == waiting.reserved_until
    decided = answer(draft, "points_reserve", O.QUERY, YES).transaction
    assert decided.try_deadline == NOW + timedelta(seconds=BOTH.try_budget_s)


def test_a_pending_try_that_is_decided_late_does_not_outlive_the_reservation() -> None:
    draft = answer(opened(BOTH), "points_reserve", O.TRY, Pending())
    late = draft.transaction.reserved_until - timedelta(seconds=1)
    results = [Result("points_reserve", O.QUERY, YES)]
    decided = record(draft, BOTH, results, late).transaction
    assert decided.try_deadline == decided.reserved_until


def test_a_change_names_the_steps_that_moved_since_they_were_stored() -> None:
    before = standing(State.RESERVED).transaction
    draft = advance(Draft(before, stored=before.steps), BOTH, [Event.CAPTURE], NOW)
    result = Result("card_charge", Operation.CONFIRM, Applied())
    draft = record(draft, BOTH, [result], NOW)
    change = draft.change(now=NOW, due_at=NOW, keep_claim=True)
    unmoved = [step for step in change.after.steps if step not in change.moved]
    assert change.after.step("card_charge") in change.moved
    assert unmoved
    assert all(step in before.steps for step in unmoved)


def test_stored_steps_of_another_transaction_are_our_mistake() -> None:
    draft = opened()
    fewer = evolve(draft, stored=draft.transaction.steps[:2])
    with pytest.raises(ValueError, match="shorter"):
        fewer.change(now=NOW, due_at=NOW, keep_claim=True)


def test_a_change_names_every_step_when_what_is_stored_is_not_known() -> None:
    draft = Draft(as_recovered(opened().transaction))
    change = draft.change(now=NOW, due_at=NOW, keep_claim=True)
    assert change.moved == change.after.steps


def test_a_new_payment_may_ask_for_its_own_terms() -> None:
    terms = Terms(manual=True, reservation_s=2.0)
    tenders = [Tender("points_reserve", "wallet-1", Money(400, "JPY"))]
    draft = open_transaction(
        transaction_id=ID,
        caller="shop",
        idempotency_key="key",
        request="{}",
        flow=POINTS,
        amount=Money(400, "JPY"),
        tenders=tenders,
        merchant_id="merchant-1",
        order_id="",
        customer_id="",
        now=NOW,
        terms=terms,
    )
    assert draft.transaction.manual
    assert draft.transaction.reserved_until == NOW + timedelta(seconds=2)
    assert draft.transaction.try_deadline == NOW + timedelta(seconds=2), "never beyond"
    with pytest.raises(
        ValueError, match=r"^flow points_only takes one item for each phase that keeps something$"
    ):
        open_transaction(
            transaction_id=ID,
            caller="shop",
            idempotency_key="key",
            request="{}",
            flow=POINTS,
            amount=Money(400, "JPY"),
            tenders=tenders,
            merchant_id="merchant-1",
            order_id="",
            customer_id="",
            now=NOW,
            terms=Terms(items={"stock_reserve": "article-1"}),
        )


def test_a_refund_names_its_payment_and_has_no_step_for_what_gets_nothing() -> None:
    paid = standing(State.PAID).transaction
    draft = open_refund(
        paid,
        transaction_id=REFUND_ID,
        idempotency_key="refund-1",
        request="{}",
        ordinal=2,
        flow=BOTH.refund,
        shares={"points_reserve": 0, "card_charge": 150},
        now=NOW,
    )
    refund = draft.transaction
    steps = [(s.phase, s.role, s.amount, s.source) for s in refund.steps]
    assert steps == [
        ("merchant_credit", Role.TAKES, Money(150, "JPY"), ""),
        ("card_charge", Role.GIVES, Money(150, "JPY"), ""),
        ("notify", Role.ANNOUNCES, None, ""),
    ]
    assert refund.refund_of == RefundOf(paid.id, 2)
    assert (refund.amount, refund.order_id) == (Money(150, "JPY"), "")
    assert [step.position for step in refund.steps] == sorted({s.position for s in refund.steps})
    theirs = (refund.caller, refund.merchant_id, refund.customer_id, refund.flow)
    assert theirs == (paid.caller, paid.merchant_id, paid.customer_id, paid.flow)
    own = (refund.id, refund.idempotency_key, refund.request, refund.version, refund.sequence)
    assert own == (REFUND_ID, "refund-1", "{}", 0, 1)
    assert {refund.created_at, refund.updated_at, refund.state_since, refund.due_at} == {NOW}
    assert flow_of({BOTH.name: BOTH}, refund) is BOTH.refund
    assert flow_of({BOTH.name: BOTH}, paid) is BOTH


def test_what_was_captured_is_known_from_the_decision_on_and_never_of_what_was_released() -> None:
    shares = {"points_reserve": 100, "card_charge": 0}
    for state, captured in ((State.RESERVED, 0), (State.SETTLING, 100), (State.CANCELLING, 0)):
        decided = with_finals(standing(state).transaction, shares)
        assert decided.captured_minor == captured, state
    card = with_finals(standing(State.SETTLING).transaction, shares).step("card_charge")
    assert (card.final, card.dropped) == (Money.stored(0, "JPY"), True)
    notify = standing(State.SETTLING).transaction.step("notify")
    assert (notify.final, notify.dropped) == (None, False)


def test_what_is_kept_for_the_buyer_does_not_count_as_captured() -> None:
    assert (
        standing(State.SETTLING, FLOWS["stock_points_and_card"]).transaction.captured_minor == 800
    )


def test_a_payment_is_pending_while_a_participant_has_not_decided_on_its_try() -> None:
    assert standing(State.CREATED, card_charge=S.PENDING).transaction.pending
    assert not standing(State.CREATED, card_charge=S.TRYING).transaction.pending
    assert not standing(State.CANCELLING, card_charge=S.PENDING).transaction.pending


def test_an_ordinary_capture_decides_on_all_of_every_step() -> None:
    draft = advance(standing(State.RESERVED), BOTH, [Event.CAPTURE], NOW)
    assert draft.transaction.captured_minor == 800
    finals = [step.final_minor for step in draft.transaction.steps]
    assert finals == [400, 800, 400, None]


@pytest.mark.parametrize(
    ("draft", "rests"),
    [
        (opened(), False),
        (standing(State.CREATED, card_charge=S.PENDING), False),
        (standing(State.RESERVED), False),
        (standing(State.SETTLING), False),
        (standing(State.PAID), True),
    ],
)
def test_a_payment_rests_when_it_waits_for_somebody_outside(draft: Draft, rests: bool) -> None:
    assert draft.transaction.rests == rests


def test_a_manual_payment_rests_when_it_is_reserved() -> None:
    assert evolve(standing(State.RESERVED).transaction, manual=True).rests
    assert not evolve(opened().transaction, manual=True).rests


def test_the_customers_action_is_shown_until_it_is_decided() -> None:
    action = NextAction("redirect", "https://bank.example")
    pending = Result("card_charge", Operation.TRY, Pending("ref", action))
    draft = record(opened(), BOTH, [pending], NOW)
    assert draft.transaction.rests, "its caller has to send the customer there"
    assert draft.transaction.step("card_charge").next_action == action
    again = record(draft, BOTH, [Result("card_charge", Operation.QUERY, Pending())], NOW)
    assert again.transaction.step("card_charge").next_action == action
    for outcome in (Applied(), Refused("NO", "no")):
        done = record(draft, BOTH, [Result("card_charge", Operation.QUERY, outcome)], NOW)
        assert done.transaction.step("card_charge").next_action is None
    released = advance(draft, BOTH, [Event.RELEASE], NOW, Failure("A", "b"))
    assert released.transaction.step("card_charge").next_action is None


def test_a_late_success_is_journaled_and_announced_and_moves_nothing() -> None:
    failed = standing(State.FAILED).transaction
    results = [
        Result("card_charge", Operation.QUERY, Applied()),
        Result("card_charge", Operation.CANCEL, Applied()),
    ]
    draft = attempted(Draft(failed), results, NOW)
    draft = late_success_undone(draft, failed.step("card_charge"), NOW)
    assert evolve(draft.transaction, sequence=failed.sequence) == failed
    lines = [(line.operation, line.sequence, line.to_state) for line in draft.entries]
    first = failed.sequence + 1
    assert lines == [("query", first, State.FAILED), ("cancel", first + 1, State.FAILED)]
    [event] = draft.events
    assert (event.late_phase, event.amount) == ("card_charge", Money(400, "JPY"))
    assert event.id != event_id(failed.id, State.FAILED)
