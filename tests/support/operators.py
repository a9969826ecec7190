"""Transactions and stories as AdminService would answer them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from kessai.admin.v1 import admin_pb2 as pb
from kessai.payments.v1 import payments_pb2

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
TX = "019aa5f0-6c1e-7c1a-9d57-1d1b0f2a6c11"
JPY_1000 = payments_pb2.Money(currency_code="JPY", minor_units=1000)


def step(phase: str = "card_charge", status: str = "HELD", **values: Any) -> pb.Step:
    return pb.Step(
        phase=phase,
        participant=values.pop("participant", "card"),
        status=f"STEP_STATUS_{status}",
        amount=JPY_1000,
        **values,
    )


def transaction(
    state: str = "CAPTURING", transaction_id: str = TX, **values: Any
) -> pb.Transaction:
    """In its state for 12 minutes; due in 7 s unless it is settled."""
    due = None if state in {"PAID", "FAILED", "REFUNDED"} else NOW + timedelta(seconds=7)
    made = {
        "caller": "shop",
        "flow": "points_and_card",
        "merchant_id": "shop-1",
        "amount": JPY_1000,
        "state_time": NOW - timedelta(minutes=12),
        "create_time": NOW - timedelta(minutes=13),
        "due_time": due,
        "version": 17,
        "steps": [step(attempts=7, last_error="UNAVAILABLE")],
    }
    return pb.Transaction(
        transaction_id=transaction_id, state=f"PAYMENT_STATE_{state}", **{**made, **values}
    )


def verdict(action: str, code: str = "", reason: str = "because") -> pb.ActionVerdict:
    return pb.ActionVerdict(
        action=f"OPERATOR_ACTION_{action}", allowed=not code, code=code, reason=reason
    )


def story(of: pb.Transaction | None = None, **values: Any) -> pb.ExplainTransactionResponse:
    """A payment whose card does not answer."""
    made: dict[str, Any] = {
        "waits": [
            pb.Wait(code="RETRY", phase="card_charge", sentence="Card: Confirm did not answer")
        ],
        "actions": [
            verdict("RESUME", reason="asks every unfinished step again at once"),
            verdict("HOLD", reason="asks nothing more"),
            verdict("UNHOLD", "NOT_HELD", "nobody holds it"),
            verdict("CANCEL", "ALREADY_DECIDED", "it is decided"),
            verdict("RESOLVE", reason="says what became of card_charge"),
        ],
        "resolvable": [
            pb.StepAnswers(
                phase="card_charge",
                answers=[pb.STEP_ANSWER_CONFIRMED, pb.STEP_ANSWER_CANCELLED],
                reason="confirmed: it was captured; cancelled: it was not",
            ),
            pb.StepAnswers(phase="merchant_credit", reason="it is held: it is not its turn"),
        ],
        "journal": [
            pb.JournalEntry(
                sequence=3,
                time=NOW - timedelta(minutes=12),
                kind="transition",
                event="capture",
                from_state="PAYMENT_STATE_RESERVED",
                to_state="PAYMENT_STATE_CAPTURING",
            ),
            pb.JournalEntry(
                sequence=4,
                time=NOW - timedelta(minutes=11),
                kind="attempt",
                from_state="PAYMENT_STATE_CAPTURING",
                to_state="PAYMENT_STATE_CAPTURING",
                phase="card_charge",
                operation="confirm",
                attempt=7,
                outcome="unknown",
                code="UNAVAILABLE",
                detail="no connection",
            ),
            pb.JournalEntry(
                sequence=5,
                time=NOW - timedelta(minutes=1),
                kind="operator",
                event="resume",
                from_state="PAYMENT_STATE_CAPTURING",
                to_state="PAYMENT_STATE_CAPTURING",
                actor="alice",
                detail="card is back",
            ),
        ],
        "earlier_lines": 2,
        "now": NOW,
    }
    return pb.ExplainTransactionResponse(transaction=of or transaction(), **{**made, **values})
