"""Speaks `kessai.participant.v1` to one participant; `participant_answers` says what it means.

Where the participant serves Perform, everything is asked over one stream (`participant_stream`): a
call of its own for each question costs several times as much. One that does not is asked by a
method for each question, and so is one whose stream broke, for a while: there one question's
trouble is its own.

The coordinator alone retries, so gRPC's own retries are off, and a call to a participant that is
down fails at once instead of waiting for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeAlias, cast

import grpc
import grpc.aio
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2
from kessai.participant.v1 import participant_pb2 as pb
from kessai.participant.v1 import participant_pb2_grpc as rpc

from adapters.participant_answers import outcome_of, outcome_of_error
from adapters.participant_stream import MAX_MESSAGE_BYTES, Stream, StreamEnded, Unheard
from coordinator.domain.decide import Call
from coordinator.domain.ids import TransactionId
from coordinator.domain.money import Money
from coordinator.domain.outcome import Outcome, Unknown
from coordinator.domain.phase import Operation

BROKEN_REST_S = 5.0
"""For so long a participant whose stream broke is asked by single calls, in seconds."""
NOT_SERVED_REST_S = 300.0
"""For so long one that does not serve streams is: it may be replaced by a newer one."""

_OPTIONS = (
    ("grpc.enable_retries", 0),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_metadata_size", 16 * 1024),
    # A participant that comes back is found again within a second, not within gRPC's two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # One attempt to connect, against twenty seconds by default: packets that vanish, vanish early.
    ("grpc.min_reconnect_backoff_ms", 2000),
    # A peer that vanished without a FIN is given up on; pings are only sent while calls are open.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # coordinator/config.py alone reads the environment: no http_proxy behind our back.
    ("grpc.enable_http_proxy", 0),
)


_Request: TypeAlias = pb.TryRequest | pb.ConfirmRequest | pb.CancelRequest | pb.QueryRequest
_METHODS: Mapping[Operation, str] = {
    Operation.TRY: "Try",
    Operation.CONFIRM: "Confirm",
    Operation.CANCEL: "Cancel",
    Operation.QUERY: "Query",
}


class GrpcParticipant:
    """One participant at `target` (`host:port`). Implements `coordinator.ports.Participant`.

    The channel is made by the first call, in its running loop; `close()` ends it, and calls that
    are still open then end as Unknown. Without `streams`, and with interceptors, which see each
    question, every question is a call of its own.
    """

    def __init__(
        self,
        target: str,
        *,
        credentials: grpc.ChannelCredentials | None = None,
        streams: bool = True,
        interceptors: Sequence[Any] = (),  # grpc.aio.ClientInterceptor, which the stubs lack
    ) -> None:
        self.target = target
        self._credentials = credentials
        self._interceptors = interceptors
        self._streams = streams and not interceptors
        self._channel: grpc.aio.Channel | None = None
        self._stub: rpc.ParticipantServiceStub | None = None
        self._stream: Stream | None = None
        self._rest_until = 0.0

    def __repr__(self) -> str:
        return f"GrpcParticipant({self.target!r})"

    async def perform(
        self, transaction_id: TransactionId, call: Call, hold_until: datetime
    ) -> Outcome:
        """Makes one call, at most `call.timeout_s` long, and says what it told us.

        Raises nothing but asyncio.CancelledError, and that only when the calling task is cancelled.
        """
        try:
            return await self._ask(transaction_id, call, hold_until)
        except grpc.aio.AioRpcError as error:
            details = error.details() or ""
            return outcome_of_error(call, error.code(), _error_info_reason(error), details)
        except asyncio.CancelledError:
            # gRPC says the same when the channel was closed under an open call; that is no reason
            # to end the caller's task, and the request may have left.
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            return Unknown("CHANNEL_CLOSED", "the channel was closed during the call")
        except Exception as error:  # noqa: BLE001 - the port never raises; the type is journaled
            # Only the type: a message of unknown origin could hold the request.
            return Unknown("ADAPTER_ERROR", type(error).__name__)

    async def close(self) -> None:
        """Ends the channel. Calls that are open end as Unknown; a later call opens it again."""
        stream, self._stream = self._stream, None
        channel, self._channel, self._stub = self._channel, None, None
        if stream is not None:
            await stream.close()
        if channel is not None:
            await channel.close(None)

    async def _ask(
        self, transaction_id: TransactionId, call: Call, hold_until: datetime
    ) -> Outcome:
        stub = self._stub or self._connect()
        request = _request(transaction_id, call, hold_until)
        stream = self._open_stream(stub)
        left_s = call.timeout_s
        if stream is not None:
            clock = asyncio.get_running_loop().time
            end = clock() + call.timeout_s
            try:
                reply = await stream.ask(request, call.timeout_s)
            except Unheard:
                left_s = end - clock()  # to ask again is safe: whatever it has done, it did once
            except StreamEnded as ended:
                return outcome_of_error(call, ended.status, ended.reason, ended.details)
            else:
                return _outcome_of_reply(transaction_id, call, reply)
        method = getattr(stub, _METHODS[call.operation])
        response = await method(request, timeout=left_s)
        return outcome_of(transaction_id, call, None if response is None else response.answer)

    def _open_stream(self, stub: rpc.ParticipantServiceStub) -> Stream | None:
        """The stream to ask over; None while single calls are made."""
        if not self._streams:
            return None
        now = asyncio.get_running_loop().time()
        stream = self._stream
        if stream is not None and stream.end is not None:
            served = stream.end.status is not grpc.StatusCode.UNIMPLEMENTED
            self._rest_until = now + (BROKEN_REST_S if served else NOT_SERVED_REST_S)
            self._stream = stream = None
        if stream is None and now >= self._rest_until:
            self._stream = stream = Stream(stub)
        return stream

    def _connect(self) -> rpc.ParticipantServiceStub:
        if self._credentials is None:
            self._channel = grpc.aio.insecure_channel(
                self.target, options=_OPTIONS, interceptors=self._interceptors
            )
        else:
            self._channel = grpc.aio.secure_channel(
                self.target,
                self._credentials,
                options=_OPTIONS,
                interceptors=self._interceptors,
            )
        self._stub = rpc.ParticipantServiceStub(self._channel)
        return self._stub


def _request(transaction_id: TransactionId, call: Call, hold_until: datetime) -> _Request:
    phase = call.phase.name
    match call.operation:
        case Operation.TRY:
            return pb.TryRequest(
                transaction_id=transaction_id,
                phase=phase,
                amount=_money(call.step.amount),
                account=call.step.source,
                hold_until=hold_until,
                refund_of=_original(call),
            )
        case Operation.CONFIRM:
            return pb.ConfirmRequest(
                transaction_id=transaction_id, phase=phase, amount=_money(call.step.final)
            )
        case Operation.CANCEL:
            return pb.CancelRequest(transaction_id=transaction_id, phase=phase)
        case Operation.QUERY:
            return pb.QueryRequest(transaction_id=transaction_id, phase=phase)


def _original(call: Call) -> pb.OriginalStep | None:
    if call.refund_of is None:
        return None
    return pb.OriginalStep(transaction_id=call.refund_of, phase=call.phase.name)


def _money(money: Money | None) -> pb.Money:
    assert money is not None, "a phase that calls a participant moves money"
    return pb.Money(currency_code=money.currency, minor_units=money.minor)


def _outcome_of_reply(transaction_id: TransactionId, call: Call, reply: pb.Reply) -> Outcome:
    match reply.WhichOneof("result"):
        case "answer":
            return outcome_of(transaction_id, call, reply.answer)
        case "error":
            error = reply.error
            status = _STATUSES.get(error.code, grpc.StatusCode.UNKNOWN)
            return outcome_of_error(call, status, error.reason, error.message)
        case _:
            return outcome_of(transaction_id, call, None)


_STATUSES = {
    status.value[0]: status
    for status in grpc.StatusCode
    if status is not grpc.StatusCode.OK  # an error that says OK says nothing
}


def _error_info_reason(error: grpc.aio.AioRpcError) -> str:
    """The reason of google.rpc.ErrorInfo, where the error carries one."""
    metadata = cast("Iterable[tuple[str, str | bytes]]", error.trailing_metadata() or ())
    for key, value in metadata:
        if key != "grpc-status-details-bin" or not isinstance(value, bytes):
            continue
        try:
            details = status_pb2.Status.FromString(value).details
            info = error_details_pb2.ErrorInfo()
            if any(item.Unpack(info) for item in details):
                return str(info.reason)
        except DecodeError:
            return ""
    return ""
