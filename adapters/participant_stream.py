"""One stream of questions to one participant: `ParticipantService.Perform`.

What many payments ask while a message is on its way leaves together as the next one. Each question
is answered by itself, in any order, and has a time of its own: what is not answered by then is
given up, and an answer that comes later is not looked at.

A stream that ends is not opened again here. Every question that is open then fails with what ended
it; it may have been done.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Sequence
from typing import TypeAlias

import grpc
import grpc.aio
from kessai.participant.v1 import participant_pb2 as pb
from kessai.participant.v1 import participant_pb2_grpc as rpc

MAX_MESSAGE_BYTES = 64 * 1024
"""No message of the protocol that is used here comes near this, in either direction."""
MAX_ASKS = 64
"""Questions in one message at most: the longest are below 1 KB, and a message has to fit."""

_Request: TypeAlias = pb.TryRequest | pb.ConfirmRequest | pb.CancelRequest | pb.QueryRequest
_FIELDS: dict[type[_Request], str] = {
    pb.TryRequest: "try",
    pb.ConfirmRequest: "confirm",
    pb.CancelRequest: "cancel",
    pb.QueryRequest: "query",
}
_TIMED_OUT = "no answer in time"


class StreamEnded(Exception):
    """The question was not answered: its time is up, or the stream ended. It may have been done.

    reason  a stable code where the status is not enough, or empty
    """

    def __init__(self, status: grpc.StatusCode, details: str, reason: str = "") -> None:
        super().__init__(f"{status.name}: {details}")
        self.status = status
        self.details = details
        self.reason = reason

    def again(self) -> StreamEnded:
        """The same for somebody else: an exception that is raised twice grows its traceback."""
        return type(self)(self.status, self.details, self.reason)


class Unheard(StreamEnded):
    """The stream ended before the participant said anything on it: it may well serve none.

    What ended it is not always told as it was: a message that is being sent meanwhile hides
    UNIMPLEMENTED behind an INTERNAL of gRPC's own.
    """


class Stream:
    """A stream over `stub`'s channel, opened by its first question.

    end  what ended it; None while it can be asked
    """

    def __init__(self, stub: rpc.ParticipantServiceStub) -> None:
        self._stub = stub
        self._numbers = itertools.count(1)
        self._waiting: deque[pb.Ask] = deque()
        self._open: dict[int, asyncio.Future[pb.Reply]] = {}
        self._more = asyncio.Event()
        self._heard = False
        self._work: asyncio.Task[None] | None = None
        self.end: StreamEnded | None = None

    async def ask(self, request: _Request, timeout_s: float) -> pb.Reply:
        """Asks one question. Raises StreamEnded when it was not answered within `timeout_s`."""
        if self.end is not None:
            raise self.end.again()
        loop = asyncio.get_running_loop()
        number = next(self._numbers)
        ask = pb.Ask(
            number=number,
            timeout_millis=max(1, int(timeout_s * 1000)),
            **{_FIELDS[type(request)]: request},  # type: ignore[arg-type] # by its field's name
        )
        answered: asyncio.Future[pb.Reply] = loop.create_future()
        self._open[number] = answered
        self._waiting.append(ask)
        self._more.set()
        if self._work is None:
            self._work = loop.create_task(self._talk())
        timer = loop.call_later(timeout_s, _time_is_up, answered)
        try:
            return await answered
        finally:
            timer.cancel()
            self._open.pop(number, None)

    async def close(self) -> None:
        """Ends the stream; what is open fails."""
        closed = "the channel was closed during the call"
        self._ended(StreamEnded(grpc.StatusCode.CANCELLED, closed, "CHANNEL_CLOSED"))
        if self._work is not None:
            self._work.cancel()
            await asyncio.gather(self._work, return_exceptions=True)

    async def _talk(self) -> None:
        """Sends and hears until the stream ends, and says to everybody what ended it."""
        call = self._stub.Perform()
        sending = asyncio.create_task(self._send(call))
        sending.add_done_callback(lambda _: call.cancel())  # whoever cannot send hears nothing
        try:
            await self._hear(call)
            end = self._end(grpc.StatusCode.UNAVAILABLE, "the participant ended its stream")
        except grpc.aio.AioRpcError as error:
            end = self._end(error.code(), error.details() or "")
        except asyncio.CancelledError:
            self._ended(StreamEnded(grpc.StatusCode.CANCELLED, "the stream was given up"))
            raise
        except Exception as error:  # noqa: BLE001 - whatever it was, nobody may wait for ever
            end = self._end(grpc.StatusCode.INTERNAL, type(error).__name__)
        finally:
            sending.cancel()
            call.cancel()
            await asyncio.gather(sending, return_exceptions=True)
        self._ended(end)

    async def _send(self, call: _Call) -> None:
        while True:
            await self._more.wait()
            self._more.clear()
            while asks := self._next():
                await call.write(pb.PerformRequest(asks=asks))

    def _next(self) -> Sequence[pb.Ask]:
        """The questions of the next message, without those that nobody waits for any more."""
        asks: list[pb.Ask] = []
        while self._waiting and len(asks) < MAX_ASKS:
            ask = self._waiting.popleft()
            answered = self._open.get(ask.number)
            if answered is not None and not answered.done():
                asks.append(ask)
        return asks

    async def _hear(self, call: _Call) -> None:
        async for response in call:
            if response is None:
                raise StreamEnded(grpc.StatusCode.INTERNAL, "a message is not of the protocol")
            self._heard = True
            for reply in response.replies:
                answered = self._open.get(reply.number)
                if answered is not None and not answered.done():
                    answered.set_result(reply)

    def _end(self, status: grpc.StatusCode, details: str) -> StreamEnded:
        return (StreamEnded if self._heard else Unheard)(status, details)

    def _ended(self, end: StreamEnded) -> None:
        if self.end is not None:
            return
        self.end = end
        self._waiting.clear()
        for answered in self._open.values():
            if not answered.done():
                answered.set_exception(end.again())


_Call: TypeAlias = "grpc.aio.StreamStreamCall[pb.PerformRequest, pb.PerformResponse]"


def _time_is_up(answered: asyncio.Future[pb.Reply]) -> None:
    if not answered.done():
        answered.set_exception(StreamEnded(grpc.StatusCode.DEADLINE_EXCEEDED, _TIMED_OUT))
