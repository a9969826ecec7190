"""Errors, identifiers and the names of outcomes: what others see of them."""

from __future__ import annotations

import re

import pytest

from coordinator.domain import errors, operator_errors
from coordinator.domain.ids import TransactionId, event_id, parse_transaction_id
from coordinator.domain.machine import State
from coordinator.domain.outcome import Applied, Outcome, Pending, Refused, Unknown, outcome_name

ID = "0197f2a0-0000-7000-8000-000000000001"

EXAMPLES: list[tuple[errors.KessaiError, str, dict[str, str]]] = [
    (
        errors.InvalidRequest([errors.Violation("amount", "REQUIRED", "is missing")]),
        "amount: is missing",
        {},
    ),
    (errors.NotFound(ID), f"payment {ID} does not exist", {"payment_id": ID}),
    (
        errors.KeyReused(ID, ["amount", "flow"]),
        "differs in amount, flow",
        {"payment_id": ID, "fields": "amount,flow"},
    ),
    (
        errors.FlowNotServed(ID, "cash"),
        "follows flow cash, which is not served here",
        {"payment_id": ID, "flow": "cash"},
    ),
    (
        errors.AlreadyCaptured(ID, "PAID"),
        "was captured before and is PAID",
        {"payment_id": ID, "state": "PAID"},
    ),
    (
        errors.PaymentReleased(ID, "FAILED", "RESERVATION_EXPIRED", "the time is over"),
        "cannot be captured: RESERVATION_EXPIRED, the time is over",
        {"payment_id": ID, "state": "FAILED", "failure_code": "RESERVATION_EXPIRED"},
    ),
    (
        errors.ReservationExpired(ID, "2026-01-02T03:04:05+00:00"),
        "was reserved until 2026-01-02T03:04:05+00:00",
        {"payment_id": ID, "reserve_until": "2026-01-02T03:04:05+00:00"},
    ),
    (
        errors.RefundExceedsPayment(ID, 40),
        "has 40 minor units left",
        {"payment_id": ID, "refundable_minor": "40"},
    ),
    (
        errors.RefundExceedsTender(ID, "card_charge", 40),
        f"card_charge of payment {ID} has 40 minor units left",
        {"payment_id": ID, "method": "card_charge", "refundable_minor": "40"},
    ),
    (
        errors.NotUndone(ID, "card_charge"),
        "repeat the report",
        {"payment_id": ID, "phase": "card_charge"},
    ),
    (errors.BadSignature(), "the signature is not the HMAC-SHA256", {}),
    (errors.NoticeExpired(300.0), "within 300 s of its arrival", {}),
    (
        errors.OrderHasPayment("o-1", ID, "PAID"),
        "order o-1 already has payment",
        {"order_id": "o-1", "payment_id": ID, "state": "PAID"},
    ),
    (
        errors.WrongState(ID, "PAID", "CancelPayment", ["CREATED", "RESERVED"]),
        "possible only in CREATED or RESERVED",
        {"payment_id": ID, "state": "PAID"},
    ),
    (errors.LostTheRace(ID), "repeat the call", {"payment_id": ID}),
    (errors.Overloaded(100), "more than 100 calls", {"limit": "100"}),
    (errors.Unauthenticated(), "send the caller's API key", {}),
    (errors.Unauthenticated("operator"), "send the operator's API key", {}),
    (
        operator_errors.CredentialExpired("alice", "2026-01-02T03:04:05+00:00"),
        "the key of operator alice expired at 2026-01-02T03:04:05+00:00",
        {"operator": "alice", "expired": "2026-01-02T03:04:05+00:00"},
    ),
    (
        operator_errors.TransactionNotFound(ID),
        f"there is no transaction {ID}",
        {"transaction_id": ID},
    ),
    (
        operator_errors.HeldByOperator(ID, "alice holds it: wait", operator="alice"),
        "alice holds it: wait",
        {"transaction_id": ID, "operator": "alice"},
    ),
    (
        operator_errors.ParticipantSilent(ID, "card_charge", "UNAVAILABLE"),
        "card_charge has to be cancelled at its participant",
        {"transaction_id": ID, "phase": "card_charge"},
    ),
    (
        operator_errors.ChangedMeanwhile(ID, 7, ["alice: hold", "settle"]),
        "is at version 7: alice: hold; settle; explain it again",
        {"transaction_id": ID, "version": "7"},
    ),
    (
        operator_errors.ChangedMeanwhile(ID, 7, []),
        "it was taken up, and nothing else",
        {"transaction_id": ID, "version": "7"},
    ),
    (errors.DeadlineRequired(), "set a deadline", {}),
    (errors.DeadlineTooShort(0.5), "less than 0.5 s away", {}),
    (errors.StoreUnavailable("psql at 10.0.0.1 said no"), "repeat the call", {}),
    (
        errors.IllegalTransition(state="PAID", event="hold"),
        "no transition hold from PAID",
        {"state": "PAID", "event": "hold"},
    ),
]


@pytest.mark.parametrize(("error", "message", "facts"), EXAMPLES)
def test_an_error_says_what_to_do_and_carries_its_facts(
    error: errors.KessaiError, message: str, facts: dict[str, str]
) -> None:
    assert message in str(error)
    assert dict(error.facts) == facts
    assert re.fullmatch(r"[A-Z_]+", error.code)


def test_what_the_database_said_stays_inside() -> None:
    error = errors.StoreUnavailable("psql at 10.0.0.1 said no")
    assert error.detail not in str(error)


def every_error(kind: type[errors.KessaiError]) -> list[type[errors.KessaiError]]:
    return [kind, *(deeper for sub in kind.__subclasses__() for deeper in every_error(sub))]


def test_every_error_has_a_docstring_and_a_code_of_its_own() -> None:
    kinds = every_error(errors.KessaiError)
    assert all(kind.__doc__ for kind in kinds)
    codes = [kind.code for kind in kinds if "code" in vars(kind) and kind.code != "INTERNAL"]
    assert len(codes) == len(set(codes))


@pytest.mark.parametrize("text", [ID, ID.upper(), f"{{{ID}}}", ID.replace("-", "")])
def test_a_transaction_id_is_read_into_its_one_form(text: str) -> None:
    assert parse_transaction_id(text) == ID


@pytest.mark.parametrize("text", ["", "x", ID[:-1], f"{ID}0", "../../etc/passwd"])
def test_what_is_not_a_uuid_is_no_transaction_id(text: str) -> None:
    with pytest.raises(ValueError, match="UUID"):
        parse_transaction_id(text)


def test_an_event_id_belongs_to_one_transaction_and_state() -> None:
    others = {event_id(TransactionId(ID), state) for state in State}
    others |= {event_id(TransactionId(ID.replace("1", "2")), state) for state in State}
    assert len(others) == 2 * len(State)
    # Fixed for ever: consumers remember these.
    assert event_id(TransactionId(ID), "PAID") == event_id(TransactionId(ID), State.PAID)
    assert event_id(TransactionId(ID), "PAID") == "53bc09e8-09bf-510a-87ac-6db5091775fa"


def test_outcomes_are_spelled_as_the_journal_spells_them() -> None:
    outcomes: list[Outcome] = [Applied(), Refused("A", "b"), Pending(), Unknown("C")]
    assert [outcome_name(o) for o in outcomes] == ["applied", "refused", "pending", "unknown"]
