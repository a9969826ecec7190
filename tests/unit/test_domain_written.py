"""What is written down, field by field: new rows, journal lines and announcements.

Other programs read these for years; a field that is left out or comes from elsewhere is a bug
whatever else works.
"""

from __future__ import annotations

from datetime import timedelta

import pytest

from coordinator.domain.entries import Act
from coordinator.domain.ids import event_id
from coordinator.domain.machine import Event, State
from coordinator.domain.money import Money
from coordinator.domain.moves import advance, attempted, late_success_undone, record
from coordinator.domain.opening import Terms, open_refund, open_transaction
from coordinator.domain.operating import Mandate, held, noted, resumed, unheld
from coordinator.domain.outcome import Applied, NextAction, Outcome, Pending, Refused, Unknown
from coordinator.domain.permitted import StepAnswer
from coordinator.domain.phase import Operation, Role
from coordinator.domain.record import evolve
from coordinator.domain.resolving import resolved
from coordinator.domain.transaction import (
    Attention,
    Draft,
    EntryKind,
    Failure,
    JournalEntry,
    OutboxEvent,
    RefundOf,
    Result,
    Step,
    StepStatus,
    Tender,
    Transaction,
)
from tests.support.domain import BOTH, FLOWS, ID, NOW, opened, standing
from tests.support.operated import CARD, MERCHANT, WALLET, moved

S = StepStatus
LATER = NOW + timedelta(seconds=7)
STOCK = FLOWS["stock_points_and_card"]
ALICE = Mandate("alice", "the bank asked us to wait", "ticket 7")
OLD_LINE = JournalEntry(ID, 1, NOW, EntryKind.TRANSITION, None, State.CREATED, event="create")


def announcement(state: State, at_sequence: int) -> OutboxEvent:
    return OutboxEvent(
        id=event_id(ID, state),
        transaction_id=ID,
        sequence=at_sequence,
        state=state,
        at=LATER,
        caller="shop",
        flow="points_and_card",
        amount=Money(800, "JPY"),
        merchant_id="merchant-1",
        order_id="order-1",
        customer_id="customer-1",
        failure=None,
    )


def begun(state: State, **changes: object) -> Draft:
    """A draft that has a line, an announcement and stored steps already."""
    before: Transaction = evolve(standing(state).transaction, sequence=4, **changes)
    old = announcement(State.CREATED, 1)
    return Draft(before, entries=(OLD_LINE,), events=(old,), stored=before.steps)


def keeps_what_it_had(before: Draft, after: Draft) -> None:
    assert after.entries[: len(before.entries)] == before.entries
    assert after.events[: len(before.events)] == before.events
    assert after.stored is before.stored


# --- new rows --------------------------------------------------------------------------------


def test_a_new_payment_is_written_whole() -> None:
    draft = open_transaction(
        transaction_id=ID,
        caller="shop",
        idempotency_key="key-1",
        request="{}",
        flow=STOCK,
        amount=Money(700, "JPY"),
        tenders=[
            Tender(WALLET, "wallet-1", Money(300, "JPY")),
            Tender(CARD, "tok", Money(400, "JPY")),
        ],
        merchant_id="merchant-1",
        order_id="order-1",
        customer_id="customer-1",
        now=NOW,
        terms=Terms(items={"stock_reserve": "article-1"}),
    )
    whole = Money(700, "JPY")
    assert draft.transaction.steps == (
        Step("stock_reserve", Role.KEEPS, 0, S.UNTRIED, whole, "article-1"),
        Step(WALLET, Role.TAKES, 1, S.UNTRIED, Money(300, "JPY"), "wallet-1"),
        Step(MERCHANT, Role.GIVES, 2, S.UNTRIED, whole, "merchant-1"),
        Step(CARD, Role.TAKES, 3, S.UNTRIED, Money(400, "JPY"), "tok", secret=True),
        Step("notify", Role.ANNOUNCES, 4, S.UNTRIED, None),
    )
    assert draft.transaction == Transaction(
        id=ID,
        caller="shop",
        idempotency_key="key-1",
        request="{}",
        flow="stock_points_and_card",
        amount=whole,
        merchant_id="merchant-1",
        order_id="order-1",
        customer_id="customer-1",
        state=State.CREATED,
        version=0,
        sequence=1,
        steps=draft.transaction.steps,
        failure=None,
        attention=None,
        created_at=NOW,
        updated_at=NOW,
        state_since=NOW,
        try_deadline=NOW + timedelta(seconds=STOCK.try_budget_s),
        reserved_until=NOW + timedelta(seconds=STOCK.reservation_s),
        due_at=NOW,
    )
    assert draft.entries == (OLD_LINE,)
    assert draft.events == ()


