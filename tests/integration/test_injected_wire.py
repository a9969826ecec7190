"""The interceptors that inject faults, over real connections."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, TypeVar

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from kessai.participant.v1 import participant_pb2 as participant_pb
from kessai.participant.v1 import participant_pb2_grpc
from kessai.payments.v1 import payments_pb2 as pb
from kessai.payments.v1 import payments_pb2_grpc

from adapters.participant_grpc import GrpcParticipant
from coordinator.domain.decide import Call
from coordinator.domain.outcome import Applied, Outcome, Unknown
from coordinator.domain.phase import Operation
from fault_injection.faults.wire import FromCallers, ToParticipant
from fault_injection.world import Recorder
from phases.card_charge import CARD_CHARGE
from tests.support.domain import ID, NOW, opened
from tests.support.faulty import injection

T = TypeVar("T")
INJECTED = "injected on purpose"


class Card(participant_pb2_grpc.ParticipantServiceServicer):
    """Holds whatever it is asked to hold."""

    def __init__(self) -> None:
        self.tried = 0

    async def Try(self, request: Any, _context: Any) -> Any:  # noqa: N802 - gRPC's name
        self.tried += 1
        answer = participant_pb.Answer(
            transaction_id=request.transaction_id,
            phase=request.phase,
            amount=request.amount,
            status=participant_pb.STATUS_HELD,
        )
        return participant_pb.TryResponse(answer=answer)


def tried(rules: str, calls: int = 1, timeout_s: float = 0.5) -> tuple[list[Outcome], int]:
    """What so many Tries come back with, and how many arrived."""

    async def program() -> tuple[list[Outcome], int]:
        server, card = grpc.aio.server(), Card()
        participant_pb2_grpc.add_ParticipantServiceServicer_to_server(card, server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        wire = ToParticipant("card", injection(rules))
        participant = GrpcParticipant(f"127.0.0.1:{port}", interceptors=[wire])
        step = opened().transaction.step("card_charge")
        call = Call(CARD_CHARGE, Operation.TRY, step, timeout_s)
        try:
            until = NOW + timedelta(minutes=15)
            return [await participant.perform(ID, call, until) for _ in range(calls)], card.tried
        finally:
            await participant.close()
            await server.stop(None)

    return asyncio.run(program())


TIMED_OUT = Unknown("DEADLINE_EXCEEDED", INJECTED)


@pytest.mark.parametrize(
    ("rules", "outcome", "arrived"),
    [
        ("request-lost@outgoing", TIMED_OUT, 0),
        ("outage@outgoing:card", TIMED_OUT, 0),
        ("reply-lost@outgoing/Try", TIMED_OUT, 1),
        ("slow@outgoing,duration_s=9", TIMED_OUT, 1),
        ("slow@outgoing,duration_s=0.01", Applied(), 1),
        ("error@outgoing:card/Try", Unknown("UNAVAILABLE", INJECTED), 0),
        ("error-after@outgoing,code=INTERNAL", Unknown("INTERNAL", INJECTED), 1),
        ("error@outgoing:points,probability=1", Applied(), 1),
        ("error@outgoing/Confirm", Applied(), 1),
    ],
)
def test_a_call_to_a_participant_fails_before_it_arrives_or_after(
    rules: str, outcome: Outcome, arrived: int
) -> None:
    assert tried(rules) == ([outcome], arrived)


def test_only_the_calls_that_a_rule_strikes_fail() -> None:
    outcomes, arrived = tried("error@outgoing,every=2", calls=4)
    assert [isinstance(each, Applied) for each in outcomes] == [True, False, True, False]
    assert arrived == 2


class Payments(payments_pb2_grpc.PaymentServiceServicer):
    """Answers with empty payments, and counts what it handled."""

    def __init__(self) -> None:
        self.handled = 0

    async def GetPayment(self, _request: Any, _context: Any) -> Any:  # noqa: N802 - gRPC's name
        self.handled += 1
        return pb.GetPaymentResponse()

    async def WatchPayment(self, _request: Any, _context: Any) -> Any:  # noqa: N802 - gRPC's name
        for _ in range(3):
            self.handled += 1
            yield pb.WatchPaymentResponse()


def asked(
    rules: str, ask: Callable[[grpc.aio.Channel], Awaitable[T]]
) -> tuple[T, int, list[tuple[str, str, str]]]:
    """What a caller gets from a server with these rules; what was handled, and injected."""

    async def program() -> tuple[T, int, list[tuple[str, str, str]]]:
        observer, servicer = Recorder(), Payments()
        interceptor: Any = FromCallers(injection(rules, observer=observer))
        server = grpc.aio.server(interceptors=[interceptor])
        payments_pb2_grpc.add_PaymentServiceServicer_to_server(servicer, server)
        checks: Any = health.aio.HealthServicer()  # type: ignore[attr-defined] # stubs: sync only
        health_pb2_grpc.add_HealthServicer_to_server(checks, server)
        await checks.set("", health_pb2.HealthCheckResponse.SERVING)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                return await ask(channel), servicer.handled, observer.injections
        finally:
            await server.stop(None)

    return asyncio.run(program())


async def got(channel: grpc.aio.Channel) -> str:
    """The status of a read that waits for half a second."""
    stub: Any = payments_pb2_grpc.PaymentServiceStub(channel)
    try:
        await stub.GetPayment(pb.GetPaymentRequest(), timeout=0.5)
    except grpc.aio.AioRpcError as error:
        return error.code().name
    return "OK"


async def watched(channel: grpc.aio.Channel) -> tuple[int, str]:
    """How many answers a stream gives, and how it ends."""
    stub: Any = payments_pb2_grpc.PaymentServiceStub(channel)
    count = 0
    try:
        async for _ in stub.WatchPayment(pb.WatchPaymentRequest(), timeout=5):
            count += 1
    except grpc.aio.AioRpcError as error:
        return count, error.code().name
    return count, "OK"


@pytest.mark.parametrize(
    ("rules", "status", "handled"),
    [
        ("error@incoming/GetPayment", "UNAVAILABLE", 0),
        ("error@incoming,code=ABORTED", "ABORTED", 0),
        ("error-after@incoming", "UNAVAILABLE", 1),
        ("request-lost@incoming", "DEADLINE_EXCEEDED", 0),
        ("reply-lost@incoming", "DEADLINE_EXCEEDED", 1),
        ("slow@incoming,duration_s=9", "DEADLINE_EXCEEDED", 1),
        ("slow@incoming,duration_s=0.01", "OK", 1),
    ],
)
def test_a_callers_call_fails_before_it_is_handled_or_after(
    rules: str, status: str, handled: int
) -> None:
    found, count, injected = asked(rules, got)
    assert (found, count) == (status, handled)
    kind, _, place = rules.partition(",")[0].partition("@")
    assert injected == [(kind, place, "")]


@pytest.mark.parametrize(
    ("rules", "seen"),
    [
        ("error@incoming/WatchPayment", (0, "UNAVAILABLE")),
        ("error-after@incoming/WatchPayment", (0, "UNAVAILABLE")),
        ("slow@incoming/WatchPayment,duration_s=0.01", (3, "OK")),
        ("error@incoming/GetPayment", (3, "OK")),
    ],
)
def test_a_callers_stream_fails_before_its_first_answer(rules: str, seen: tuple[int, str]) -> None:
    assert asked(rules, watched)[0] == seen


def test_health_checks_meet_no_faults() -> None:
    async def check(channel: grpc.aio.Channel) -> int:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=5)
        return int(answer.status)

    status, _, injected = asked("error@incoming", check)
    assert status == health_pb2.HealthCheckResponse.SERVING
    assert injected == []
