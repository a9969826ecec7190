"""The real adapter against participants that answer what no participant may, over real gRPC.

Each spoils a true answer of its own on the way back. Whatever comes, it is never taken for done,
pending or refused; and where an answer came that cannot be trusted, a person is told.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, TypeVar

import grpc
import grpc.aio
import pytest
from kessai.participant.v1 import participant_pb2 as pb
from kessai.participant.v1 import participant_pb2_grpc as rpc

from adapters.participant_grpc import GrpcParticipant
from adapters.system import SystemClock
from coordinator.domain.decide import Call
from coordinator.domain.outcome import Applied, Outcome, Unknown
from coordinator.domain.phase import Operation
from fault_injection.network.answers import ERRORS, HOSTILE, POLITE, Fate, Manners, spoilt
from fault_injection.network.front import Front
from phases.card_charge import CARD_CHARGE
from tests.support.domain import ID, NOW, opened

T = TypeVar("T")
Taken = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]

UNTIL = NOW + timedelta(minutes=15)
CLOCK = SystemClock()
SHORT_S = 0.5
STATUSES = {
    Operation.TRY: pb.STATUS_HELD,
    Operation.CONFIRM: pb.STATUS_CONFIRMED,
    Operation.CANCEL: pb.STATUS_CANCELLED,
    Operation.QUERY: pb.STATUS_HELD,
}
SUSPICIOUS = [
    fate for fate in HOSTILE if fate not in {Fate.ENDLESS, Fate.OVERSIZED}
]  # of these two nothing was read


class Honest(rpc.ParticipantServiceServicer):
    """Answers every call as it should be, and counts them."""

    def __init__(self) -> None:
        self.calls = 0

    def _answer(self, operation: Operation) -> pb.Answer:
        self.calls += 1
        return pb.Answer(
            transaction_id=ID,
            phase=CARD_CHARGE.name,
            amount=pb.Money(currency_code="JPY", minor_units=400),
            status=STATUSES[operation],
        )

    async def Try(self, _request: Any, _context: Any) -> pb.TryResponse:  # noqa: N802 - gRPC's name
        return pb.TryResponse(answer=self._answer(Operation.TRY))

    async def Confirm(self, _request: Any, _context: Any) -> pb.ConfirmResponse:  # noqa: N802
        return pb.ConfirmResponse(answer=self._answer(Operation.CONFIRM))

    async def Cancel(self, _request: Any, _context: Any) -> pb.CancelResponse:  # noqa: N802
        return pb.CancelResponse(answer=self._answer(Operation.CANCEL))

    async def Query(self, _request: Any, _context: Any) -> pb.QueryResponse:  # noqa: N802
        return pb.QueryResponse(answer=self._answer(Operation.QUERY))


def call(operation: Operation, timeout_s: float) -> Call:
    return Call(CARD_CHARGE, operation, opened().transaction.step("card_charge"), timeout_s)


@asynccontextmanager
async def fronted() -> AsyncIterator[tuple[GrpcParticipant, Front, Honest]]:
    """The adapter, and an honest participant behind a front."""
    honest = Honest()
    server = grpc.aio.server()
    rpc.add_ParticipantServiceServicer_to_server(honest, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    front = Front(f"127.0.0.1:{port}", "1")
    await front.open()
    participant = GrpcParticipant(front.address)
    try:
        yield participant, front, honest
    finally:
        await participant.close()
        await front.close()
        await server.stop(None)


@asynccontextmanager
async def raw(take: Taken) -> AsyncIterator[GrpcParticipant]:
    """The adapter, and something at the other end that may not even speak HTTP/2."""
    takers: set[asyncio.Task[Any]] = set()

    async def taken(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        takers.add(task)
        try:
            await take(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(taken, "127.0.0.1", 0)
    participant = GrpcParticipant(f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
    try:
        yield participant
    finally:
        await participant.close()
        server.close()
        for task in takers:
            task.cancel()
        await asyncio.gather(*takers)
        await CLOCK.sleep(0)


def run(scenario: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(scenario)


def spoilt_outcomes(fate: Fate, operation: Operation) -> tuple[Outcome, Outcome, int]:
    """What comes of a call that is spoilt, of its repeat that is not, and how many arrived."""

    async def scenario() -> tuple[Outcome, Outcome, int]:
        async with fronted() as (participant, front, honest):
            front.manners = Manners(1.0, (fate,))
            timeout_s = SHORT_S if fate in {Fate.SILENT, Fate.ENDLESS} else 5.0
            first = await participant.perform(ID, call(operation, timeout_s), UNTIL)
            front.manners = POLITE
            repeated = await participant.perform(ID, call(operation, 5.0), UNTIL)
            assert front.spoilt == {fate: 1}
            return first, repeated, honest.calls

    return run(scenario())


@pytest.mark.parametrize("operation", Operation)
@pytest.mark.parametrize("fate", Fate)
def test_what_is_lost_or_spoilt_is_unknown_and_the_repeat_is_taken_for_what_it_is(
    fate: Fate, operation: Operation
) -> None:
    first, repeated, calls = spoilt_outcomes(fate, operation)
    assert isinstance(first, Unknown), first
    assert first.suspicious is (fate in SUSPICIOUS)
    assert isinstance(repeated, Applied)
    assert calls == (1 if fate is Fate.REQUEST_LOST else 2)


def test_every_fate_is_either_a_daily_error_or_hostile() -> None:
    assert {*ERRORS, *HOSTILE} == set(Fate)
    assert not {*ERRORS} & {*HOSTILE}


def test_so_many_calls_go_wrong_as_the_share_says_and_the_seed_decides_which() -> None:
    async def scenario() -> list[bool]:
        async with fronted() as (participant, front, _):
            front.manners = Manners(0.25, (Fate.REQUEST_LOST,))
            outcomes = [
                await participant.perform(ID, call(Operation.TRY, 5.0), UNTIL) for _ in range(200)
            ]
            return [isinstance(outcome, Unknown) for outcome in outcomes]

    lost = run(scenario())
    assert 25 <= sum(lost) <= 75
    assert run(scenario()) == lost


def test_manners_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="share"):
        Manners(1.1)
    with pytest.raises(ValueError, match="fate"):
        Manners(0.5, ())


def test_a_spoilt_answer_differs_from_the_true_one() -> None:
    true = pb.TryResponse(answer=Honest()._answer(Operation.TRY)).SerializeToString()
    changed = [fate for fate in HOSTILE if fate is not Fate.ENDLESS]
    assert len({spoilt(fate, "Try", true) for fate in changed} | {true}) == len(changed) + 1


async def _garbage(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"\x00\xff not HTTP at all \r\n\r\n" * 100)
    await writer.drain()


async def _endless_garbage(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(bytes(1024))
        await writer.drain()
        await CLOCK.sleep(0.001)


async def _nothing(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    while await reader.read(1024):
        pass


async def _endless_frames(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Speaks HTTP/2: settings, then empty DATA frames of the first stream for ever."""
    writer.write(_frame(kind=0x4, flags=0, stream=0))
    await reader.read(1024)
    writer.write(_frame(kind=0x4, flags=1, stream=0))
    while True:
        writer.write(_frame(kind=0x0, flags=0, stream=1))
        await writer.drain()
        await CLOCK.sleep(0.001)


def _frame(*, kind: int, flags: int, stream: int) -> bytes:
    return struct.pack(">I", 0)[1:] + struct.pack(">BBI", kind, flags, stream)


@pytest.mark.parametrize("take", [_garbage, _endless_garbage, _nothing, _endless_frames])
@pytest.mark.parametrize("operation", [Operation.TRY, Operation.CONFIRM])
def test_whoever_does_not_even_speak_grpc_is_unknown_in_time(
    take: Taken, operation: Operation
) -> None:
    async def scenario() -> tuple[Outcome, float]:
        async with raw(take) as participant:
            began = asyncio.get_running_loop().time()
            outcome = await participant.perform(ID, call(operation, SHORT_S), UNTIL)
            return outcome, asyncio.get_running_loop().time() - began

    outcome, took_s = run(scenario())
    assert isinstance(outcome, Unknown)
    assert not outcome.suspicious
    assert took_s < SHORT_S + 2.0