def test_a_new_refund_is_written_whole() -> None:
    paid = standing(State.PAID).transaction
    flow = BOTH.refund
    draft = open_refund(
        paid,
        transaction_id=ID,
        idempotency_key="refund-1",
        request="{}",
        ordinal=2,
        flow=flow,
        shares={WALLET: 50, CARD: 150},
        now=LATER,
    )
    whole = Money(200, "JPY")
    assert draft.transaction == Transaction(
        id=ID,
        caller="shop",
        idempotency_key="refund-1",
        request="{}",
        flow="points_and_card",
        amount=whole,
        merchant_id="merchant-1",
        order_id="",
        customer_id="customer-1",
        state=State.CREATED,
        version=0,
        sequence=1,
        steps=(
            Step(MERCHANT, Role.TAKES, 0, S.UNTRIED, whole),
            Step(WALLET, Role.GIVES, 1, S.UNTRIED, Money(50, "JPY")),
            Step(CARD, Role.GIVES, 2, S.UNTRIED, Money(150, "JPY")),
            Step("notify", Role.ANNOUNCES, 3, S.UNTRIED, None),
        ),
        failure=None,
        attention=None,
        created_at=LATER,
        updated_at=LATER,
        state_since=LATER,
        try_deadline=LATER + timedelta(seconds=flow.try_budget_s),
        reserved_until=LATER + timedelta(seconds=flow.reservation_s),
        due_at=LATER,
        refund_of=RefundOf(ID, 2),
    )
    assert draft.entries == (evolve(OLD_LINE, at=LATER),)


# --- attempts --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "spelled"),
    [
        (Applied("ref-1"), ("applied", "", "")),
        (Pending("ref-1"), ("pending", "", "")),
        (
            Refused("CLOSED", "The account is closed."),
            ("refused", "CLOSED", "The account is closed."),
        ),
        (Unknown("UNAVAILABLE", "gone"), ("unknown", "UNAVAILABLE", "gone")),
    ],
)
def test_an_attempt_is_journaled_with_its_number_and_answer(
    outcome: Outcome, spelled: tuple[str, str, str]
) -> None:
    draft = begun(State.SETTLING)
    draft = evolve(draft, transaction=moved(draft.transaction, MERCHANT, attempts=2))
    after = record(draft, BOTH, [Result(MERCHANT, Operation.CONFIRM, outcome)], LATER)
    name, code, detail = spelled
    keeps_what_it_had(draft, after)
    assert after.entries[1:] == (
        JournalEntry(
            ID,
            5,
            LATER,
            EntryKind.ATTEMPT,
            State.SETTLING,
            State.SETTLING,
            phase=MERCHANT,
            operation="confirm",
            attempt=3,
            outcome=name,
            code=code,
            detail=detail,
        ),
    )
    assert after.transaction.sequence == 5


