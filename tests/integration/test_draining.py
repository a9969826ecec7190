"""A coordinator that is asked to stop: on a real socket and a real PostgreSQL."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from hashlib import sha256
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from kessai.admin.v1 import admin_pb2 as admin
from kessai.payments.v1 import payments_pb2 as pb

from adapters.system import SystemClock
from coordinator.domain.decide import Call
from coordinator.domain.ids import TransactionId
from coordinator.domain.outcome import Outcome
from coordinator.domain.phase import Operation
from tests.support.service import (
    PARTICIPANTS,
    Models,
    Service,
    SharedParticipant,
    create_request,
    problem_of,
    running,
)
from tests.support.serving import until

LONG_S = 60.0


class Gated(SharedParticipant):
    """Answers a Confirm or a Query only while its gate is open; everything else at once."""

    def __init__(self) -> None:
        super().__init__(SystemClock())
        self.gate = threading.Event()
        self.waiting = threading.Event()

    async def perform(
        self, transaction_id: TransactionId, call: Call, hold_until: datetime
    ) -> Outcome:
        kept = call.operation in {Operation.CONFIRM, Operation.QUERY}
        while kept and not self.gate.is_set():
            self.waiting.set()
            await asyncio.sleep(0.01)  # noqa: TID251 - a stand-in for a slow network
        return await super().perform(transaction_id, call, hold_until)


@pytest.fixture
def card() -> Gated:
    return Gated()


@pytest.fixture
def models(card: Gated) -> Models:
    made: Models = {name: SharedParticipant(SystemClock()) for name in PARTICIPANTS}
    return made | {"card": card}


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as made:
        yield made


def pay(service: Service, key: str = "key-1") -> pb.Payment:
    answer: pb.CreatePaymentResponse = service.stub().CreatePayment(
        create_request(key), timeout=LONG_S
    )
    return answer.payment


def test_health_says_so_first_and_calls_under_way_end_well(
    new_database: Callable[[], str], models: Models, card: Gated, pool: ThreadPoolExecutor
) -> None:
    with running(new_database(), models=models) as service:
        paying = pool.submit(pay, service)
        assert card.waiting.wait(LONG_S)
        with grpc.insecure_channel(service.address) as channel:
            watched = health_pb2_grpc.HealthStub(channel).Watch(
                health_pb2.HealthCheckRequest(service="kessai.payments.v1.PaymentService")
            )
            assert next(watched).status == health_pb2.HealthCheckResponse.SERVING
            drained = service.drain(LONG_S)
            assert next(watched).status == health_pb2.HealthCheckResponse.NOT_SERVING
            with pytest.raises(grpc.RpcError) as refused:
                pay(service, "key-2")
            assert problem_of(refused.value).reason == "SHUTTING_DOWN"
            assert not paying.done(), paying.exception() or paying.result()
            card.gate.set()
            assert paying.result(LONG_S).state == pb.PAYMENT_STATE_PAID
            assert drained.result(LONG_S) == 0, "nothing had to be given back"


def test_an_operators_act_that_is_under_way_is_finished_before_claims_are_given_back(
    new_database: Callable[[], str], models: Models, card: Gated, pool: ThreadPoolExecutor
) -> None:
    ports: dict[str, Any] = {
        "admin_listen": "127.0.0.1:0",
        "operators": {"alice": sha256(b"alice-key").hexdigest()},
    }
    with running(new_database(), models=models, **ports) as service:
        paying = pool.submit(pay, service)
        assert card.waiting.wait(LONG_S)
        [known] = service.on_loop(lambda: list(service.coordinator.driver._known))
        held = admin.HoldTransactionRequest(transaction_id=known, reason="a look")
        service.admin().HoldTransaction(held, timeout=LONG_S)
        assert paying.result(LONG_S).state == pb.PAYMENT_STATE_CAPTURING
        card.waiting.clear()
        order = admin.ResolveStepRequest(
            transaction_id=known,
            phase="card_charge",
            answer=admin.STEP_ANSWER_CANCELLED,
            reason="it was not captured",
        )
        resolving = pool.submit(service.admin().ResolveStep, order, timeout=LONG_S)
        assert card.waiting.wait(LONG_S)
        with grpc.insecure_channel(service.admin_address) as channel:
            watched = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
            assert next(watched).status == health_pb2.HealthCheckResponse.SERVING
            drained = service.drain(LONG_S)
            assert next(watched).status == health_pb2.HealthCheckResponse.NOT_SERVING
        card.gate.set()
        assert drained.result(LONG_S) == 0
        assert resolving.result(LONG_S).participant_said == "held"


def test_who_waits_longer_is_told_how_the_payment_stands(
    new_database: Callable[[], str], models: Models, card: Gated, pool: ThreadPoolExecutor
) -> None:
    with running(new_database(), models=models) as service:
        paying = pool.submit(pay, service)
        assert card.waiting.wait(LONG_S)
        [known] = service.on_loop(lambda: list(service.coordinator.driver._known))
        watching = service.stub().WatchPayment(
            pb.WatchPaymentRequest(payment_id=known), timeout=LONG_S
        )
        assert next(watching).payment.state == pb.PAYMENT_STATE_CAPTURING
        drained = service.drain(0.2)
        assert paying.result(LONG_S).state == pb.PAYMENT_STATE_CAPTURING
        with pytest.raises(grpc.RpcError) as caught:
            next(watching)
        assert drained.result(LONG_S) == 1
    problem = problem_of(caught.value)
    assert (problem.status, problem.reason, problem.retry) == (
        grpc.StatusCode.UNAVAILABLE,
        "SHUTTING_DOWN",
        True,
    )


def test_what_is_given_back_goes_on_elsewhere_long_before_the_lease_is_over(
    new_database: Callable[[], str], models: Models, card: Gated, pool: ThreadPoolExecutor
) -> None:
    url = new_database()
    with running(url, models=models, lease_s=3600.0) as first:
        paying = [pool.submit(pay, first, f"key-{number}") for number in range(3)]
        until(lambda: first.on_loop(lambda: first.coordinator.driver.in_flight) == 3, "3 payments")
        with running(url, models=models, lease_s=3600.0) as second:
            assert first.drain(0.5).result(LONG_S) == 3
            told = [each.result(LONG_S) for each in paying]
            card.gate.set()
            for payment in told:
                *_, end = second.stub().WatchPayment(
                    pb.WatchPaymentRequest(payment_id=payment.payment_id), timeout=LONG_S
                )
                assert end.payment.state == pb.PAYMENT_STATE_PAID


def test_a_call_that_arrives_while_it_stops_is_refused_with_a_reason(
    new_database: Callable[[], str],
) -> None:
    with running(new_database()) as service:
        service.on_loop(service.coordinator.gate.close)
        for call in (
            lambda: pay(service),
            lambda: next(service.stub().WatchPayment(pb.WatchPaymentRequest(), timeout=LONG_S)),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                call()
            problem = problem_of(caught.value)
            assert (problem.status, problem.reason) == (
                grpc.StatusCode.UNAVAILABLE,
                "SHUTTING_DOWN",
            )
            assert problem.retry
