"""Processes that take requests and processes that recover, apart, over one real PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from kessai.payments.v1 import payments_pb2 as pb

from adapters.system import SystemClock
from coordinator.domain.decide import Call
from coordinator.domain.ids import TransactionId
from coordinator.domain.phase import Operation
from fault_injection.model_participant import Defer, Fault
from tests.support.service import PARTICIPANTS, SharedParticipant, create_request, running


@pytest.mark.parametrize(
    ("role", "services"), [("all", ["recover"]), ("serve", []), ("work", ["recover"])]
)
def test_only_a_role_that_works_takes_up_what_is_due(
    new_database: Callable[[], str], role: str, services: list[str]
) -> None:
    with running(new_database(), role=role) as service:
        names = [each.name for each in service.coordinator.services]
    assert [name for name in names if name in {"recover", "relay"}] == services


def test_a_working_process_serves_health_and_no_payments(
    new_database: Callable[[], str],
) -> None:
    with running(new_database(), role="work") as service:
        with pytest.raises(grpc.RpcError) as caught:
            service.stub().CreatePayment(create_request(), timeout=10)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
        with grpc.insecure_channel(service.address) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            answer = health.Check(health_pb2.HealthCheckRequest(), timeout=10)
            served = ProtoReflectionDescriptorDatabase(channel).get_services()
    assert answer.status == health_pb2.HealthCheckResponse.SERVING
    assert not [name for name in served if name.startswith("kessai.")]


def test_what_a_serving_process_gives_to_the_table_a_working_one_ends(
    new_database: Callable[[], str],
) -> None:
    def slow_card(_id: TransactionId, call: Call, _attempt: int) -> Fault | None:
        defers = call.operation is Operation.TRY and call.phase.name == "card_charge"
        return Defer(0.5) if defers else None

    models = {name: SharedParticipant(SystemClock(), slow_card) for name in PARTICIPANTS}
    url = new_database()
    with running(url, models=dict(models), role="serve") as serving:
        accepted = serving.stub().CreatePayment(create_request(), timeout=2).payment
        assert accepted.state == pb.PAYMENT_STATE_CREATED
        assert not serving.on_loop(lambda: serving.coordinator.driver.drives(accepted.payment_id))
        with running(url, models=dict(models), role="work"):
            watched = serving.stub().WatchPayment(
                pb.WatchPaymentRequest(payment_id=accepted.payment_id), timeout=60
            )
            ends = [update.payment.state for update in watched]
    assert ends[-1] == pb.PAYMENT_STATE_PAID
