"""gRPC interceptors that lose, delay and fail calls: ours to participants, and those of callers.

Health checks, reflection and operators' calls are left alone. What is answered instead of the truth
says that it was injected.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import grpc
import grpc.aio
from kessai.participant.v1 import callbacks_pb2
from kessai.payments.v1 import payments_pb2

from fault_injection.faults import kinds
from fault_injection.faults.injection import INJECTED, Injection
from fault_injection.faults.kinds import Area
from fault_injection.faults.rules import Rule

_CALLERS = frozenset(
    {
        payments_pb2.DESCRIPTOR.services_by_name["PaymentService"].full_name,
        callbacks_pb2.DESCRIPTOR.services_by_name["CallbackService"].full_name,
    }
)
_LOST = frozenset({kinds.REQUEST_LOST, kinds.OUTAGE})
FOR_EVER_S = 3600.0
"""How long an answer is kept back from a caller that set no deadline, in seconds."""
Answer: TypeAlias = Callable[[Any, Any], Awaitable[Any]]
if TYPE_CHECKING:  # the stubs are generic, the classes are not
    _OfClient = grpc.aio.UnaryUnaryClientInterceptor[Any, Any]
    _OfServer = grpc.aio.ServerInterceptor[Any, Any]
else:
    _OfClient, _OfServer = grpc.aio.UnaryUnaryClientInterceptor, grpc.aio.ServerInterceptor
Stream: TypeAlias = Callable[[Any, Any], AsyncIterator[Any]]


class ToParticipant(_OfClient):
    """Calls to one participant meet faults on their way there, or back."""

    def __init__(self, participant: str, injection: Injection) -> None:
        self._participant = participant
        self._injection = injection

    async def intercept_unary_unary(
        self, continuation: Any, client_call_details: Any, request: Any
    ) -> Any:
        """See `grpc.aio.UnaryUnaryClientInterceptor`. Raises AioRpcError."""
        method = _text(client_call_details.method).rpartition("/")[2]
        rule = self._injection.strikes(
            Area.OUTGOING,
            method,
            (self._participant,),
            getattr(request, "transaction_id", None),
        )
        if rule is None:
            return await continuation(client_call_details, request)
        name, clock = rule.kind.name, self._injection.clock
        began = clock.monotonic()
        left_s = client_call_details.timeout or FOR_EVER_S
        if name == kinds.ERROR:
            raise _error(grpc.StatusCode[rule.code])
        if name in _LOST:
            await clock.sleep(left_s)
            raise _error(grpc.StatusCode.DEADLINE_EXCEEDED)
        call = await continuation(client_call_details, request)
        answer = await call
        if name == kinds.ERROR_AFTER:
            raise _error(grpc.StatusCode[rule.code])
        left_s = max(0.0, left_s - (clock.monotonic() - began))
        if name == kinds.REPLY_LOST or _delay_s(rule) >= left_s:
            await clock.sleep(left_s)
            raise _error(grpc.StatusCode.DEADLINE_EXCEEDED)
        await clock.sleep(_delay_s(rule))
        return answer


class FromCallers(_OfServer):
    """Calls of callers meet faults before they are handled, or before they are answered."""

    def __init__(self, injection: Injection) -> None:
        self._injection = injection

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        """See `grpc.aio.ServerInterceptor`."""
        handler = await continuation(handler_call_details)
        service, _, method = _text(handler_call_details.method).strip("/").rpartition("/")
        if handler is None or service not in _CALLERS:
            return handler
        if handler.unary_unary is not None:
            return handler._replace(unary_unary=self._answering(method, handler.unary_unary))
        if handler.unary_stream is not None:
            return handler._replace(unary_stream=self._streaming(method, handler.unary_stream))
        return handler

    def _answering(self, method: str, answer: Answer) -> Answer:
        async def answered(request: Any, context: Any) -> Any:
            rule = self._injection.strikes(Area.INCOMING, method)
            if rule is None:
                return await answer(request, context)
            await self._before(rule, context)
            response = await answer(request, context)
            await self._after(rule, context)
            return response

        return answered

    def _streaming(self, method: str, stream: Stream) -> Stream:
        async def streamed(request: Any, context: Any) -> AsyncIterator[Any]:
            rule = self._injection.strikes(Area.INCOMING, method)
            if rule is not None:
                await self._before(rule, context)
            async for response in stream(request, context):
                if rule is not None:  # before the first of them
                    await self._after(rule, context)
                    rule = None
                yield response

        return streamed

    async def _before(self, rule: Rule, context: Any) -> None:
        if rule.kind.name == kinds.ERROR:
            await context.abort(grpc.StatusCode[rule.code], INJECTED)
        if rule.kind.name == kinds.REQUEST_LOST:
            await self._keep_back(context)

    async def _after(self, rule: Rule, context: Any) -> None:
        if rule.kind.name == kinds.ERROR_AFTER:
            await context.abort(grpc.StatusCode[rule.code], INJECTED)
        if rule.kind.name == kinds.REPLY_LOST:
            await self._keep_back(context)
        if rule.kind.name == kinds.SLOW:
            await self._injection.clock.sleep(_delay_s(rule))

    async def _keep_back(self, context: Any) -> None:
        """Nothing is answered until the caller has given up."""
        left_s = context.time_remaining()
        await self._injection.clock.sleep(FOR_EVER_S if left_s is None else max(0.0, left_s))
        await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, INJECTED)


def _text(method: str | bytes) -> str:
    return method.decode() if isinstance(method, bytes) else method


def _delay_s(rule: Rule) -> float:
    assert rule.duration_s is not None, f"{rule.kind.name} has a duration"
    return rule.duration_s


def _error(code: grpc.StatusCode) -> grpc.aio.AioRpcError:
    nothing = grpc.aio.Metadata()
    return grpc.aio.AioRpcError(code, nothing, nothing, INJECTED, None)