def test_calls_that_move_no_step_are_journaled_each_as_a_first_attempt() -> None:
    draft = begun(State.FAILED)
    results = [
        Result(CARD, Operation.QUERY, Applied("ref-1")),
        Result(CARD, Operation.CANCEL, Unknown("UNAVAILABLE", "gone")),
    ]
    after = attempted(draft, results, LATER)
    line = JournalEntry(
        ID,
        5,
        LATER,
        EntryKind.ATTEMPT,
        State.FAILED,
        State.FAILED,
        phase=CARD,
        operation="query",
        attempt=1,
        outcome="applied",
    )
    second = evolve(
        line,
        sequence=6,
        operation="cancel",
        outcome="unknown",
        code="UNAVAILABLE",
        detail="gone",
    )
    assert after == evolve(
        draft,
        transaction=evolve(draft.transaction, sequence=6),
        entries=(OLD_LINE, line, second),
    )
    keeps_what_it_had(draft, after)


ASKED = NextAction("redirect", "https://card.example")
OTHER = NextAction("redirect", "https://card.example/again")
SECONDS_2, SECONDS_8 = LATER + timedelta(seconds=2), LATER + timedelta(seconds=8)
ANSWERED: list[tuple[Outcome, dict[str, object]]] = [
    (
        Applied("new"),
        {
            "status": S.HELD,
            "attempts": 3,
            "next_attempt_at": None,
            "last_error": "",
            "reference": "new",
            "next_action": None,
        },
    ),
    (
        Pending("new", OTHER),
        {
            "attempts": 3,
            "next_attempt_at": SECONDS_8,
            "last_error": "",
            "reference": "new",
            "next_action": OTHER,
        },
    ),
    (Pending(), {"attempts": 3, "next_attempt_at": SECONDS_8, "last_error": ""}),
    (
        Refused("CLOSED", "The account is closed."),
        {
            "status": S.REFUSED,
            "attempts": 3,
            "next_attempt_at": None,
            "last_error": "CLOSED",
            "refusal_code": "CLOSED",
            "refusal_reason": "The account is closed.",
            "next_action": None,
        },
    ),
    (
        Unknown("DEADLINE_EXCEEDED", "gone"),
        {
            "attempts": 3,
            "next_attempt_at": LATER + timedelta(seconds=0.4),
            "last_error": "DEADLINE_EXCEEDED",
        },
    ),
    (
        Unknown("BREAKER_OPEN", "down", retry_after_s=2.0),
        {"next_attempt_at": SECONDS_2, "last_error": "BREAKER_OPEN"},
    ),
]


@pytest.mark.parametrize(("outcome", "changes"), ANSWERED)
def test_an_answer_changes_these_fields_of_its_step_and_no_others(
    outcome: Outcome, changes: dict[str, object]
) -> None:
    transaction = moved(
        begun(State.CREATED).transaction,
        CARD,
        status=S.PENDING,
        source="",  # its Try was answered
        attempts=2,
        next_attempt_at=NOW,
        last_error="UNAVAILABLE",
        reference="old",
        next_action=ASKED,
    )
    before = transaction.step(CARD)
    after = record(Draft(transaction), BOTH, [Result(CARD, Operation.QUERY, outcome)], LATER)
    assert after.transaction.step(CARD) == evolve(before, **changes)


@pytest.mark.parametrize(
    ("outcome", "attention"),
    [
        (
            Refused("CLOSED", "The account is closed."),
            Attention(
                "REFUSED_AFTER_DECISION",
                "Merchant refused while SETTLING: CLOSED The account is closed.",
            ),
        ),
        (
            Unknown("UNAVAILABLE", "gone"),
            Attention(
                "TOO_MANY_ATTEMPTS",
                "Merchant did not answer 10 times while SETTLING: UNAVAILABLE",
            ),
        ),
    ],
)
def test_a_person_is_told_who_answered_what_and_when(
    outcome: Outcome, attention: Attention
) -> None:
    transaction = moved(standing(State.SETTLING).transaction, MERCHANT, attempts=9)
    after = record(Draft(transaction), BOTH, [Result(MERCHANT, Operation.CONFIRM, outcome)], NOW)
    assert after.transaction.attention == attention


# --- announcements ---------------------------------------------------------------------------


