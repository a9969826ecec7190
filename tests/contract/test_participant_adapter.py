"""The gRPC adapter against a participant that says whatever the test wants, over a real
connection, by single calls and over one stream."""

from __future__ import annotations

import asyncio
import itertools
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any, TypeAlias, TypeVar

import grpc
import grpc.aio
import pytest
from google.protobuf import any_pb2
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2
from kessai.participant.v1 import participant_pb2 as pb
from kessai.participant.v1 import participant_pb2_grpc as rpc

from adapters.participant_answers import MAX_CODE, MAX_REASON, MAX_REFERENCE
from adapters.participant_grpc import GrpcParticipant
from coordinator.domain.decide import Call
from coordinator.domain.ids import TransactionId
from coordinator.domain.outcome import Applied, NextAction, Outcome, Pending, Refused, Unknown
from coordinator.domain.phase import Operation
from coordinator.domain.record import evolve
from fault_injection.faults.participant import FaultyParticipant
from fault_injection.faults.wire import ToParticipant
from phases.card_charge import CARD_CHARGE
from tests.support.domain import ID, NOW, SOURCES, opened
from tests.support.faulty import injection

T = TypeVar("T")
Handler = Callable[[Any, Any], Awaitable[pb.Answer]]
SECRET = SOURCES["card_charge"]
UNTIL = NOW + timedelta(minutes=15)


def call(operation: Operation = Operation.TRY, timeout_s: float = 5.0) -> Call:
    return Call(CARD_CHARGE, operation, opened().transaction.step("card_charge"), timeout_s)


def answer(status: int = pb.STATUS_HELD, **fields: Any) -> pb.Answer:
    """A well-formed answer about the card step of the test's payment, but for `fields`."""
    values: dict[str, Any] = {
        "transaction_id": ID,
        "phase": "card_charge",
        "amount": pb.Money(currency_code="JPY", minor_units=400),
        "status": status,
    }
    return pb.Answer(**{**values, **fields})


class Scripted(rpc.ParticipantServiceServicer):
    """Answers every call with what `handler` makes of it, and keeps the requests."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.requests: list[Any] = []

    async def _take(self, request: Any, context: Any) -> pb.Answer:
        self.requests.append(request)
        return await self.handler(request, context)

    async def Try(self, request: Any, context: Any) -> pb.TryResponse:  # noqa: N802 - gRPC's name
        return pb.TryResponse(answer=await self._take(request, context))

    async def Confirm(self, request: Any, context: Any) -> pb.ConfirmResponse:  # noqa: N802
        return pb.ConfirmResponse(answer=await self._take(request, context))

    async def Cancel(self, request: Any, context: Any) -> pb.CancelResponse:  # noqa: N802
        return pb.CancelResponse(answer=await self._take(request, context))

    async def Query(self, request: Any, context: Any) -> pb.QueryResponse:  # noqa: N802
        return pb.QueryResponse(answer=await self._take(request, context))


SERVED: type[Scripted] = Scripted
"""What a test's participant is; see `wire`."""


class Aborted(Exception):
    """What a handler's `abort` says instead of an answer."""

    def __init__(self, code: grpc.StatusCode, details: str, trailers: Any) -> None:
        super().__init__(details)
        status = dict(trailers).get("grpc-status-details-bin", b"")
        info = error_details_pb2.ErrorInfo()
        with suppress(DecodeError):
            for detail in status_pb2.Status.FromString(status).details:
                detail.Unpack(info)
        self.error = pb.Error(code=code.value[0], reason=info.reason, message=details)


class AskedContext:
    """The context of one question of a stream."""

    async def abort(self, code: grpc.StatusCode, details: str, trailers: Any = ()) -> None:
        raise Aborted(code, details, trailers)


