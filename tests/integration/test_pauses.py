"""Two coordinators over one real PostgreSQL share the pauses of flows, over real sockets."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import grpc
import pytest
from kessai.payments.v1 import payments_pb2 as pb

from adapters.system import SystemClock
from coordinator.domain.decide import Call
from coordinator.domain.ids import TransactionId
from coordinator.domain.phase import Operation
from coordinator.ports import Pause, Store
from fault_injection.model_participant import Fault, LoseRequest
from tests.support.operations import create, reserve
from tests.support.service import (
    Problem,
    Service,
    create_request,
    problem_of,
    running,
    shared_models,
)

FLOW = "points_and_card"
AT_LEAST = 3
PAYMENTS = 8
"""More than twice as many: whichever process drives them to their end, one sees enough."""
PAUSE_S = 8.0
NOTICED_WITHIN_S = 15.0
"""Far more than a pass of the intake takes, on a machine that is busy."""


class Silence:
    """ "points" answers no Try while it lasts."""

    lasts = False

    def __call__(self, _id: TransactionId, call: Call, _attempt: int) -> Fault | None:
        silent = self.lasts and call.phase.participant == "points"
        return LoseRequest() if silent and call.operation is Operation.TRY else None


@pytest.fixture
def silence() -> Silence:
    return Silence()


@pytest.fixture
def pair(new_database: Callable[[], str], silence: Silence) -> Iterator[tuple[Service, Service]]:
    url, models = new_database(), shared_models(silence)
    settings: dict[str, Any] = {"pause_at_least": AT_LEAST, "pause_s": PAUSE_S}
    with (
        running(url, models=models, **settings) as first,
        running(url, models=models, **settings) as second,
    ):
        yield first, second


def ask(service: Service, question: Callable[[Store], Coroutine[Any, Any, Any]]) -> Any:
    """What the service's store answers."""
    store = service.coordinator.intake._store
    return asyncio.run_coroutine_threadsafe(question(store), service.loop).result(10)


def refusal(service: Service, key: str) -> Problem | None:
    """How the service refuses a new payment; None when it takes it."""
    try:
        create(service, key)
    except grpc.RpcError as error:
        return problem_of(error)
    return None


def noticed(service: Service, key: str, *, paused: bool) -> Problem | None:
    """Asks with one key after the other until the service knows whether the flow is paused."""
    clock = SystemClock()
    end_s = clock.monotonic() + NOTICED_WITHIN_S
    number = 0
    while clock.monotonic() < end_s:
        number += 1
        problem = refusal(service, f"{key}-{number}")
        if (problem is not None) is paused:
            return problem
        time.sleep(0.2)
    raise AssertionError(f"not noticed that paused is {paused}")


def test_both_refuse_what_an_operator_paused_and_finish_what_was_accepted(
    pair: tuple[Service, Service],
) -> None:
    first, second = pair
    reserved = reserve(first, "reserved")
    paid = create(first, "paid")
    since = first.coordinator.accept._clock.now()
    ask(first, lambda store: store.pause(Pause(FLOW, "ops", "maintenance", since)))
    for name, service in (("first", first), ("second", second)):
        problem = noticed(service, name, paused=True)
        assert problem is not None
        assert (problem.status, problem.reason) == (grpc.StatusCode.UNAVAILABLE, "FLOW_PAUSED")
        assert problem.retry
        assert problem.facts["flow"] == FLOW
        assert problem.facts["paused_by"] == "ops"
        assert "ops: maintenance" in problem.message
    assert create(second, "paid").payment_id == paid.payment_id, "a repeated key has its payment"
    captured = second.stub().CapturePayment(
        pb.CapturePaymentRequest(payment_id=reserved.payment_id, idempotency_key="capture"),
        timeout=20,
    )
    assert captured.payment.state == pb.PAYMENT_STATE_PAID
    assert ask(second, lambda store: store.unpause(FLOW))
    for name, service in (("again", first), ("again-too", second)):
        assert noticed(service, name, paused=False) is None


def test_a_pause_that_a_flow_made_itself_holds_for_both_and_ends(
    pair: tuple[Service, Service], silence: Silence
) -> None:
    first, second = pair
    silence.lasts = True
    stub = first.stub()
    asking = [
        stub.CreatePayment.future(create_request(f"silent-{number}"), timeout=20)
        for number in range(PAYMENTS)
    ]
    for call in asking:
        assert call.result().payment.failure.code == "TRY_DEADLINE_EXCEEDED"
    silence.lasts = False  # whoever is accepted until it is noticed is paid
    problem = noticed(second, "second", paused=True)
    assert problem is not None
    assert problem.facts["paused_by"] == "kessai"
    assert noticed(first, "first", paused=True) is not None
    for name, service in (("healed", first), ("healed-too", second)):
        assert noticed(service, name, paused=False) is None