def test_a_late_success_is_announced_whole_with_its_steps_amount() -> None:
    failure = Failure("NO", "No.", WALLET)
    draft = begun(State.FAILED, failure=failure)
    after = late_success_undone(draft, draft.transaction.step(CARD), LATER)
    keeps_what_it_had(draft, after)
    assert after == evolve(draft, events=after.events)
    assert after.events[1:] == (
        evolve(
            announcement(State.FAILED, 4),
            id=event_id(ID, "FAILED/card_charge/4"),
            amount=Money(400, "JPY"),
            failure=failure,
            late_phase=CARD,
        ),
    )


def test_only_a_step_that_calls_somebody_can_be_late() -> None:
    draft = begun(State.FAILED)
    with pytest.raises(AssertionError, match=r"^only a step that calls a participant can be late$"):
        late_success_undone(draft, draft.transaction.step("notify"), LATER)


def test_that_a_person_is_needed_is_announced_whole_beside_the_attempt() -> None:
    draft = begun(State.SETTLING)
    odd = Unknown("ANSWER_MISMATCH", "amount", suspicious=True)
    after = record(draft, BOTH, [Result(MERCHANT, Operation.CONFIRM, odd)], LATER)
    attention = Attention("ANSWER_MISMATCH", "Merchant: amount")
    assert after.transaction.attention == attention
    keeps_what_it_had(draft, after)
    assert after.events[1:] == (
        evolve(
            announcement(State.SETTLING, 5),
            id=event_id(ID, "SETTLING/attention/5"),
            captured_minor=800,
            attention=attention,
        ),
    )


def test_a_payment_that_reached_its_end_is_announced_whole() -> None:
    draft = begun(State.SETTLING, refunded_minor=0, attention=Attention("TOO_OLD", "old"))
    after = advance(draft, BOTH, [Event.PAY], LATER)
    keeps_what_it_had(draft, after)
    assert after.events[1:] == (evolve(announcement(State.PAID, 5), captured_minor=800),)
    assert after.entries[1:] == (
        JournalEntry(ID, 5, LATER, EntryKind.TRANSITION, State.SETTLING, State.PAID, event="pay"),
    )
    assert (after.transaction.state_since, after.transaction.attention) == (LATER, None)


def test_a_refunded_payment_is_announced_with_what_was_given_back() -> None:
    draft = begun(State.PAID, refunded_minor=800)
    [*_, event] = advance(draft, BOTH, [Event.REFUND], LATER).events
    assert event == evolve(announcement(State.REFUNDED, 5), captured_minor=800, refunded_minor=800)


def test_a_refund_that_ended_is_announced_with_the_payment_it_gives_back() -> None:
    draft = begun(State.SETTLING, refund_of=RefundOf(ID, 2))
    [*_, event] = advance(draft, BOTH, [Event.PAY], LATER).events
    assert event.refund_of == RefundOf(ID, 2)


def test_a_release_is_journaled_with_its_cause_and_announced_only_when_it_is_done() -> None:
    failure = Failure("NO_FUNDS", "Not enough.", WALLET)
    draft = begun(State.CREATED)
    after = advance(draft, BOTH, [Event.RELEASE], LATER, failure)
    keeps_what_it_had(draft, after)
    assert after.events == draft.events
    assert after.entries[1:] == (
        JournalEntry(
            ID,
            5,
            LATER,
            EntryKind.TRANSITION,
            State.CREATED,
            State.CANCELLING,
            event="release",
            phase=WALLET,
            code="NO_FUNDS",
            detail="Not enough.",
        ),
    )
    failed = advance(after, BOTH, [Event.FAIL], LATER)
    assert failed.transaction.failure == failure
    assert failed.entries[-1] == JournalEntry(
        ID, 6, LATER, EntryKind.TRANSITION, State.CANCELLING, State.FAILED, event="fail"
    )
    assert failed.events[1:] == (evolve(announcement(State.FAILED, 6), failure=failure),)