class Streaming(Scripted):
    """The same, over streams too; every question is answered by a task of its own."""

    async def Perform(self, request_iterator: Any, context: Any) -> None:  # noqa: N802
        async with asyncio.TaskGroup() as tasks:
            async for message in request_iterator:
                for ask in message.asks:
                    tasks.create_task(self._reply(ask, context))

    async def _reply(self, ask: pb.Ask, context: Any) -> None:
        reply = pb.Reply(number=ask.number)
        try:
            request = getattr(ask, str(ask.WhichOneof("request")))
            reply.answer.CopyFrom(await self._take(request, AskedContext()))
        except Aborted as aborted:
            reply.error.CopyFrom(aborted.error)
        await context.write(pb.PerformResponse(replies=[reply]))


class Behind(FaultyParticipant):
    """Behind the wrapper and the interceptor that inject faults, with none."""

    def __init__(self, target: str) -> None:
        interceptor = ToParticipant("card", injection())
        self._real = GrpcParticipant(target, interceptors=[interceptor])
        super().__init__("card", self._real, injection())

    async def close(self) -> None:
        await self._real.close()


Adapter: TypeAlias = GrpcParticipant | Behind


ADAPTER: type[Adapter] = GrpcParticipant
"""What asks it; see `wire`."""


@pytest.fixture(
    params=[(Scripted, GrpcParticipant), (Streaming, GrpcParticipant), (Scripted, Behind)],
    ids=["single", "stream", "no faults"],
    autouse=True,
)
def wire(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """How the participant of the test can be asked, and who asks it."""
    served, adapter = request.param
    module = sys.modules[__name__]
    monkeypatch.setattr(module, "SERVED", served)
    monkeypatch.setattr(module, "ADAPTER", adapter)


def at(target: str) -> Adapter:
    return ADAPTER(target)


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[tuple[Adapter, Scripted]]:
    servicer = SERVED(handler)
    server = grpc.aio.server()
    _serve(server, servicer)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    participant = at(f"127.0.0.1:{port}")
    try:
        yield participant, servicer
    finally:
        await participant.close()
        await server.stop(None)


def _serve(server: grpc.aio.Server, servicer: Scripted) -> None:
    rpc.add_ParticipantServiceServicer_to_server(servicer, server)


def says(reply: pb.Answer) -> Handler:
    async def handler(_request: Any, _context: Any) -> pb.Answer:
        return reply

    return handler


def fails(code: grpc.StatusCode, details: str = "", reason: str = "") -> Handler:
    async def handler(_request: Any, context: Any) -> pb.Answer:
        trailers: tuple[tuple[str, bytes], ...] = ()
        if reason:
            info = any_pb2.Any()
            info.Pack(error_details_pb2.ErrorInfo(reason=reason, domain="test"))
            status = status_pb2.Status(code=code.value[0], message=details, details=[info])
            trailers = (("grpc-status-details-bin", status.SerializeToString()),)
        await context.abort(code, details, trailers)
        raise AssertionError("abort raises")

    return handler


def outcome(handler: Handler, made: Call | None = None) -> Outcome:
    """What one call to such a participant comes back with."""

    async def scenario() -> Outcome:
        async with serving(handler) as (participant, _):
            return await participant.perform(ID, made or call(), UNTIL)

    return asyncio.run(scenario())


def no(status: int) -> pb.Answer:
    refusal = pb.Refusal(code="INSUFFICIENT_FUNDS", reason="Not enough.")
    return answer(status, refusal=refusal, reference="ref-1")


REFUSED = Refused("INSUFFICIENT_FUNDS", "Not enough.")
TOMBSTONE = Refused("CANCELLED_AT_PARTICIPANT", "Card was cancelled before")
O = Operation  # noqa: E741 - the table below is read by its shape

KNOWN: dict[tuple[Operation, int], Outcome] = {
    (O.TRY, pb.STATUS_HELD): Applied("ref-1"),
    (O.TRY, pb.STATUS_PENDING): Pending("ref-1"),
    (O.TRY, pb.STATUS_REFUSED): REFUSED,
    (O.TRY, pb.STATUS_CANCELLED): TOMBSTONE,
    (O.QUERY, pb.STATUS_HELD): Applied("ref-1"),
    (O.QUERY, pb.STATUS_CONFIRMED): Applied("ref-1", confirmed=True),
    (O.QUERY, pb.STATUS_PENDING): Pending("ref-1"),
    (O.QUERY, pb.STATUS_REFUSED): REFUSED,
    (O.QUERY, pb.STATUS_CANCELLED): TOMBSTONE,
    (O.QUERY, pb.STATUS_UNKNOWN_TRANSACTION): Unknown(
        "UNKNOWN_TRANSACTION", "Card knows nothing of it"
    ),
    (O.CONFIRM, pb.STATUS_CONFIRMED): Applied("ref-1"),
    (O.CONFIRM, pb.STATUS_REFUSED): REFUSED,
    (O.CANCEL, pb.STATUS_CANCELLED): Applied("ref-1"),
    (O.CANCEL, pb.STATUS_REFUSED): REFUSED,
}


def test_every_operation_and_status_has_one_meaning_and_the_absurd_ones_are_suspicious() -> None:
    async def scenario() -> None:
        for operation, status in itertools.product(Operation, [*pb.Status.values(), 99]):
            async with serving(says(no(status))) as (participant, _):
                got = await participant.perform(ID, call(operation), UNTIL)
            if (operation, status) in KNOWN:
                assert got == KNOWN[operation, status]
            else:
                assert isinstance(got, Unknown)
                assert (got.code, got.suspicious) == ("UNEXPECTED_STATUS", True)

    asyncio.run(scenario())


@pytest.mark.parametrize("code", [c for c in grpc.StatusCode if c is not grpc.StatusCode.OK])
@pytest.mark.parametrize("operation", [O.TRY, O.CONFIRM])
def test_a_grpc_error_is_never_a_refusal(code: grpc.StatusCode, operation: Operation) -> None:
    got = outcome(fails(code, "because"), call(operation))
    disagrees = {"ALREADY_EXISTS", "FAILED_PRECONDITION", "INVALID_ARGUMENT"}
    assert got == Unknown(code.name, "because", suspicious=code.name in disagrees)


def test_a_definite_error_is_named_by_its_error_info() -> None:
    got = outcome(fails(grpc.StatusCode.ALREADY_EXISTS, "differs", "AMOUNT_DIFFERS"))
    assert got == Unknown("AMOUNT_DIFFERS", "differs", suspicious=True)


def test_broken_error_details_are_passed_over() -> None:
    async def handler(_request: Any, context: Any) -> pb.Answer:
        await context.abort(
            grpc.StatusCode.INTERNAL, "x", (("grpc-status-details-bin", b"\xff\xff"),)
        )
        raise AssertionError("abort raises")

    assert outcome(handler) == Unknown("INTERNAL", "x")


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (answer(transaction_id=ID.replace("1", "2")), "transaction_id"),
        (answer(transaction_id=""), "transaction_id"),
        (answer(phase="points_reserve"), "phase"),
        (answer(amount=pb.Money(currency_code="JPY", minor_units=401)), "amount"),
        (answer(amount=pb.Money(currency_code="USD", minor_units=400)), "currency"),
        (answer(amount=None), "amount"),
        (answer(pb.STATUS_PENDING, amount=None), "amount"),
        (answer(pb.STATUS_REFUSED, amount=pb.Money(currency_code="JPY", minor_units=1)), "amount"),
        (pb.Answer(), "transaction_id"),
    ],
)
def test_an_answer_about_something_else_is_unknown_and_a_person_is_told(
    wrong: pb.Answer, field: str
) -> None:
    got = outcome(says(wrong))
    assert got == Unknown("ANSWER_MISMATCH", f"the answer has another {field}", suspicious=True)


