"""The calls as data, and the course of a watch: what both clients share.

A `Call` says which method is asked what; the clients differ in how they send it and how they wait.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from kessai.client import machine
from kessai.client.errors import KessaiError, NotSettledYet, Problem, Unavailable
from kessai.client.retry import Attempts, RetryPolicy
from kessai.client.states import is_settled
from kessai.payments.v1 import payments_pb2 as pb

DEFAULT_TIMEOUT_S = 10.0
STREAM_S = 60.0
"""A watch is asked for anew after so long, in seconds, so that a peer that has silently gone, from
which nothing would ever come, is noticed."""
CHANNEL_OPTIONS = (
    # gRPC's own pause between connection attempts grows to two minutes; a retry would meet it.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2_000),
)


@dataclass(frozen=True, slots=True)
class Call:
    """One call: the stub's method, the request, and its idempotency key if it has one."""

    method: str
    request: Any
    key: str = ""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a client was made with. Raises ValueError for what makes no sense."""

    api_key: str
    timeout_s: float
    retry: RetryPolicy

    def __post_init__(self) -> None:
        if not self.api_key.isascii() or not all(c.isprintable() for c in self.api_key):
            raise ValueError("api_key must be printable ASCII")
        if not self.timeout_s > 0:
            raise ValueError("timeout_s must be above 0")

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What every call carries."""
        return (("authorization", f"Bearer {self.api_key}"),) if self.api_key else ()

    def attempts(self, timeout_s: float | None) -> Attempts:
        """The attempts of a call that starts now."""
        chosen = self.timeout_s if timeout_s is None else timeout_s
        return Attempts(self.retry, machine.now_s() + chosen)


class Watching:
    """One watch over as many streams as it takes: what is new, when it is over, what to do next."""

    def __init__(self, retry: RetryPolicy, timeout_s: float | None) -> None:
        deadline_s = None if timeout_s is None else machine.now_s() + timeout_s
        self._attempts = Attempts(retry, deadline_s)
        self._version = 0
        self.over = False

    def stream_s(self) -> float:
        """How long the next stream may last, in seconds."""
        left_s = self._attempts.left_s(machine.now_s())
        return STREAM_S if left_s is None else min(STREAM_S, left_s)

    def is_news(self, thing: Any) -> bool:
        """Whether it is newer than all before; each stream begins with how it stands."""
        self._attempts.succeeded()
        self.over = is_settled(thing)
        if thing.version <= self._version:
            return False
        self._version = thing.version
        return True

    def wait_s(self, error: KessaiError) -> float | None:
        """How long to wait before the next stream, in seconds; None: the error is for the caller.

        A stream that merely reached its own time limit is followed by the next at once.
        """
        now_s = machine.now_s()
        if error.code == grpc.StatusCode.DEADLINE_EXCEEDED.name:
            left_s = self._attempts.left_s(now_s)
            return 0.0 if left_s is None or left_s > 0 else None
        return self._attempts.wait_s(error, now_s, machine.chance())


def ended_early() -> Unavailable:
    """The error of a watch that its server ended too early: the next one follows."""
    message = "the server ended the watch before there was an end to tell"
    return Unavailable(Problem(grpc.StatusCode.UNAVAILABLE, "UNAVAILABLE", message))


def not_settled_yet(name: str, timeout_s: float, last: Any) -> NotSettledYet:
    """The error of a wait whose time is over."""
    status = grpc.StatusCode.DEADLINE_EXCEEDED
    message = f"{name} was not settled within {timeout_s:g} s; it goes on by itself"
    return NotSettledYet(Problem(status, "NOT_SETTLED_YET", message), last)


