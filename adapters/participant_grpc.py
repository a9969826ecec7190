"""Speaks `kessai.participant.v1` to one participant, and turns what it says into an Outcome.

Two tables hold all the judgement: `_ANSWERS` (operation × status) and `_SUSPICIOUS` (gRPC codes
that mean that the two sides disagree). Nothing else here decides. The rules behind them:

- A refusal is an answer. A gRPC error of any kind is Unknown: the request may have arrived.
- An answer counts only if it echoes what was asked (transaction, phase, amount); otherwise it is
  Unknown, and a person is told.
- REFUSED to a Cancel is a refusal after the decision: it is handed on as Refused, so that the step
  rests for a while and is flagged (design §3.5). It must not count as cancelled: the participant
  may mean "I refuse to undo" as well as "nothing is held".
- Whatever a participant wrote is clipped, freed of control characters and, where the step's source
  is a secret, of that secret, before it goes anywhere.

The coordinator alone retries, so gRPC's own retries are off, and a call to a participant that is
down fails at once instead of waiting for it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from enum import Enum, auto
from typing import Any, TypeAlias, cast

import grpc
import grpc.aio
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2
from kessai.participant.v1 import participant_pb2 as pb
from kessai.participant.v1 import participant_pb2_grpc as rpc

from coordinator.domain.decide import Call
from coordinator.domain.ids import TransactionId
from coordinator.domain.money import Money
from coordinator.domain.outcome import (
    CANCELLED_AT_PARTICIPANT,
    UNKNOWN_TRANSACTION,
    Applied,
    NextAction,
    Outcome,
    Pending,
    Refused,
    Unknown,
)
from coordinator.domain.phase import Operation

MAX_CODE = 64
MAX_REASON = 200
MAX_REFERENCE = 128
MAX_URL = 2048
MAX_MESSAGE_BYTES = 64 * 1024
"""No message of the protocol that is used here comes near this, in either direction."""

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


class _Meaning(Enum):
    """What a status means as the answer to an operation. What is in no table is unexpected."""

    APPLIED = auto()
    """Done. The answer must name the amount, and it must be ours."""
    FINAL = auto()
    """Done, and final. What became final must be ours as well."""
    PENDING = auto()
    """Will be decided. The answer must name the amount, and it must be ours."""
    REFUSED = auto()
    """Refused for good, with the participant's code and reason."""
    TOMBSTONE = auto()
    """Refused for good because a Cancel came first."""
    NOTHING_KNOWN = auto()
    """The participant has not seen it: it may still be under way."""


_ANSWERS: Mapping[tuple[Operation, int], _Meaning] = {
    (Operation.TRY, pb.STATUS_HELD): _Meaning.APPLIED,
    (Operation.TRY, pb.STATUS_PENDING): _Meaning.PENDING,
    (Operation.TRY, pb.STATUS_REFUSED): _Meaning.REFUSED,
    (Operation.TRY, pb.STATUS_CANCELLED): _Meaning.TOMBSTONE,
    (Operation.QUERY, pb.STATUS_HELD): _Meaning.APPLIED,
    (Operation.QUERY, pb.STATUS_CONFIRMED): _Meaning.FINAL,
    (Operation.QUERY, pb.STATUS_PENDING): _Meaning.PENDING,
    (Operation.QUERY, pb.STATUS_REFUSED): _Meaning.REFUSED,
    (Operation.QUERY, pb.STATUS_CANCELLED): _Meaning.TOMBSTONE,
    (Operation.QUERY, pb.STATUS_UNKNOWN_TRANSACTION): _Meaning.NOTHING_KNOWN,
    (Operation.CONFIRM, pb.STATUS_CONFIRMED): _Meaning.FINAL,
    (Operation.CONFIRM, pb.STATUS_REFUSED): _Meaning.REFUSED,
    (Operation.CANCEL, pb.STATUS_CANCELLED): _Meaning.APPLIED,
    (Operation.CANCEL, pb.STATUS_REFUSED): _Meaning.REFUSED,
}

_AMOUNT_MAY_BE_UNSET = {_Meaning.REFUSED, _Meaning.TOMBSTONE, _Meaning.NOTHING_KNOWN}
"""A Try may be unknown to whoever answers one of these (and to every Cancel)."""

_SUSPICIOUS = {
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.INVALID_ARGUMENT,
}
"""The participant understood and disagrees: another amount, a Confirm without a Try, a bad
request."""