@pytest.mark.parametrize(
    ("operation", "status"),
    [(O.TRY, pb.STATUS_CANCELLED), (O.TRY, pb.STATUS_REFUSED), (O.CANCEL, pb.STATUS_CANCELLED)],
)
def test_where_no_try_need_be_known_no_amount_need_be_named(
    operation: Operation, status: int
) -> None:
    assert not isinstance(outcome(says(answer(status, amount=None)), call(operation)), Unknown)


def test_requests_carry_what_the_protocol_asks_for() -> None:
    async def scenario() -> list[Any]:
        async with serving(says(answer())) as (participant, servicer):
            for operation in Operation:
                await participant.perform(ID, call(operation), UNTIL)
            return servicer.requests

    tried, confirmed, cancelled, queried = asyncio.run(scenario())
    amount = pb.Money(currency_code="JPY", minor_units=400)
    expected = pb.TryRequest(
        transaction_id=ID, phase="card_charge", amount=amount, account=SECRET, hold_until=UNTIL
    )
    assert tried == expected
    expected_confirm = pb.ConfirmRequest(transaction_id=ID, phase="card_charge", amount=amount)
    assert confirmed == expected_confirm
    assert cancelled == pb.CancelRequest(transaction_id=ID, phase="card_charge")
    assert queried == pb.QueryRequest(transaction_id=ID, phase="card_charge")


