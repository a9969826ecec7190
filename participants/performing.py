"""Perform: many questions over one stream, each answered by itself.

What has come while the database was busy is answered together, in one local transaction: one
commit for many. When anything is wrong with one of them nothing of it is done, and each is asked
alone. What takes long is a task of its own from the start.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from typing import Any, Protocol, TypeAlias

from kessai.participant.v1 import participant_pb2 as pb

from participants import world
from participants.errors import FenceError, InvalidRequest
from participants.fence import Request

MAX_TOGETHER = 64
"""Questions in one local transaction, and answers in one message, at most."""
MAX_TRANSACTIONS = 4
"""Local transactions of one stream that run at once: one that waits for a row holds up no other."""
MAX_OPEN = 4_000
"""Questions of one stream that are not answered yet; beyond it nothing more is read."""

Write: TypeAlias = Callable[[pb.PerformResponse], Awaitable[None]]


class Performer(Protocol):
    """What answers."""

    async def perform_alone(self, request: Request) -> pb.Answer:
        """Answers a request that is well formed. Raises FenceError, and nothing else."""

    async def perform_together(self, requests: Sequence[Request]) -> Sequence[pb.Answer]:
        """Answers all of them, or raises whatever it likes, and then did nothing."""

    def check(self, request: Request) -> None:
        """Raises FenceError for a request that is not well formed."""

    def takes_long(self, request: Request) -> bool:
        """Whether it may hold up others."""

    def keeps_back_s(self, request: Request) -> float:
        """How much later the answer to what was done together is to be sent, in seconds."""


class Conversation:
    """One stream. `perform` returns once the asker has said all and has every answer."""

    def __init__(self, performer: Performer, write: Write) -> None:
        self._performer = performer
        self._write = write
        self._asked: deque[pb.Ask] = deque()
        self._replies: deque[pb.Reply] = deque()
        self._open = 0
        self._fewer = asyncio.Event()
        self._more_replies = asyncio.Event()
        self._transactions = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def perform(
        self, messages: AsyncIterator[pb.PerformRequest], stop: asyncio.Event
    ) -> None:
        """Answers what comes, until the messages end or `stop` is set."""
        writing = asyncio.create_task(self._write_all())
        reading = asyncio.create_task(self._read(messages))
        stopping = asyncio.create_task(stop.wait())
        try:
            done, _ = await asyncio.wait(
                {reading, stopping, writing}, return_when=asyncio.FIRST_COMPLETED
            )
            while self._tasks and not writing.done():
                await asyncio.wait({*self._tasks, writing}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            await self._flush()
        finally:
            ending = [writing, reading, stopping, *self._tasks]
            for each in ending:
                each.cancel()
            await asyncio.gather(*ending, return_exceptions=True)

    async def _read(self, messages: AsyncIterator[pb.PerformRequest]) -> None:
        async for message in messages:
            self._open += len(message.asks)
            for ask in message.asks:
                self._take(ask)
            self._begin_transaction()
            while self._open >= MAX_OPEN:
                self._fewer.clear()
                await self._fewer.wait()

    def _take(self, ask: pb.Ask) -> None:
        try:
            request = request_of(ask)
            self._performer.check(request)
        except FenceError as error:
            self._reply(ask, error)
            return
        if self._performer.takes_long(request):
            self._begin(self._alone(ask))
        else:
            self._asked.append(ask)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _begin_transaction(self) -> None:
        if self._asked and self._transactions < MAX_TRANSACTIONS:
            self._transactions += 1
            self._begin(self._together())

    async def _together(self) -> None:
        try:
            while self._asked:
                asks = [self._asked.popleft() for _ in range(min(MAX_TOGETHER, len(self._asked)))]
                await self._answer(asks)
        finally:
            self._transactions -= 1

    async def _answer(self, asks: Sequence[pb.Ask]) -> None:
        requests = [request_of(ask) for ask in asks]
        try:
            answers = await self._performer.perform_together(requests)
        except Exception:  # noqa: BLE001 - one of them; each learns by itself what it was
            for ask in asks:
                self._begin(self._alone(ask))
            return
        for ask, request, answer in zip(asks, requests, answers, strict=True):
            wait_s = self._performer.keeps_back_s(request)
            if wait_s:
                self._begin(self._reply_later(ask, answer, wait_s))
            else:
                self._reply(ask, answer)

    async def _alone(self, ask: pb.Ask) -> None:
        try:
            answer = await self._performer.perform_alone(request_of(ask))
        except FenceError as error:
            self._reply(ask, error)
        else:
            self._reply(ask, answer)

    async def _reply_later(self, ask: pb.Ask, answer: pb.Answer, wait_s: float) -> None:
        await world.sleep(wait_s)
        self._reply(ask, answer)

    def _reply(self, ask: pb.Ask, said: pb.Answer | FenceError) -> None:
        if isinstance(said, FenceError):
            error = pb.Error(code=said.code.value[0], reason=said.reason, message=str(said))
            reply = pb.Reply(number=ask.number, error=error)
        else:
            reply = pb.Reply(number=ask.number, answer=said)
        self._replies.append(reply)
        self._more_replies.set()
        self._open -= 1
        if self._open < MAX_OPEN:
            self._fewer.set()

    async def _write_all(self) -> None:
        while True:
            await self._more_replies.wait()
            await self._flush()

    async def _flush(self) -> None:
        self._more_replies.clear()
        while self._replies:
            many = min(MAX_TOGETHER, len(self._replies))
            replies = [self._replies.popleft() for _ in range(many)]
            await self._write(pb.PerformResponse(replies=replies))


def request_of(ask: pb.Ask) -> Request:
    """The question itself. Raises FenceError where there is none."""
    match ask.WhichOneof("request"):
        case "confirm":
            return ask.confirm
        case "cancel":
            return ask.cancel
        case "query":
            return ask.query
        case "try":
            request: pb.TryRequest = getattr(ask, "try")
            return request
        case _:
            raise InvalidRequest([("request", "must be set")])