_Request: TypeAlias = pb.TryRequest | pb.ConfirmRequest | pb.CancelRequest | pb.QueryRequest
_Response: TypeAlias = pb.TryResponse | pb.ConfirmResponse | pb.CancelResponse | pb.QueryResponse

_TAKEN_OUT = "[secret]"
_WEB_ADDRESS = re.compile(r"https?://[!-~]+")
_MAY_BE_SECRET = re.compile(r"(?=\S*[0-9_])\S{8,}")
_NOT_CODE = re.compile(r"[^A-Z0-9_]+")


class GrpcParticipant:
    """One participant at `target` (`host:port`). Implements `coordinator.ports.Participant`.

    The channel is made by the first call, in its running loop; `close()` ends it, and calls that
    are still open then end as Unknown.
    """

    def __init__(
        self,
        target: str,
        *,
        credentials: grpc.ChannelCredentials | None = None,
        interceptors: Sequence[Any] = (),  # grpc.aio.ClientInterceptor, which the stubs lack
    ) -> None:
        self._target = target
        self._credentials = credentials
        self._interceptors = interceptors
        self._channel: grpc.aio.Channel | None = None
        self._stub: rpc.ParticipantServiceStub | None = None

    def __repr__(self) -> str:
        return f"GrpcParticipant({self._target!r})"

    async def perform(
        self, transaction_id: TransactionId, call: Call, hold_until: datetime
    ) -> Outcome:
        """Makes one call, at most `call.timeout_s` long, and says what it told us.

        Raises nothing but asyncio.CancelledError, and that only when the calling task is cancelled.
        """
        try:
            response = await self._send(transaction_id, call, hold_until)
            return outcome_of(transaction_id, call, response)
        except grpc.aio.AioRpcError as error:
            return outcome_of_error(call, error)
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
        channel, self._channel, self._stub = self._channel, None, None
        if channel is not None:
            await channel.close(None)

    async def _send(
        self, transaction_id: TransactionId, call: Call, hold_until: datetime
    ) -> _Response | None:
        stub = self._stub or self._connect()
        phase = call.phase.name
        request: _Request
        match call.operation:
            case Operation.TRY:
                method = stub.Try
                request = pb.TryRequest(
                    transaction_id=transaction_id,
                    phase=phase,
                    amount=_money(call.step.amount),
                    account=call.step.source,
                    hold_until=hold_until,
                    refund_of=_original(call),
                )
            case Operation.CONFIRM:
                method = stub.Confirm
                request = pb.ConfirmRequest(
                    transaction_id=transaction_id, phase=phase, amount=_money(call.step.final)
                )
            case Operation.CANCEL:
                method = stub.Cancel
                request = pb.CancelRequest(transaction_id=transaction_id, phase=phase)
            case Operation.QUERY:
                method = stub.Query
                request = pb.QueryRequest(transaction_id=transaction_id, phase=phase)
        response: _Response | None = await method(request, timeout=call.timeout_s)
        return response

    def _connect(self) -> rpc.ParticipantServiceStub:
        if self._credentials is None:
            self._channel = grpc.aio.insecure_channel(
                self._target, options=_OPTIONS, interceptors=self._interceptors
            )
        else:
            self._channel = grpc.aio.secure_channel(
                self._target,
                self._credentials,
                options=_OPTIONS,
                interceptors=self._interceptors,
            )
        self._stub = rpc.ParticipantServiceStub(self._channel)
        return self._stub


def _original(call: Call) -> pb.OriginalStep | None:
    if call.refund_of is None:
        return None
    return pb.OriginalStep(transaction_id=call.refund_of, phase=call.phase.name)


def _money(money: Money | None) -> pb.Money:
    assert money is not None, "a phase that calls a participant moves money"
    return pb.Money(currency_code=money.currency, minor_units=money.minor)