# --- operators -------------------------------------------------------------------------------


def operator_line(act: str, phase: str = "", code: str = "") -> JournalEntry:
    return JournalEntry(
        ID,
        5,
        LATER,
        EntryKind.OPERATOR,
        State.CAPTURING,
        State.CAPTURING,
        event=act,
        phase=phase,
        code=code,
        detail="the bank asked us to wait",
        actor="alice",
        evidence="ticket 7",
    )


def test_an_act_is_journaled_whole() -> None:
    draft = begun(State.CAPTURING)
    after = noted(draft, Act.CANCEL, ALICE, LATER, CARD, code="CANCELLED")
    assert after == evolve(
        draft,
        transaction=evolve(draft.transaction, sequence=5),
        entries=(OLD_LINE, operator_line("cancel", CARD, "CANCELLED")),
    )
    keeps_what_it_had(draft, after)


def test_holding_resuming_and_letting_go_are_journaled_without_a_phase() -> None:
    draft = begun(State.CAPTURING)
    for act, make in (("hold", held), ("resume", resumed), ("unhold", unheld)):
        after = make(draft, ALICE, LATER)
        keeps_what_it_had(draft, after)
        assert after.entries[1:] == (operator_line(act),)


@pytest.mark.parametrize(
    ("answer", "changes"),
    [
        (StepAnswer.CONFIRMED, {"status": S.CONFIRMED}),
        (
            StepAnswer.CANCELLED,
            {
                "status": S.REFUSED,
                "refusal_code": "CANCELLED_BY_OPERATOR",
                "refusal_reason": "the bank asked us to wait",
            },
        ),
    ],
)
def test_an_answer_that_counts_is_journaled_and_ends_what_its_step_waited_for(
    answer: StepAnswer, changes: dict[str, object]
) -> None:
    draft = begun(State.CAPTURING)
    before = draft.transaction.step(CARD)
    waits = evolve(
        before,
        attempts=3,
        last_error="UNAVAILABLE",
        next_attempt_at=LATER,
        next_action=NextAction("redirect", "https://card.example"),
    )
    draft = evolve(draft, transaction=moved(draft.transaction, CARD, attempts=3))
    after = resolved(draft, waits, answer, ALICE, LATER)
    keeps_what_it_had(draft, after)
    assert after.entries[1:] == (operator_line("resolve", CARD, answer.name),)
    assert after.transaction.step(CARD) == evolve(before, attempts=3, **changes)


def test_what_is_finished_keeps_the_time_of_its_next_attempt_when_all_others_go_at_once() -> None:
    draft = begun(State.SETTLING)
    finished = {WALLET: S.CONFIRMED, MERCHANT: S.CANCELLED, CARD: S.REFUSED, "notify": S.UNTRIED}
    transaction = draft.transaction
    for phase, status in finished.items():
        transaction = moved(transaction, phase, status=status, next_attempt_at=LATER)
    for make in (resumed, unheld):
        steps = make(evolve(draft, transaction=transaction), ALICE, NOW).transaction.steps
        assert [step.next_attempt_at for step in steps] == [LATER, LATER, LATER, None]


def test_only_what_is_live_is_held_and_it_says_so() -> None:
    with pytest.raises(AssertionError, match=r"^only what is live can be held$"):
        held(standing(State.PAID), ALICE, NOW)


# --- commits ---------------------------------------------------------------------------------


def test_a_commit_carries_everything_of_its_draft() -> None:
    draft = begun(State.CAPTURING)
    change = draft.change(now=LATER, due_at=NOW, keep_claim=True)
    assert change.after == evolve(draft.transaction, version=2, updated_at=LATER, due_at=NOW)
    assert (change.entries, change.events) == (draft.entries, draft.events)
    assert (change.moved, change.expected_version, change.keep_claim) == ((), 1, True)
    assert opened().change(now=NOW, due_at=None, keep_claim=False).keep_claim is False