def partial_confirm(minor: int = 150) -> Call:
    """A Confirm of less than the 400 yen that are held."""
    made = call(O.CONFIRM)
    return evolve(made, step=evolve(made.step, final_minor=minor))


def request_of(made: Call) -> Any:
    """What the participant receives."""

    async def scenario() -> Any:
        async with serving(says(answer())) as (participant, servicer):
            await participant.perform(ID, made, UNTIL)
            return servicer.requests[0]

    return asyncio.run(scenario())


def yen(minor: int) -> pb.Money:
    return pb.Money(currency_code="JPY", minor_units=minor)


def test_a_confirm_carries_the_final_amount() -> None:
    assert request_of(partial_confirm()).amount == yen(150)


def test_a_confirm_of_all_of_it_need_not_say_how_much() -> None:
    assert outcome(says(answer(pb.STATUS_CONFIRMED)), call(O.CONFIRM)) == Applied()


@pytest.mark.parametrize("made", [partial_confirm(), partial_confirm(400), call(O.CONFIRM)])
def test_a_confirm_that_says_how_much_was_asked_is_applied(made: Call) -> None:
    final = made.step.final
    assert final is not None
    reply = answer(pb.STATUS_CONFIRMED, confirmed=yen(final.minor))
    assert outcome(says(reply), made) == Applied()


@pytest.mark.parametrize(
    ("made", "confirmed", "field"),
    [
        (partial_confirm(), None, "amount"),
        (partial_confirm(), yen(400), "amount"),
        (partial_confirm(), yen(149), "amount"),
        (partial_confirm(), pb.Money(), "amount"),
        (partial_confirm(), pb.Money(currency_code="USD", minor_units=150), "currency"),
        (call(O.CONFIRM), yen(399), "amount"),
    ],
)
def test_a_confirm_of_another_amount_is_unknown_and_a_person_is_told(
    made: Call, confirmed: pb.Money | None, field: str
) -> None:
    got = outcome(says(answer(pb.STATUS_CONFIRMED, confirmed=confirmed)), made)
    assert got == Unknown("ANSWER_MISMATCH", f"the answer has another {field}", suspicious=True)


@pytest.mark.parametrize("confirmed", [yen(400), None])
def test_a_query_that_finds_another_amount_confirmed_is_unknown_and_a_person_is_told(
    confirmed: pb.Money | None,
) -> None:
    made = evolve(partial_confirm(), operation=O.QUERY)
    got = outcome(says(answer(pb.STATUS_CONFIRMED, confirmed=confirmed)), made)
    assert got == Unknown("ANSWER_MISMATCH", "the answer has another amount", suspicious=True)


def test_a_query_tells_what_is_held_from_what_is_final() -> None:
    held, final = answer(), answer(pb.STATUS_CONFIRMED, confirmed=yen(150))
    made = evolve(partial_confirm(), operation=O.QUERY)
    assert outcome(says(held), made) == Applied()
    assert outcome(says(final), made) == Applied(confirmed=True)


