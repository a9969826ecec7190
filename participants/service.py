"""The protocol over gRPC: check the request, ask the fence, answer or fail with a reason.

The service is asynchronous, so that a call that waits holds no thread; the fence's database work
runs in the threads of an executor. A synchronous server needs none of this: it calls the `Fence`
itself and hands what it raises to `status_of`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import Executor
from typing import Any, NoReturn, TypeAlias, TypeVar

import grpc
import structlog
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status
from kessai.participant.v1 import participant_pb2 as pb
from kessai.participant.v1 import participant_pb2_grpc as rpc
from protovalidate import Validator, Violation

from participants import world
from participants.errors import ERROR_DOMAIN, FenceError, InvalidRequest
from participants.fence import Fence, Request
from participants.performing import Conversation

Asked = TypeVar("Asked", bound=Message)
Answered = TypeVar("Answered", bound=Message)
A = TypeVar("A")
B = TypeVar("B")
Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]

_log = structlog.get_logger("kessai.participant")
_VALIDATOR = Validator()


def require_valid(request: Message) -> None:
    """Raises InvalidRequest when the request breaks a rule that the proto states."""
    violations = [
        (_field(found), found.proto.message) for found in _VALIDATOR.collect_violations(request)
    ]
    if isinstance(request, pb.TryRequest) and not (
        request.account or request.HasField("refund_of")
    ):
        violations.append(("account", "must be set; only a refund has none"))
    if violations:
        raise InvalidRequest(violations)


def _field(found: Violation) -> str:
    path = found.proto.field
    return ".".join(element.field_name for element in path.elements) if path else ""


def status_of(error: FenceError) -> status_pb2.Status:
    """The error as a google.rpc.Status with ErrorInfo, and BadRequest for a malformed request."""
    details: list[Message] = [error_details_pb2.ErrorInfo(domain=ERROR_DOMAIN, reason=error.reason)]
    if isinstance(error, InvalidRequest):
        fields = [
            error_details_pb2.BadRequest.FieldViolation(field=field, description=what)
            for field, what in error.violations
        ]
        details.append(error_details_pb2.BadRequest(field_violations=fields))
    packed = []
    for detail in details:
        packed.append(AnyMessage())
        packed[-1].Pack(detail)
    return status_pb2.Status(
        code=code_pb2.Code.Value(error.code.name), message=str(error), details=packed
    )


class ParticipantService(rpc.ParticipantServiceServicer):
    """Serves a `Fence` in a `grpc.aio` server. `executor` gives its database work threads."""

    def __init__(self, fence: Fence, executor: Executor) -> None:
        self._fence = fence
        self._executor = executor
        self._stop = asyncio.Event()

    async def Try(  # noqa: N802  gRPC
        self, request: pb.TryRequest, context: Context
    ) -> pb.TryResponse:
        """Holds."""
        return await _or_abort("try", request, context, self.perform_try)

    async def Confirm(  # noqa: N802  gRPC
        self, request: pb.ConfirmRequest, context: Context
    ) -> pb.ConfirmResponse:
        """Makes final."""
        return await _or_abort("confirm", request, context, self.perform_confirm)

    async def Cancel(  # noqa: N802  gRPC
        self, request: pb.CancelRequest, context: Context
    ) -> pb.CancelResponse:
        """Undoes."""
        return await _or_abort("cancel", request, context, self.perform_cancel)

    async def Query(  # noqa: N802  gRPC
        self, request: pb.QueryRequest, context: Context
    ) -> pb.QueryResponse:
        """Reads."""
        return await _or_abort("query", request, context, self.perform_query)

    async def Perform(  # noqa: N802  gRPC
        self, request_iterator: AsyncIterator[pb.PerformRequest], context: Context
    ) -> None:
        """Answers many questions over one call."""
        await Conversation(self, context.write).perform(request_iterator, self._stop)

    async def ListTransactions(  # noqa: N802  gRPC
        self, request: pb.ListTransactionsRequest, context: Context
    ) -> pb.ListTransactionsResponse:
        """Lists."""
        return await _or_abort("list", request, context, self.perform_list)

    def end_streams(self) -> None:
        """Every stream ends once what was asked over it is answered; a server stops for them."""
        self._stop.set()

    async def perform_try(self, request: pb.TryRequest) -> pb.TryResponse:
        """Asks the fence about a request that is well formed; so do the methods below."""
        return await self._in_thread(self._fence.try_, request)

    async def perform_confirm(self, request: pb.ConfirmRequest) -> pb.ConfirmResponse:
        """Confirms."""
        return await self._in_thread(self._fence.confirm, request)

    async def perform_cancel(self, request: pb.CancelRequest) -> pb.CancelResponse:
        """Cancels."""
        return await self._in_thread(self._fence.cancel, request)

    async def perform_query(self, request: pb.QueryRequest) -> pb.QueryResponse:
        """Queries."""
        return await self._in_thread(self._fence.query, request)

    async def perform_list(
        self, request: pb.ListTransactionsRequest
    ) -> pb.ListTransactionsResponse:
        """Lists."""
        return await self._in_thread(self._fence.list_transactions, request)

    async def perform_alone(self, request: Request) -> pb.Answer:
        """See `Performer`."""
        match request:
            case pb.TryRequest():
                return (await _answer("try", request, self.perform_try)).answer
            case pb.ConfirmRequest():
                return (await _answer("confirm", request, self.perform_confirm)).answer
            case pb.CancelRequest():
                return (await _answer("cancel", request, self.perform_cancel)).answer
            case pb.QueryRequest():
                return (await _answer("query", request, self.perform_query)).answer

    async def perform_together(self, requests: Sequence[Request]) -> Sequence[pb.Answer]:
        """See `Performer`."""
        started = world.elapsed_s()
        answers = await self._in_thread(self._fence.answer_together, requests)
        seconds = _since(started)
        for answer in answers:
            _log.info(
                "answered",
                operation="perform",
                transaction_id=answer.transaction_id,
                phase=answer.phase,
                status=pb.Status.Name(answer.status),
                refusal=answer.refusal.code,
                seconds=seconds,
            )
        return answers

    def check(self, request: Request) -> None:
        """See `Performer`."""
        require_valid(request)

    def takes_long(self, _request: Request) -> bool:
        """See `Performer`."""
        return False

    def keeps_back_s(self, _request: Request) -> float:
        """See `Performer`."""
        return 0.0

    async def _in_thread(self, work: Callable[[A], B], asked: A) -> B:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work, asked)


async def _answer(
    operation: str, request: Asked, perform: Callable[[Asked], Awaitable[Answered]]
) -> Answered:
    """What `perform` answers. One log line either way. Raises FenceError, and nothing else."""
    log = _log.bind(
        operation=operation,
        transaction_id=getattr(request, "transaction_id", ""),
        phase=getattr(request, "phase", ""),
    )
    started = world.elapsed_s()
    try:
        require_valid(request)
        response = await perform(request)
    except FenceError as error:
        log.info("not done", reason=error.reason, seconds=_since(started))
        raise
    except asyncio.CancelledError:
        log.info("the client has gone", seconds=_since(started))
        raise
    except Exception as error:
        log.exception("failed", seconds=_since(started))
        raise FenceError("internal error") from error
    answer = getattr(response, "answer", None)
    if isinstance(answer, pb.Answer):
        log = log.bind(status=pb.Status.Name(answer.status), refusal=answer.refusal.code)
    log.info("answered", seconds=_since(started))
    return response


async def _or_abort(
    operation: str,
    request: Asked,
    context: Context,
    perform: Callable[[Asked], Awaitable[Answered]],
) -> Answered:
    """What `perform` answers, or a gRPC error with its reason."""
    try:
        return await _answer(operation, request, perform)
    except FenceError as error:
        await _fail(context, error)


async def _fail(context: Context, error: FenceError) -> NoReturn:
    metadata = rpc_status.to_status(status_of(error)).trailing_metadata
    await context.abort(error.code, str(error), trailing_metadata=metadata)
    raise AssertionError("abort() raises")


def _since(started: float) -> float:
    return round(world.elapsed_s() - started, 4)
