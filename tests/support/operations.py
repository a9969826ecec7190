"""What the tests of captures and refunds ask a running service for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from kessai.payments.v1 import payments_pb2 as pb

from coordinator.domain.decide import Call
from coordinator.domain.ids import TransactionId
from coordinator.domain.phase import Operation
from fault_injection.model_participant import Fault, Script
from tests.support.service import Problem, Service, create_request, problem_of, yen

DEADLINE_S = 20.0
POINTS, CARD, MERCHANT = "points_reserve", "card_charge", "merchant_credit"
PARTICIPANT = {POINTS: "points", CARD: "card", MERCHANT: "merchant"}

Faults = dict[tuple[str, Operation], Fault]


def first_attempt(faults: Faults, *, refunds: bool) -> Script:
    """The first attempt of an operation meets the fault of its (phase, operation), if any.

    With `refunds`, refunds alone do.
    """

    def script(_id: TransactionId, call: Call, attempt: int) -> Fault | None:
        if attempt > 1 or (refunds and call.refund_of is None):
            return None
        return faults.get((call.phase.name, call.operation))

    return script


def refused(call: Callable[[], object]) -> Problem:
    """The problem that the call ends with."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return problem_of(caught.value)


def create(
    service: Service, key: str, deadline_s: float = DEADLINE_S, **changes: Any
) -> pb.Payment:
    """A payment of 600 points and 400 yen, as CreatePayment answers it."""
    request = create_request(key, **changes)
    payment: pb.Payment = service.stub().CreatePayment(request, timeout=deadline_s).payment
    return payment


def reserve(service: Service, key: str, **changes: Any) -> pb.Payment:
    """The same, reserved and waiting to be captured."""
    payment = create(service, key, capture=pb.CAPTURE_MODE_MANUAL, **changes)
    assert payment.state == pb.PAYMENT_STATE_RESERVED
    return left_alone(service, payment.payment_id)


def left_alone(service: Service, payment_id: str) -> pb.Payment:
    """The payment once the service has put it aside: with nothing left to be written of it."""
    drives, pause = service.coordinator.driver.drives, threading.Event()
    while service.on_loop(lambda: drives(TransactionId(payment_id))):
        pause.wait(0.005)  # polls, bounded by the test's time limit
    return get(service, payment_id)


def seconds(count: float) -> Duration:
    """So many seconds."""
    return Duration(seconds=int(count), nanos=round(count % 1 * 10**9))


def money(units: int, currency: str = "JPY") -> pb.Money:
    """So much of any currency."""
    return pb.Money(currency_code=currency, minor_units=units)


def exact(**shares: int) -> pb.Split:
    """An exact split in yen."""
    listed = [pb.Share(method=method, amount=yen(units)) for method, units in shares.items()]
    return pb.Split(exact=pb.Split.Exact(shares=listed))


def in_order(*methods: str) -> pb.Split:
    """One after the other."""
    return pb.Split(in_order=pb.Split.InOrder(methods=methods))


def capture(
    service: Service, payment_id: str, key: str = "capture", caller: str = "shop", **fields: Any
) -> pb.CapturePaymentResponse:
    """CapturePayment's answer."""
    request = pb.CapturePaymentRequest(payment_id=payment_id, idempotency_key=key, **fields)
    answer: pb.CapturePaymentResponse = service.stub(caller).CapturePayment(
        request, timeout=DEADLINE_S
    )
    return answer


def cancel(service: Service, payment_id: str) -> pb.Payment:
    """CancelPayment's payment."""
    request = pb.CancelPaymentRequest(payment_id=payment_id)
    payment: pb.Payment = service.stub().CancelPayment(request, timeout=DEADLINE_S).payment
    return payment


def refund(
    service: Service,
    payment_id: str,
    key: str,
    *,
    caller: str = "shop",
    deadline_s: float = DEADLINE_S,
    **fields: Any,
) -> pb.CreateRefundResponse:
    """CreateRefund's answer."""
    request = pb.CreateRefundRequest(payment_id=payment_id, idempotency_key=key, **fields)
    answer: pb.CreateRefundResponse = service.stub(caller).CreateRefund(request, timeout=deadline_s)
    return answer


def get(service: Service, payment_id: str) -> pb.Payment:
    """GetPayment's payment."""
    request = pb.GetPaymentRequest(payment_id=payment_id)
    payment: pb.Payment = service.stub().GetPayment(request, timeout=DEADLINE_S).payment
    return payment


def get_refund(service: Service, refund_id: str) -> pb.Refund:
    """GetRefund's refund."""
    request = pb.GetRefundRequest(refund_id=refund_id)
    found: pb.Refund = service.stub().GetRefund(request, timeout=DEADLINE_S).refund
    return found


def refunds_of(service: Service, payment_id: str) -> list[pb.Refund]:
    """ListRefunds' first page of at most 500."""
    request = pb.ListRefundsRequest(payment_id=payment_id, page_size=500)
    return list(service.stub().ListRefunds(request, timeout=DEADLINE_S).refunds)


def watched(service: Service, payment_id: str) -> list[pb.Payment]:
    """The payment's versions until it is settled."""
    request = pb.WatchPaymentRequest(payment_id=payment_id)
    return [item.payment for item in service.stub().WatchPayment(request, timeout=DEADLINE_S)]


def shares_of(refund: pb.Refund) -> dict[str, int]:
    """How much goes to which tender, in minor units."""
    return {share.method: share.amount.minor_units for share in refund.shares}


def finals_of(payment: pb.Payment) -> dict[str, int]:
    """How much of each phase is final, in minor units."""
    return {
        step.phase: step.final_amount.minor_units
        for step in payment.steps
        if step.phase != "notify"
    }


def confirmed_of(service: Service, transaction_id: str) -> dict[str, int]:
    """How much of a transaction is final at the participants, by phase, in minor units."""
    return {
        phase: confirmed
        for model in service.participants.values()
        for (known, phase), confirmed in model.confirmed.items()
        if known == transaction_id
    }