def test_a_refused_partial_confirm_names_no_confirmed_amount() -> None:
    assert outcome(says(no(pb.STATUS_REFUSED)), partial_confirm()) == REFUSED


def test_a_refunds_try_names_the_step_that_it_gives_back_and_no_account() -> None:
    payment_id = TransactionId("0197f2a0-0000-7000-8000-00000000000f")
    made = call()
    refund = evolve(made, refund_of=payment_id, step=evolve(made.step, source="", secret=False))
    tried = request_of(refund)
    assert tried.refund_of == pb.OriginalStep(transaction_id=payment_id, phase="card_charge")
    assert (tried.account, tried.amount) == ("", yen(400))


def test_a_payments_try_gives_nothing_back() -> None:
    assert not request_of(call()).HasField("refund_of")


def pending(url: str, kind: str = "redirect") -> Outcome:
    action = pb.NextAction(kind=kind, url=url)
    return outcome(says(answer(pb.STATUS_PENDING, next_action=action)))


@pytest.mark.parametrize("url", ["https://pay.example/confirm?id=1#x", "http://pay.example"])
def test_a_next_action_at_a_web_address_is_taken_over(url: str) -> None:
    assert pending(url) == Pending(next_action=NextAction("redirect", url))


@pytest.mark.parametrize(
    "url",
    [
        "",
        "javascript:alert(1)",
        "data:text/html,x",
        "ftp://pay.example/x",
        "//pay.example/x",
        "https://",
        " https://pay.example",
        "https://pay.example/ x",
        "https://pay.example\n",
        "https://pay.example/\u202e",
        "https://pay.example/" + "x" * 2048,
    ],
)
def test_a_next_action_anywhere_else_is_left_out(url: str) -> None:
    assert pending(url) == Pending()


def test_a_next_actions_kind_is_clipped_and_printable() -> None:
    got = pending("https://pay.example", "re\ndirect" + "x" * 500)
    assert isinstance(got, Pending)
    assert got.next_action is not None
    assert got.next_action.kind.startswith("re directx")
    assert len(got.next_action.kind) == MAX_CODE


def test_a_next_action_that_repeats_the_secret_shows_it_nowhere() -> None:
    assert SECRET not in repr(pending(f"https://pay.example/{SECRET}"))


def test_long_and_unprintable_words_are_clipped() -> None:
    refusal = pb.Refusal(code="no-funds!\n" + "x" * 500, reason="a\x00b\u202e" + "z" * 5000)
    got = outcome(says(answer(pb.STATUS_REFUSED, refusal=refusal)))
    assert isinstance(got, Refused)
    assert got.code.startswith("NO_FUNDS_XXX")
    assert len(got.code) <= MAX_CODE
    assert len(got.reason) == MAX_REASON
    assert got.reason.startswith("a b z")
    held = outcome(says(answer(reference="r" * 5000)))
    assert held == Applied("r" * MAX_REFERENCE)


def test_a_refusal_without_words_gets_some() -> None:
    got = outcome(says(answer(pb.STATUS_REFUSED)))
    assert got == Refused("REFUSED", "Card refused without a reason")


@pytest.mark.parametrize(
    "handler",
    [
        says(answer(pb.STATUS_HELD, reference=f"x{SECRET}")),
        says(
            answer(
                pb.STATUS_REFUSED, refusal=pb.Refusal(code=SECRET, reason=f"{'.' * 190}{SECRET}")
            )
        ),
        fails(grpc.StatusCode.INVALID_ARGUMENT, f"{SECRET} is no account", SECRET),
        says(answer(phase=SECRET)),
    ],
)
def test_a_secret_that_a_participant_repeats_goes_nowhere(handler: Handler) -> None:
    shown = repr(outcome(handler)).lower()
    assert SECRET not in shown
    assert SECRET[:8] not in shown