def outcome_of(transaction_id: TransactionId, call: Call, response: _Response | None) -> Outcome:
    """What an answer means; None is an answer that could not be decoded."""
    if response is None:
        return Unknown("MALFORMED_ANSWER", "the answer is not of the protocol", suspicious=True)
    answer = response.answer
    meaning = _ANSWERS.get((call.operation, answer.status))
    wrong = _mismatch(transaction_id, call, answer, meaning)
    if wrong:
        return Unknown("ANSWER_MISMATCH", f"the answer has another {wrong}", suspicious=True)
    match meaning:
        case _Meaning.APPLIED:
            return Applied(_reference(call, answer))
        case _Meaning.FINAL:
            # Only a Query can meet what it did not ask for.
            asked = call.operation is Operation.QUERY
            return Applied(_reference(call, answer), confirmed=asked)
        case _Meaning.PENDING:
            return Pending(_reference(call, answer), _next_action(call, answer))
        case _Meaning.REFUSED:
            reason = _clip(call, answer.refusal.reason, MAX_REASON)
            return Refused(
                _code(call, answer.refusal.code) or "REFUSED",
                reason or f"{call.phase.title} refused without a reason",
            )
        case _Meaning.TOMBSTONE:
            return Refused(CANCELLED_AT_PARTICIPANT, f"{call.phase.title} was cancelled before")
        case _Meaning.NOTHING_KNOWN:
            return Unknown(UNKNOWN_TRANSACTION, f"{call.phase.title} knows nothing of it")
        case None:
            status = answer.status
            name = pb.Status.Name(status) if status in pb.Status.values() else str(status)
            detail = f"{name} is no answer to {call.operation}"
            return Unknown("UNEXPECTED_STATUS", detail, suspicious=True)


def outcome_of_error(call: Call, error: grpc.aio.AioRpcError) -> Unknown:
    """What a gRPC error means: never a refusal, whatever it says."""
    status = error.code()
    reason = _error_info_reason(error)
    return Unknown(
        (_code(call, reason) if reason else "") or status.name,
        _clip(call, error.details() or "", MAX_REASON),
        suspicious=status in _SUSPICIOUS,
    )


def _mismatch(
    transaction_id: TransactionId, call: Call, answer: pb.Answer, meaning: _Meaning | None
) -> str:
    """The field in which the answer is about something else, or an empty string."""
    if answer.transaction_id != transaction_id:
        return "transaction_id"
    if answer.phase != call.phase.name:
        return "phase"
    if not answer.HasField("amount"):
        must = meaning is not None and meaning not in _AMOUNT_MAY_BE_UNSET
        return "amount" if must and call.operation is not Operation.CANCEL else ""
    wrong = _differs(answer.amount, call.step.amount)
    if wrong or meaning is not _Meaning.FINAL:
        return wrong
    # Whoever does not say how much has confirmed all of it.
    confirmed = answer.confirmed if answer.HasField("confirmed") else answer.amount
    return _differs(confirmed, call.step.final)


def _differs(given: pb.Money, money: Money | None) -> str:
    if money is None or given.minor_units != money.minor:
        return "amount"
    return "currency" if given.currency_code != money.currency else ""


def _reference(call: Call, answer: pb.Answer) -> str:
    """The participant's reference; nothing when that could be, or contain, the secret.

    Once the secret is forgotten nobody can tell, and the reference of the Try is kept.
    """
    reference = _clip(call, answer.reference, MAX_REFERENCE)
    return "" if _TAKEN_OUT in reference else reference


def _next_action(call: Call, answer: pb.Answer) -> NextAction | None:
    """What the customer has to do: only a web address, which is what callers hand on."""
    action = answer.next_action
    secret = call.step.source if call.step.secret else ""
    if secret and secret.lower() in f"{action.url} {action.kind}".lower():
        return None
    if len(action.url) > MAX_URL or not _WEB_ADDRESS.fullmatch(action.url):
        return None
    return NextAction(_clip(call, action.kind, MAX_CODE), action.url)


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


def _code(call: Call, text: str) -> str:
    """`text` as a stable code: capitals, digits and underscores, at most MAX_CODE of them."""
    if not text:
        return ""
    clipped = (_clip(call, text, MAX_CODE) if call.step.source else text).upper()
    return _NOT_CODE.sub("_", clipped).strip("_")[:MAX_CODE]


def _without_secrets(call: Call, text: str) -> str:
    """`text` without the step's secret, in whatever case it is written.

    After the Try the secret is forgotten, so that it cannot be looked for: then every word that
    might be one (eight characters or more, with a digit or an underscore) is taken out.
    """
    step = call.step
    if not step.secret:
        return text
    if step.source:
        return re.sub(re.escape(step.source), _TAKEN_OUT, text, flags=re.IGNORECASE)
    return _MAY_BE_SECRET.sub(_TAKEN_OUT, text)


def _clip(call: Call, text: str, limit: int) -> str:
    """At most `limit` printable characters of `text`, without the step's secret."""
    # Before clipping: half a token at the end would be no less of a leak.
    text = _without_secrets(call, text)[:limit]
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else " " for character in text)
