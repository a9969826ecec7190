"""What is particular to one stream of questions; that it says what single calls say is in
test_participant_adapter.py."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import pytest
from kessai.participant.v1 import participant_pb2 as pb
from kessai.participant.v1 import participant_pb2_grpc as rpc

from adapters import participant_grpc
from adapters.participant_grpc import GrpcParticipant
from adapters.participant_stream import MAX_ASKS
from coordinator.domain.ids import TransactionId
from coordinator.domain.outcome import Applied, Outcome, Unknown
from tests.contract.test_participant_adapter import UNTIL, answer, call

Talk = Callable[["Talker", Any, Any], Awaitable[None]]


class Talker(rpc.ParticipantServiceServicer):
    """Does on each stream what the test wants; single calls are answered and counted."""

    def __init__(self, talk: Talk) -> None:
        self.talk = talk
        self.streams = 0
        self.single = 0
        self.messages: list[pb.PerformRequest] = []

    async def Perform(self, request_iterator: Any, context: Any) -> None:  # noqa: N802
        self.streams += 1
        await self.talk(self, request_iterator, context)

    async def Try(self, request: pb.TryRequest, _context: Any) -> pb.TryResponse:  # noqa: N802
        self.single += 1
        return pb.TryResponse(answer=held(request))


def held(request: pb.TryRequest) -> pb.Answer:
    return answer(transaction_id=request.transaction_id)


def tried(ask: pb.Ask) -> pb.Answer:
    return held(getattr(ask, "try"))


@asynccontextmanager
async def talking(talk: Talk) -> AsyncIterator[tuple[GrpcParticipant, Talker]]:
    talker = Talker(talk)
    server = grpc.aio.server()
    rpc.add_ParticipantServiceServicer_to_server(talker, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    participant = GrpcParticipant(f"127.0.0.1:{port}")
    try:
        yield participant, talker
    finally:
        await participant.close()
        await server.stop(None)


def named(number: int) -> TransactionId:
    return TransactionId(f"0190b6a5-0000-7000-8000-{number:012d}")


async def ask(participant: GrpcParticipant, number: int, timeout_s: float = 5.0) -> Outcome:
    return await participant.perform(named(number), call(timeout_s=timeout_s), UNTIL)


async def answers_all(talker: Talker, messages: Any, context: Any) -> None:
    async for message in messages:
        talker.messages.append(message)
        replies = [pb.Reply(number=each.number, answer=tried(each)) for each in message.asks]
        await context.write(pb.PerformResponse(replies=replies))


def test_what_is_asked_at_one_moment_leaves_in_few_messages() -> None:
    async def scenario() -> tuple[list[Outcome], list[int], int, int]:
        async with talking(answers_all) as (participant, talker):
            outcomes = await asyncio.gather(*(ask(participant, each) for each in range(500)))
            sizes = [len(message.asks) for message in talker.messages]
            return outcomes, sizes, talker.streams, talker.single

    outcomes, sizes, streams, single = asyncio.run(scenario())
    assert outcomes == [Applied()] * 500
    assert (sum(sizes), streams, single) == (500, 1, 0)
    assert max(sizes) <= MAX_ASKS
    assert len(sizes) < 100


def test_a_question_that_takes_long_holds_up_no_other() -> None:
    async def first_never(_talker: Talker, messages: Any, context: Any) -> None:
        async for message in messages:
            replies = [
                pb.Reply(number=each.number, answer=tried(each))
                for each in message.asks
                if tried(each).transaction_id != named(0)
            ]
            await context.write(pb.PerformResponse(replies=replies))

    async def scenario() -> list[Outcome]:
        async with talking(first_never) as (participant, _):
            slow = asyncio.create_task(ask(participant, 0, timeout_s=1.0))
            quick = await asyncio.gather(*(ask(participant, each) for each in range(1, 20)))
            assert not slow.done()
            return [*quick, await slow, await ask(participant, 1)]

    *quick, slow, after = asyncio.run(scenario())
    assert quick == [Applied()] * 19
    assert isinstance(slow, Unknown)
    assert (slow.code, slow.suspicious) == ("DEADLINE_EXCEEDED", False)
    assert after == Applied()


def test_an_answer_that_comes_too_late_counts_for_nobody() -> None:
    async def late(_talker: Talker, messages: Any, context: Any) -> None:
        kept: list[pb.Ask] = []
        async for message in messages:
            kept += message.asks
            if len(kept) > 1:  # the first one's answer comes with the second one's, and twice
                replies = [pb.Reply(number=each.number, answer=tried(each)) for each in kept]
                await context.write(pb.PerformResponse(replies=[*replies, *replies]))

    async def scenario() -> list[Outcome]:
        async with talking(late) as (participant, _):
            return [await ask(participant, 1, 0.1), await ask(participant, 2)]

    first, second = asyncio.run(scenario())
    assert isinstance(first, Unknown)
    assert second == Applied()


def test_a_reply_that_answers_nothing_is_suspicious() -> None:
    async def empty(_talker: Talker, messages: Any, context: Any) -> None:
        async for message in messages:
            stray = pb.Reply(number=9_999, answer=answer())
            replies = [stray, *(pb.Reply(number=each.number) for each in message.asks)]
            await context.write(pb.PerformResponse(replies=replies))

    async def scenario() -> Outcome:
        async with talking(empty) as (participant, _):
            return await ask(participant, 1)

    got = asyncio.run(scenario())
    assert isinstance(got, Unknown)
    assert (got.code, got.suspicious) == ("MALFORMED_ANSWER", True)


async def breaks(_talker: Talker, messages: Any, context: Any) -> None:
    async for _message in messages:
        await context.abort(grpc.StatusCode.INTERNAL, "something broke")


async def ends(_talker: Talker, messages: Any, _context: Any) -> None:
    async for _message in messages:
        return


async def babbles(_talker: Talker, messages: Any, context: Any) -> None:
    async for _message in messages:
        await context.write(pb.PerformResponse(replies=[pb.Reply(number=1)] * 30_000))


def after_an_answer(talk: Talk) -> Talk:
    async def answers_one(talker: Talker, messages: Any, context: Any) -> None:
        message = await anext(aiter(messages))
        reply = pb.Reply(number=message.asks[0].number, answer=tried(message.asks[0]))
        await context.write(pb.PerformResponse(replies=[reply]))
        await talk(talker, messages, context)

    return answers_one


@pytest.mark.parametrize("talk", [breaks, ends, babbles])
def test_what_is_open_when_a_stream_breaks_is_unknown_and_single_calls_follow(talk: Talk) -> None:
    async def scenario() -> tuple[list[Outcome], Outcome, int, int]:
        async with talking(after_an_answer(talk)) as (participant, talker):
            assert await ask(participant, 0) == Applied()
            lost = await asyncio.gather(*(ask(participant, each) for each in range(3)))
            after = await ask(participant, 4)
            return lost, after, talker.streams, talker.single

    lost, after, streams, single = asyncio.run(scenario())
    assert all(isinstance(each, Unknown) and not each.suspicious for each in lost), lost
    assert (after, streams, single) == (Applied(), 1, 1)


@pytest.mark.parametrize("talk", [breaks, ends, babbles])
def test_what_is_asked_over_a_stream_that_says_nothing_is_asked_by_a_single_call(
    talk: Talk,
) -> None:
    async def scenario() -> tuple[list[Outcome], int, int]:
        async with talking(talk) as (participant, talker):
            outcomes = await asyncio.gather(*(ask(participant, each) for each in range(3)))
            return outcomes, talker.streams, talker.single

    assert asyncio.run(scenario()) == ([Applied()] * 3, 1, 3)


def test_after_a_rest_a_stream_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(participant_grpc, "BROKEN_REST_S", 0.0)

    async def breaks_once(talker: Talker, messages: Any, context: Any) -> None:
        first = talker.streams == 1
        await (after_an_answer(ends) if first else answers_all)(talker, messages, context)

    async def scenario() -> tuple[Outcome, Outcome, int, int]:
        async with talking(breaks_once) as (participant, talker):
            assert await ask(participant, 0) == Applied()
            lost, after = await ask(participant, 1), await ask(participant, 2)
            return lost, after, talker.streams, talker.single

    lost, after, streams, single = asyncio.run(scenario())
    assert isinstance(lost, Unknown)
    assert (after, streams, single) == (Applied(), 2, 0)


def test_a_participant_without_streams_is_asked_by_single_calls_at_once() -> None:
    async def not_here(_talker: Talker, _messages: Any, context: Any) -> None:
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "no such method")

    async def scenario() -> tuple[list[Outcome], int, int]:
        async with talking(not_here) as (participant, talker):
            first = await asyncio.gather(*(ask(participant, each) for each in range(5)))
            then = await asyncio.gather(*(ask(participant, each) for each in range(5)))
            return [*first, *then], talker.streams, talker.single

    outcomes, streams, single = asyncio.run(scenario())
    assert (outcomes, streams, single) == ([Applied()] * 10, 1, 10)


def test_without_streams_none_is_opened() -> None:
    async def scenario() -> tuple[Outcome, int]:
        async with talking(answers_all) as (participant, talker):
            plain = GrpcParticipant(participant.target, streams=False)
            try:
                return await ask(plain, 1), talker.streams
            finally:
                await plain.close()

    assert asyncio.run(scenario()) == (Applied(), 0)


async def cancel(task: asyncio.Task[Outcome]) -> None:
    task.cancel()


def test_what_nobody_waits_for_any_more_is_not_asked() -> None:
    async def scenario() -> list[str]:
        async with talking(answers_all) as (participant, talker):
            await ask(participant, 0)
            gone = asyncio.create_task(ask(participant, 1))
            stays = asyncio.create_task(ask(participant, 2))
            leaves = asyncio.create_task(cancel(gone))  # when both wait, and neither has left
            await asyncio.gather(stays, leaves)
            return [tried(each).transaction_id for each in talker.messages[-1].asks]

    assert asyncio.run(scenario()) == [named(2)]
