"""What errors say, word for word: whoever changes a message means it, and changes it here too."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from coordinator.domain import errors as e
from coordinator.domain import operator_errors as o

SINCE = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SAID = [
    (
        lambda: e.InvalidRequest(
            [e.Violation("a.b", "C", "must be x"), e.Violation("d", "E", "must be y")]
        ),
        ("a.b: must be x; d: must be y"),
        {},
        None,
    ),
    (
        lambda: e.NotFound("p1"),
        ("payment p1 does not exist; check the ID and the credentials"),
        {"payment_id": "p1"},
        None,
    ),
    (
        lambda: e.KeyReused("p1", ["amount", "flow"]),
        (
            "the idempotency key belongs to payment p1, whose request differs in amount, "
            "flow; send the same body, or a new key for a new payment"
        ),
        {"payment_id": "p1", "fields": "amount,flow"},
        None,
    ),
    (
        lambda: e.OrderHasPayment("order-1", "p1", "PAID"),
        (
            "order order-1 already has payment p1 in state PAID; wait for it, cancel it, or, "
            "while it is CREATED or RESERVED, ask with CANCEL_PREVIOUS"
        ),
        {"order_id": "order-1", "payment_id": "p1", "state": "PAID"},
        None,
    ),
    (
        lambda: e.WrongState("p1", "PAID", "cancel", ["CREATED", "RESERVED"]),
        ("payment p1 is PAID; cancel is possible only in CREATED or RESERVED"),
        {"payment_id": "p1", "state": "PAID"},
        None,
    ),
    (
        lambda: e.FlowNotServed("p1", "card_only"),
        ("payment p1 follows flow card_only, which is not served here"),
        {"payment_id": "p1", "flow": "card_only"},
        None,
    ),
    (
        lambda: e.AlreadyCaptured("p1", "PAID"),
        ("payment p1 was captured before and is PAID; a payment is captured once"),
        {"payment_id": "p1", "state": "PAID"},
        None,
    ),
    (
        lambda: e.PaymentReleased("p1", "FAILED", "DECLINED", "no funds"),
        ("payment p1 is FAILED and cannot be captured: DECLINED, no funds"),
        {"payment_id": "p1", "state": "FAILED", "failure_code": "DECLINED"},
        None,
    ),
    (
        lambda: e.ReservationExpired("p1", "2026-01-01"),
        (
            "payment p1 was reserved until 2026-01-01 and cannot be captured any more; create"
            " a new payment"
        ),
        {"payment_id": "p1", "reserve_until": "2026-01-01"},
        None,
    ),
    (
        lambda: e.RefundExceedsPayment("p1", 5),
        (
            "payment p1 has 5 minor units left that can be refunded (refunds under way count "
            "as given back)"
        ),
        {"payment_id": "p1", "refundable_minor": "5"},
        None,
    ),
    (
        lambda: e.RefundExceedsTender("p1", "card_charge", 5),
        (
            "card_charge of payment p1 has 5 minor units left that can be refunded (refunds "
            "under way count as given back)"
        ),
        {"payment_id": "p1", "method": "card_charge", "refundable_minor": "5"},
        None,
    ),
    (
        lambda: e.NotUndone("p1", "card_charge"),
        (
            "card_charge of p1 may still hold what it should not, and did not answer; repeat "
            "the report"
        ),
        {"payment_id": "p1", "phase": "card_charge"},
        None,
    ),
    (
        e.BadSignature,
        (
            "the participant is unknown, or the signature is not the HMAC-SHA256 of the "
            "notice with its key"
        ),
        {},
        None,
    ),
    (
        lambda: e.NoticeExpired(300.0),
        (
            "the notice must be signed within 300 s of its arrival; sign it anew, and compare"
            " the clocks"
        ),
        {},
        None,
    ),
    (
        lambda: e.LostTheRace("p1"),
        ("p1 kept changing meanwhile; repeat the call"),
        {"payment_id": "p1"},
        None,
    ),
    (
        lambda: e.Overloaded(7),
        ("more than 7 calls are in flight; repeat the call in a moment"),
        {"limit": "7"},
        None,
    ),
    (
        lambda: e.TooManyLive(7),
        (
            "this caller may have 7 live payments, and has as many; repeat the call with the "
            "same key when some of them have ended"
        ),
        {"limit": "7"},
        None,
    ),
    (
        lambda: e.RateLimited(2.5, 0.4),
        (
            "this caller may create 2.5 payments a second; repeat the call with the same key "
            "in 0.4 s"
        ),
        {"limit": "2.5"},
        0.4,
    ),
    (
        lambda: e.FlowPaused("card_only", by="alice", reason="why", since=SINCE, left_s=12.3456),
        (
            "flow card_only takes no new payments since 2026-01-02T03:04:05+00:00, paused by "
            "alice: why; nothing was written, repeat the call with the same key in 12.3 s"
        ),
        {"flow": "card_only", "paused_by": "alice", "since": "2026-01-02T03:04:05+00:00"},
        12.3456,
    ),
    (
        lambda: e.FlowPaused("card_only", by="alice", reason="why", since=SINCE, left_s=None),
        (
            "flow card_only takes no new payments since 2026-01-02T03:04:05+00:00, paused by "
            "alice: why; nothing was written, repeat the call with the same key in 30 s"
        ),
        {"flow": "card_only", "paused_by": "alice", "since": "2026-01-02T03:04:05+00:00"},
        30.0,
    ),
    (
        lambda: e.FlowPaused("card_only", by="alice", reason="why", since=SINCE, left_s=-1.0),
        (
            "flow card_only takes no new payments since 2026-01-02T03:04:05+00:00, paused by "
            "alice: why; nothing was written, repeat the call with the same key in 0.001 s"
        ),
        {"flow": "card_only", "paused_by": "alice", "since": "2026-01-02T03:04:05+00:00"},
        0.001,
    ),
    (
        e.Unauthenticated,
        (
            "send the caller's API key as metadata: authorization: Bearer KEY; the key is "
            "missing or unknown"
        ),
        {},
        None,
    ),
    (
        lambda: e.Unauthenticated("operator"),
        (
            "send the operator's API key as metadata: authorization: Bearer KEY; the key is "
            "missing or unknown"
        ),
        {},
        None,
    ),
    (
        e.DeadlineRequired,
        (
            "set a deadline: the call waits for the payment, and answers shortly before the "
            "deadline with the payment as it then stands"
        ),
        {},
        None,
    ),
    (
        lambda: e.DeadlineTooShort(0.25),
        ("the deadline is less than 0.25 s away; nothing was written"),
        {},
        None,
    ),
    (
        e.StoreUnavailable,
        ("the database cannot be used; repeat the call with the same key"),
        {},
        None,
    ),
    (
        lambda: e.StoreUnavailable("it is away"),
        ("the database cannot be used; repeat the call with the same key"),
        {},
        None,
    ),
    (
        e.ShuttingDown,
        (
            "this process is being stopped; repeat the call with the same key, and another "
            "one answers it"
        ),
        {},
        None,
    ),
    (
        lambda: e.IllegalTransition(state="PAID", event="hold"),
        ("no transition hold from PAID"),
        {"state": "PAID", "event": "hold"},
        None,
    ),
    (
        lambda: o.CredentialExpired("alice", "2026-01-01"),
        (
            "the key of operator alice expired at 2026-01-01; make a new one with `kessai "
            "keygen --operator`, and have it put into KESSAI_OPERATORS"
        ),
        {"operator": "alice", "expired": "2026-01-01"},
        None,
    ),
    (
        lambda: o.TransactionNotFound("p1"),
        ("there is no transaction p1, of any caller; check the ID"),
        {"transaction_id": "p1"},
        None,
    ),
    (
        lambda: o.AlreadySettled("p1", "it has ended", operator="bob"),
        ("it has ended"),
        {"transaction_id": "p1", "operator": "bob"},
        None,
    ),
    (
        lambda: o.ParticipantSilent("p1", "card_charge", "unknown DOWN"),
        (
            "card_charge has to be cancelled at its participant before it can count as not "
            "captured, and that was not done (unknown DOWN); repeat it when the participant "
            "answers"
        ),
        {"transaction_id": "p1", "phase": "card_charge"},
        None,
    ),
    (
        lambda: o.ChangedMeanwhile("p1", 4, ["bob: hold", "alice: cancel"]),
        (
            "transaction p1 changed meanwhile and is at version 4: bob: hold; alice: cancel; "
            "explain it again, then decide again"
        ),
        {"transaction_id": "p1", "version": "4"},
        None,
    ),
    (
        lambda: o.ChangedMeanwhile("p1", 4, []),
        (
            "transaction p1 changed meanwhile and is at version 4: it was taken up, and "
            "nothing else; explain it again, then decide again"
        ),
        {"transaction_id": "p1", "version": "4"},
        None,
    ),
]
"""Error, message, facts, and when repeating it is worth it, in seconds. Made in the test: what is
made when this is imported counts for no test."""


@pytest.mark.parametrize(("make", "message", "facts", "retry_after_s"), SAID)
def test_an_error_says_what_is_wrong_and_what_to_do_about_it(
    make: Callable[[], e.KessaiError],
    message: str,
    facts: dict[str, str],
    retry_after_s: float | None,
) -> None:
    error = make()
    assert str(error) == message
    assert dict(error.facts) == facts
    assert error.retry_after_s == retry_after_s


def test_an_error_keeps_what_it_is_told() -> None:
    violations = [e.Violation("a", "B", "must be c")]
    assert e.InvalidRequest(violations).violations == tuple(violations)
    assert e.KeyReused("p1", ["a", "b"]).fields == ("a", "b")
    assert e.StoreUnavailable("why").detail == "why"
    assert e.StoreUnavailable().detail == ""
    paused = e.FlowPaused("f", by="alice", reason="why", since=SINCE, left_s=None)
    assert (paused.detail, paused.since) == ("why", "2026-01-02T03:04:05+00:00")
    assert o.ChangedMeanwhile("p1", 4, ["a", "b"]).since == ("a", "b")
