"""A participant's front: hands calls on as they are, and lets some of them go wrong.

It speaks gRPC in bytes alone, so it stands before any participant. Every method is served as a
stream, which is the same on the wire and can also be one that never ends.
"""

from __future__ import annotations

import random  # noqa: TID251 - seeded: which calls go wrong, and how
from collections import Counter
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from adapters.system import SystemClock
from fault_injection.network.answers import POLITE, SPOILT_METHODS, Fate, spoilt

FOREVER_S = 3600.0
DROP_S = 0.002
"""How long after each nothing the next one comes, in seconds."""
_STOP_S = 0.5


if TYPE_CHECKING:  # the stubs are generic, the class is not
    _Handler = grpc.GenericRpcHandler[bytes, bytes]
else:
    _Handler = grpc.GenericRpcHandler


class Front(_Handler):
    """Listens on a free port of 127.0.0.1 and hands every call on to `target` (HOST:PORT)."""

    def __init__(self, target: str, seed: str) -> None:
        self._chance = random.Random(seed)  # noqa: S311 - no secret is made of it
        self._clock = SystemClock()
        options = (("grpc.enable_http_proxy", 0), ("grpc.max_reconnect_backoff_ms", 1000))
        self._channel = grpc.aio.insecure_channel(target, options=options)
        self._server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
        self._server.add_generic_rpc_handlers((self,))
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self.manners = POLITE
        self.spoilt: Counter[Fate] = Counter()

    async def open(self) -> None:
        """Begins to take calls."""
        await self._server.start()

    async def close(self) -> None:
        """Ends every call."""
        await self._server.stop(_STOP_S)
        await self._channel.close(None)

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        """One handler for every method there is, but for streams of questions.

        Behind a front each question is a call of its own, which can go wrong by itself.
        """
        method = details.method
        if method.endswith("/Perform"):
            return None

        async def take(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
            async for request in requests:
                async for reply in self._answer(method, request, context):
                    yield reply
                return

        return grpc.stream_stream_rpc_method_handler(take)

    async def _answer(self, path: str, request: bytes, context: Any) -> AsyncIterator[bytes]:
        method = path.rpartition("/")[2]
        fate = self._draw(method)
        if fate is Fate.REQUEST_LOST:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the request was lost")
        reply = await self._handed_on(path, request, context)
        match fate:
            case None:
                yield reply
            case Fate.REPLY_LOST:
                await context.abort(grpc.StatusCode.UNAVAILABLE, "the reply was lost")
            case Fate.SILENT:
                await self._clock.sleep(FOREVER_S)
            case Fate.ENDLESS:
                while True:
                    yield b""
                    await self._clock.sleep(DROP_S)
            case _:
                yield spoilt(fate, method, reply)

    def _draw(self, method: str) -> Fate | None:
        manners = self.manners
        if method not in SPOILT_METHODS or self._chance.random() >= manners.share:
            return None
        fate = self._chance.choice(manners.fates)
        self.spoilt[fate] += 1
        return fate

    async def _handed_on(self, path: str, request: bytes, context: Any) -> bytes:
        ask: Any = self._channel.unary_unary  # the stubs want what turns bytes into bytes
        call = ask(path)(request, timeout=context.time_remaining())
        try:
            reply: bytes = await call
        except grpc.aio.AioRpcError as error:
            trailers = tuple(error.trailing_metadata() or ())
            await context.abort(error.code(), error.details() or "", trailers)
            raise  # abort has raised
        return reply
