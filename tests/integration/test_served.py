"""Every call of a caller is told to the observer, with how it was answered."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import grpc
import pytest
from kessai.payments.v1 import payments_pb2 as pb

from coordinator.domain.decide import Call
from coordinator.domain.ids import TransactionId
from coordinator.domain.phase import Operation
from fault_injection.model_participant import Defer, Fault
from tests.support.service import Service, create_request, running

DEADLINE_S = 20.0
LIMIT_S = 10.0
NO_ID = "0197f2a0-0000-7000-8000-00000000dead"


@pytest.fixture(scope="module")
def service(new_database: Callable[[], str]) -> Iterator[Service]:
    with running(new_database(), max_in_flight=50) as started:
        yield started


def told_of(service: Service, call: Callable[[], object]) -> list[tuple[str, str]]:
    """What the observer hears while `call` is made, whether it fails or not."""
    before = len(service.observer.answers)
    with suppress(grpc.RpcError):
        call()
    service.on_loop(lambda: None)  # the call's own end comes first
    return service.observer.answers[before:]


def test_an_answer_is_told_by_its_method(service: Service) -> None:
    told = told_of(
        service, lambda: service.stub().CreatePayment(create_request("served"), timeout=DEADLINE_S)
    )
    assert told == [("CreatePayment", "OK")]


@pytest.mark.parametrize(
    ("caller", "call", "answer"),
    [
        (
            "nobody",
            lambda stub: stub.GetPayment(pb.GetPaymentRequest(payment_id=NO_ID), timeout=5),
            ("GetPayment", "UNAUTHENTICATED"),
        ),
        (
            "shop",
            lambda stub: stub.GetPayment(pb.GetPaymentRequest(payment_id=NO_ID), timeout=5),
            ("GetPayment", "NOT_FOUND"),
        ),
        (
            "shop",
            lambda stub: stub.CreatePayment(pb.CreatePaymentRequest(), timeout=5),
            ("CreatePayment", "INVALID_ARGUMENT"),
        ),
        (
            "shop",
            lambda stub: list(
                stub.WatchPayment(pb.WatchPaymentRequest(payment_id=NO_ID), timeout=5)
            ),
            ("WatchPayment", "NOT_FOUND"),
        ),
    ],
)
def test_a_refusal_is_told_with_its_status(
    service: Service, caller: str, call: Callable[[Any], object], answer: tuple[str, str]
) -> None:
    assert told_of(service, lambda: call(service.stub(caller))) == [answer]


def test_a_stream_that_ends_is_told_as_a_success(service: Service) -> None:
    request = create_request("streamed")
    payment = service.stub().CreatePayment(request, timeout=DEADLINE_S).payment
    watch = pb.WatchPaymentRequest(payment_id=payment.payment_id)
    told = told_of(service, lambda: list(service.stub().WatchPayment(watch, timeout=DEADLINE_S)))
    assert told == [("WatchPayment", "OK")]


def test_a_caller_that_leaves_is_told_as_cancelled(new_database: Callable[[], str]) -> None:
    asked, seen = threading.Event(), threading.Event()

    def pending_card(_transaction_id: TransactionId, call: Call, _nth: int) -> Fault | None:
        if call.phase.participant != "card" or call.operation is Operation.CANCEL:
            return None
        asked.set()
        return Defer(60.0)

    with running(new_database(), pending_card, max_in_flight=1) as service:
        hear = service.observer.served

        def served(method: str, code: str) -> None:
            hear(method, code)
            seen.set()

        service.observer.served = served  # type: ignore[method-assign] # to wait for it
        stub = service.stub()
        waiting = stub.CreatePayment.future(create_request("leaves"), timeout=DEADLINE_S)
        assert asked.wait(LIMIT_S)
        refused = told_of(
            service,
            lambda: stub.GetPayment(pb.GetPaymentRequest(payment_id=NO_ID), timeout=DEADLINE_S),
        )
        assert refused == [("GetPayment", "RESOURCE_EXHAUSTED")]
        seen.clear()
        waiting.cancel()
        assert seen.wait(LIMIT_S)
        assert service.observer.answers[-1] == ("CreatePayment", "CANCELLED")
