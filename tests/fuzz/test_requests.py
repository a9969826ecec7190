"""Whatever bytes reach the real server: a refusal has a reason and writes nothing; it serves on.

Every method of every service is tried. The cases of a test are the same every time, but for
`--hypothesis-profile release`, which tries sixty times as many, others each time (`make fuzz`);
what fails is printed with a line that reproduces it.
"""

from __future__ import annotations

import base64
import hmac
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import grpc
import pytest
import sqlalchemy as sa
from google.protobuf.descriptor import MethodDescriptor
from hypothesis import given
from hypothesis import strategies as st
from kessai.admin.v1 import admin_pb2
from kessai.participant.v1 import callbacks_pb2
from kessai.payments.v1 import payments_pb2 as pb

from fault_injection.world import FLOWS
from phases.registry import PHASES
from tests.fuzz.sizes import IS_RELEASE, fuzz
from tests.fuzz.wire import Draw, Right, messages, requests, spoiled
from tests.support.operations import get
from tests.support.service import Service, create_request, problem_of, running

FUZZ = fuzz(300)
"""So many for each method; of 25 methods that is a minute of one core, or an hour."""
DEADLINE_S = 10.0
KEYS = {"card": b"c" * 32, "points": b"p" * 32}
SERVICES = (
    pb.DESCRIPTOR.services_by_name["PaymentService"],
    admin_pb2.DESCRIPTOR.services_by_name["AdminService"],
    callbacks_pb2.DESCRIPTOR.services_by_name["CallbackService"],
)
METHODS = [method for service in SERVICES for method in service.methods]
REPORT = METHODS[-1]

UNSURE = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}
"""With these alone it is not known whether anything was written."""
NEVER = {grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL, grpc.StatusCode.CANCELLED}
"""These tell a caller nothing."""
WRITTEN = """SELECT
  (SELECT count(*) FROM transactions),
  (SELECT count(*) FROM transactions WHERE capture_key IS NOT NULL),
  (SELECT count(*) FROM transactions WHERE failure_code LIKE 'CANCELLED%%'),
  (SELECT count(*) FROM transactions WHERE held_by IS NOT NULL),
  (SELECT count(*) FROM journal WHERE kind = 'operator'),
  (SELECT coalesce(max(since::text), '') || count(*) FROM flow_pauses)"""
"""What only a request can change, whatever the service does meanwhile by itself."""


@dataclass
class Target:
    """The service, a way past it, and what is right: values by field, requests by method."""

    service: Service
    engine: sa.Engine
    right: Right
    good: dict[str, list[bytes]]

    def written(self) -> tuple[Any, ...]:
        """What requests have written."""
        with self.engine.connect() as connection:
            return tuple(connection.exec_driver_sql(WRITTEN).one())

    def call(self, method: MethodDescriptor, data: bytes) -> grpc.StatusCode:
        """Sends these bytes to the method; its status, after the answer was looked at."""
        before = self.written()
        answer = self._answer(method, data)
        if answer is None:
            return grpc.StatusCode.OK
        code = answer.code()
        assert code not in NEVER, f"{code}: {answer.details()}"
        problem = problem_of(answer)
        assert problem.reason, f"{code} without a reason: {answer.details()}"
        if code not in UNSURE:
            assert self.written() == before, f"refused as {problem.reason}, but written"
        return code  # type: ignore[no-any-return]

    def _answer(self, method: MethodDescriptor, data: bytes) -> Any:
        """The error that the call ends with; None when it is answered."""
        name = f"/{method.containing_service.full_name}/{method.name}"
        channel = self._channel(method)
        plain = {"request_serializer": bytes, "response_deserializer": bytes}
        try:
            if method.server_streaming:
                stream = channel.unary_stream(name, **plain)(data, timeout=DEADLINE_S)
                next(iter(stream), None)
                stream.cancel()  # type: ignore[no-untyped-call] # gRPC's own stubs
            else:
                channel.unary_unary(name, **plain)(data, timeout=DEADLINE_S)
        except grpc.RpcError as error:
            return error
        return None

    def _channel(self, method: MethodDescriptor) -> grpc.Channel:
        if method.containing_service is SERVICES[1]:
            self.service.admin()
            return self.service.channels["admin alice-key"]
        self.service.stub()
        return self.service.channels["shop"]

    def serves_on(self, key: str) -> None:
        """It still takes a payment to its end, and nothing inside of it broke."""
        stub = self.service.admin()
        for flow in stub.ListFlows(admin_pb2.ListFlowsRequest(), timeout=DEADLINE_S).flows:
            if flow.HasField("pause"):
                resume = admin_pb2.ResumeFlowRequest(flow=flow.name)
                stub.ResumeFlow(resume, timeout=DEADLINE_S)
        made = self.service.stub().CreatePayment(create_request(key), timeout=DEADLINE_S)
        settled, pause = made.payment, threading.Event()
        while settled.state != pb.PAYMENT_STATE_PAID:
            pause.wait(0.02)  # polls, bounded by the test's time limit
            settled = get(self.service, made.payment.payment_id)
        assert self.service.observer.troubles == []