def test_an_answer_that_is_not_of_the_protocol_is_suspicious(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def garbage(_request: bytes, _context: Any) -> bytes:
        return b"\xff\xff\xff\xff"

    async def scenario() -> Outcome:
        server = grpc.aio.server()
        method = grpc.unary_unary_rpc_method_handler(garbage)
        generic = grpc.method_handlers_generic_handler(
            "kessai.participant.v1.ParticipantService", {"Try": method}
        )
        server.add_generic_rpc_handlers((generic,))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        participant = at(f"127.0.0.1:{port}")
        try:
            return await participant.perform(ID, call(), UNTIL)
        finally:
            await participant.close()
            await server.stop(None)

    got = asyncio.run(scenario())
    assert isinstance(got, Unknown)
    assert (got.code, got.suspicious) == ("MALFORMED_ANSWER", True)
    assert SECRET not in caplog.text


def test_an_answer_beyond_every_size_is_unknown() -> None:
    got = outcome(says(answer(reference="r" * 100_000)))
    assert isinstance(got, Unknown)
    assert got.code == "RESOURCE_EXHAUSTED"


def test_a_participant_that_does_not_answer_costs_no_more_than_the_timeout() -> None:
    async def never(_request: Any, _context: Any) -> pb.Answer:
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    got = outcome(never, call(timeout_s=0.1))
    assert isinstance(got, Unknown)
    assert (got.code, got.suspicious) == ("DEADLINE_EXCEEDED", False)


def test_a_participant_that_is_down_fails_at_once_and_is_found_when_it_is_back() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    async def scenario() -> tuple[Outcome, Outcome]:
        server = grpc.aio.server()
        participant = at(f"127.0.0.1:{port}")
        try:
            down = await participant.perform(ID, call(timeout_s=30), UNTIL)
            _serve(server, Scripted(says(answer(reference="back"))))
            assert server.add_insecure_port(f"127.0.0.1:{port}") == port
            await server.start()
            async with asyncio.timeout(20):
                while isinstance(back := await participant.perform(ID, call(), UNTIL), Unknown):
                    assert back.code == "UNAVAILABLE"
        finally:
            await participant.close()
            await server.stop(None)
        return down, back

    down, back = asyncio.run(scenario())
    assert isinstance(down, Unknown)
    assert down.code == "UNAVAILABLE"
    assert SECRET not in down.detail
    assert back == Applied("back")


class Holding:
    """A participant's handler that tells when a call has arrived, and never answers it."""

    def __init__(self) -> None:
        self.arrived = asyncio.Event()

    async def __call__(self, _request: Any, _context: Any) -> pb.Answer:
        self.arrived.set()
        await asyncio.Event().wait()
        raise AssertionError("unreachable")


def test_cancelling_the_calling_task_cancels_it() -> None:
    async def scenario() -> None:
        async with serving(holding := Holding()) as (participant, _):
            task = asyncio.create_task(participant.perform(ID, call(), UNTIL))
            await holding.arrived.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(scenario())


def test_closing_under_an_open_call_makes_it_unknown_and_cancels_no_task() -> None:
    async def scenario() -> Outcome:
        async with serving(holding := Holding()) as (participant, _):
            task = asyncio.create_task(participant.perform(ID, call(), UNTIL))
            await holding.arrived.wait()
            await participant.close()
            return await task

    got = asyncio.run(scenario())
    assert isinstance(got, Unknown)
    assert got.code in {"CHANNEL_CLOSED", "CANCELLED"}


def test_after_a_close_the_next_call_connects_again() -> None:
    async def scenario() -> list[Outcome]:
        async with serving(says(answer())) as (participant, _):
            first = await participant.perform(ID, call(), UNTIL)
            await participant.close()
            await participant.close()
            return [first, await participant.perform(ID, call(), UNTIL)]

    assert asyncio.run(scenario()) == [Applied(), Applied()]


def test_our_own_mistake_is_unknown_too_and_shows_nothing_of_the_request() -> None:
    step = evolve(call().step, amount=None)
    got = outcome(says(answer()), evolve(call(), step=step))
    assert got == Unknown("ADAPTER_ERROR", "AssertionError")


def test_a_participants_repr_is_its_target() -> None:
    assert repr(GrpcParticipant("localhost:1")) == "GrpcParticipant('localhost:1')"