def create_payment(
    *,
    flow: str,
    amount: pb.Money,
    tenders: Iterable[pb.Tender],
    merchant_id: str,
    order_id: str,
    order_conflict: pb.OrderConflict,
    customer_id: str,
    capture: pb.CaptureMode,
    reserve_for: timedelta | None,
    items: Iterable[pb.Item],
    idempotency_key: str | None,
) -> Call:
    """CreatePayment, with a fresh key unless one is given."""
    key = _key(idempotency_key)
    request = pb.CreatePaymentRequest(
        idempotency_key=key,
        flow=flow,
        amount=amount,
        tenders=tenders,
        merchant_id=merchant_id,
        order_id=order_id,
        order_conflict=order_conflict,
        customer_id=customer_id,
        capture=capture,
        reserve_for=_duration(reserve_for),
        items=items,
    )
    return Call("CreatePayment", request, key)


def get_payment(payment_id: str) -> Call:
    """GetPayment."""
    return Call("GetPayment", pb.GetPaymentRequest(payment_id=payment_id))


def list_payments(
    *,
    states: Iterable[pb.PaymentState],
    order_id: str,
    customer_id: str,
    merchant_id: str,
    created_from: datetime | None,
    created_to: datetime | None,
    page_size: int,
) -> Call:
    """ListPayments, the first page."""
    request = pb.ListPaymentsRequest(
        states=states,
        order_id=order_id,
        customer_id=customer_id,
        merchant_id=merchant_id,
        create_time_from=_timestamp(created_from),
        create_time_to=_timestamp(created_to),
        page_size=page_size,
    )
    return Call("ListPayments", request)


def watch_payment(payment_id: str) -> Call:
    """WatchPayment."""
    return Call("WatchPayment", pb.WatchPaymentRequest(payment_id=payment_id))


def capture_payment(
    payment_id: str, amount: pb.Money | None, split: pb.Split | None, idempotency_key: str | None
) -> Call:
    """CapturePayment, with a fresh key unless one is given."""
    key = _key(idempotency_key)
    request = pb.CapturePaymentRequest(
        payment_id=payment_id, idempotency_key=key, amount=amount, split=split
    )
    return Call("CapturePayment", request, key)


def cancel_payment(payment_id: str, reason: str) -> Call:
    """CancelPayment."""
    request = pb.CancelPaymentRequest(payment_id=payment_id, reason=reason)
    return Call("CancelPayment", request)


def create_refund(
    payment_id: str, amount: pb.Money | None, split: pb.Split | None, idempotency_key: str | None
) -> Call:
    """CreateRefund, with a fresh key unless one is given."""
    key = _key(idempotency_key)
    request = pb.CreateRefundRequest(
        payment_id=payment_id, idempotency_key=key, amount=amount, split=split
    )
    return Call("CreateRefund", request, key)


def get_refund(refund_id: str) -> Call:
    """GetRefund."""
    return Call("GetRefund", pb.GetRefundRequest(refund_id=refund_id))


def list_refunds(payment_id: str, page_size: int) -> Call:
    """ListRefunds, the first page."""
    request = pb.ListRefundsRequest(payment_id=payment_id, page_size=page_size)
    return Call("ListRefunds", request)


def watch_refund(refund_id: str) -> Call:
    """WatchRefund."""
    return Call("WatchRefund", pb.WatchRefundRequest(refund_id=refund_id))


def list_journal(transaction_id: str, page_size: int) -> Call:
    """ListJournal, the first page."""
    request = pb.ListJournalRequest(payment_id=transaction_id, page_size=page_size)
    return Call("ListJournal", request)


def _key(given: str | None) -> str:
    return machine.new_key() if given is None else given


def _duration(given: timedelta | None) -> Duration | None:
    if given is None:
        return None
    made = Duration()
    made.FromTimedelta(given)
    return made


def _timestamp(given: datetime | None) -> Timestamp | None:
    """Raises ValueError for a time without a zone: it would mean something else elsewhere."""
    if given is None:
        return None
    if given.tzinfo is None:
        raise ValueError("give times with their zone, such as datetime(2026, 1, 1, tzinfo=UTC)")
    made = Timestamp()
    made.FromDatetime(given)
    return made