@pytest.fixture(scope="module")
def target(new_database: Callable[[], str]) -> Iterator[Target]:
    url = new_database()
    changes: dict[str, Any] = {
        "admin_listen": "127.0.0.1:0",
        "operators": {"alice": sha256(b"alice-key").hexdigest()},
        "callback_keys": {name: base64.b64encode(key).decode() for name, key in KEYS.items()},
        "deadline_margin_s": 0.5,
    }
    with running(url, **changes) as service:
        stub, made = service.stub(), {}
        for key, manual in (("paid", False), ("reserved", True)):
            capture = pb.CAPTURE_MODE_MANUAL if manual else pb.CAPTURE_MODE_AUTOMATIC
            new = create_request(f"first-{key}", capture=capture)
            made[key] = stub.CreatePayment(new, timeout=DEADLINE_S).payment.payment_id
        back = pb.CreateRefundRequest(
            idempotency_key="first-refund", payment_id=made["paid"], amount=yen(100)
        )
        refund = stub.CreateRefund(back, timeout=DEADLINE_S).refund.refund_id
        right = right_values([made["paid"], made["reserved"], refund])
        engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
        yield Target(service, engine, right, good_requests(made, back))
        engine.dispose()


def yen(units: int) -> pb.Money:
    return pb.Money(currency_code="JPY", minor_units=units)


def right_values(things: list[str]) -> Right:
    """Values that fields of these names may have."""
    by_names: dict[tuple[str, ...], list[Any]] = {
        ("payment_id", "refund_id", "transaction_id"): list(things),
        ("method", "phase"): list(PHASES),
        ("flow", "flows"): [*FLOWS, "nothing"],
        ("page_size", "limit", "journal_lines"): [0, 1, 2, 500],
        ("reason", "evidence", "detail"): ["because", "ticket 17"],
        ("caller", "participant"): ["shop", "rival", "card", "points"],
    }
    return {name: values for names, values in by_names.items() for name in names} | {
        "idempotency_key": [f"right-{number}" for number in range(50)],
        "currency_code": ["JPY", "JPY", "USD"],
        "minor_units": [1, 100, 400, 1000],
        "if_version": [0, 1],
        "answer": [1, 2],
        "seconds": [1, 60, 900],
    }


def good_requests(made: dict[str, str], back: pb.CreateRefundRequest) -> dict[str, list[bytes]]:
    """Requests that are right, by method: for what the fields' values have to fit each other."""
    create = [create_request(f"good-{number}") for number in range(20)]
    capture = [
        pb.CapturePaymentRequest(payment_id=made["reserved"], idempotency_key=f"good-{number}")
        for number in range(3)
    ]
    refunds = [
        pb.CreateRefundRequest(
            idempotency_key=f"good-refund-{number}", payment_id=made["paid"], amount=yen(number + 1)
        )
        for number in range(20)
    ]
    return {
        "CreatePayment": [each.SerializeToString() for each in create],
        "CapturePayment": [each.SerializeToString() for each in capture],
        "CreateRefund": [each.SerializeToString() for each in (back, *refunds)],
    }


@pytest.mark.timeout(0 if IS_RELEASE else 300)
@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.full_name)
def test_whatever_bytes_arrive_a_refusal_has_a_reason_and_writes_nothing(
    target: Target, method: MethodDescriptor
) -> None:
    sent = requests(method.input_type, target.right, target.good.get(method.name, ()))

    @FUZZ
    @given(data=sent)
    def any_bytes(data: bytes) -> None:
        target.call(method, data)

    any_bytes()
    target.serves_on(f"after {method.name}".replace(" ", "-"))


@st.composite
def reports(draw: Draw, right: Right) -> tuple[str, bytes]:
    """Who reports, and a notice: at its extremes, spoiled or not, mostly signed just now."""
    notice = draw(messages(callbacks_pb2.Notice.DESCRIPTOR, right))
    if draw(st.integers(0, 3)):
        notice.sign_time.GetCurrentTime()
    if draw(st.booleans()):
        notice.answer.transaction_id = draw(st.sampled_from(right["transaction_id"]))
    data = notice.SerializeToString()
    who = draw(st.sampled_from(sorted(KEYS)))
    return who, draw(spoiled(data)) if draw(st.integers(0, 2)) == 0 else data


@pytest.mark.timeout(0 if IS_RELEASE else 300)
def test_whatever_a_participant_signs_a_refusal_has_a_reason_and_writes_nothing(
    target: Target,
) -> None:
    codes = set()

    @FUZZ
    @given(report=reports(target.right))
    def any_notice(report: tuple[str, bytes]) -> None:
        who, notice = report
        signature = hmac.digest(KEYS[who], notice, "sha256")
        request = callbacks_pb2.ReportRequest(participant=who, notice=notice, signature=signature)
        codes.add(target.call(REPORT, request.SerializeToString()))

    any_notice()
    assert grpc.StatusCode.UNAUTHENTICATED not in codes, "its signature is right"
    target.serves_on("after-notices")


@pytest.mark.parametrize("size", [64 * 1024 + 1, 1024 * 1024 - 1024])
@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.full_name)
def test_a_request_that_is_too_large_is_refused_with_a_reason(
    target: Target, method: MethodDescriptor, size: int
) -> None:
    assert target.call(method, b"\x0a" * size) == grpc.StatusCode.INVALID_ARGUMENT
