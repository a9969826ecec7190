"""A call that waits answers before its caller's deadline, whatever gRPC makes of that deadline."""

from __future__ import annotations

from collections.abc import Callable

import grpc

from coordinator.domain.decide import Call
from coordinator.domain.ids import TransactionId
from coordinator.domain.phase import Operation
from fault_injection.model_participant import Defer, Fault
from tests.support.service import create_request, running


def test_long_deadlines_which_grpc_rounds_up_are_kept_too(new_database: Callable[[], str]) -> None:
    # On the wire a deadline of more than ten seconds is rounded up to a tenth of a second.
    def undecided(_id: TransactionId, call: Call, _attempt: int) -> Fault | None:
        return Defer(3600.0) if call.operation is Operation.TRY else None

    with running(new_database(), undecided) as service:
        calls = [
            service.stub().CreatePayment.future(
                create_request(f"key-{number}"), timeout=10.0 + number / 50
            )
            for number in range(20)
        ]
        outcomes = {call.code() for call in calls}
    assert outcomes == {grpc.StatusCode.OK}
