"""The one table from our errors to gRPC statuses, and their rendering as `google.rpc.Status`.

Every error carries ErrorInfo (domain "kessai", a stable reason, facts). Bad requests also carry
BadRequest with one violation a field; whatever may simply be repeated carries RetryInfo.
UNAVAILABLE is the only status a client may retry blindly.
"""

from __future__ import annotations

from datetime import timedelta
from typing import NoReturn

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.code_pb2 import Code
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

from coordinator.domain import errors, operator_errors

DOMAIN = "kessai"
RETRY_AFTER_S = 1.0
"""What RetryInfo says when the error does not know better, in seconds."""

STATUS: dict[type[errors.KessaiError], grpc.StatusCode] = {
    errors.InvalidRequest: grpc.StatusCode.INVALID_ARGUMENT,
    errors.DeadlineRequired: grpc.StatusCode.INVALID_ARGUMENT,
    errors.DeadlineTooShort: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.KeyReused: grpc.StatusCode.ALREADY_EXISTS,
    errors.OrderHasPayment: grpc.StatusCode.FAILED_PRECONDITION,
    errors.WrongState: grpc.StatusCode.FAILED_PRECONDITION,
    errors.FlowNotServed: grpc.StatusCode.FAILED_PRECONDITION,
    errors.AlreadyCaptured: grpc.StatusCode.FAILED_PRECONDITION,
    errors.PaymentReleased: grpc.StatusCode.FAILED_PRECONDITION,
    errors.ReservationExpired: grpc.StatusCode.FAILED_PRECONDITION,
    errors.RefundExceedsPayment: grpc.StatusCode.FAILED_PRECONDITION,
    errors.RefundExceedsTender: grpc.StatusCode.FAILED_PRECONDITION,
    errors.NotUndone: grpc.StatusCode.ABORTED,
    errors.BadSignature: grpc.StatusCode.UNAUTHENTICATED,
    errors.NoticeExpired: grpc.StatusCode.FAILED_PRECONDITION,
    errors.LostTheRace: grpc.StatusCode.ABORTED,
    errors.Overloaded: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.TooManyLive: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.RateLimited: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.FlowPaused: grpc.StatusCode.UNAVAILABLE,
    errors.StoreUnavailable: grpc.StatusCode.UNAVAILABLE,
    errors.ShuttingDown: grpc.StatusCode.UNAVAILABLE,
    operator_errors.CredentialExpired: grpc.StatusCode.UNAUTHENTICATED,
    operator_errors.TransactionNotFound: grpc.StatusCode.NOT_FOUND,
    operator_errors.AlreadySettled: grpc.StatusCode.FAILED_PRECONDITION,
    operator_errors.AlreadyDecided: grpc.StatusCode.FAILED_PRECONDITION,
    operator_errors.AlreadyReleased: grpc.StatusCode.FAILED_PRECONDITION,
    operator_errors.HeldByOperator: grpc.StatusCode.FAILED_PRECONDITION,
    operator_errors.NotHeld: grpc.StatusCode.FAILED_PRECONDITION,
    operator_errors.BeingDriven: grpc.StatusCode.FAILED_PRECONDITION,
    operator_errors.NothingToRetry: grpc.StatusCode.FAILED_PRECONDITION,
    operator_errors.AnswerNotPossible: grpc.StatusCode.FAILED_PRECONDITION,
    operator_errors.ContradictedByParticipant: grpc.StatusCode.FAILED_PRECONDITION,
    operator_errors.EvidenceRequired: grpc.StatusCode.FAILED_PRECONDITION,
    operator_errors.ParticipantSilent: grpc.StatusCode.ABORTED,
    operator_errors.ChangedMeanwhile: grpc.StatusCode.ABORTED,
}
REPEATABLE = frozenset(
    {
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.UNAVAILABLE,
    }
)
NEVER_REPEATED = frozenset({operator_errors.ChangedMeanwhile})
"""What the same call would be refused with again, whatever its status."""
MOST_BYTES = 1500
"""How much is said of a bad request's fields, in bytes. gRPC carries it in headers, of which
clients take 8 KiB: of a larger refusal they see RESOURCE_EXHAUSTED alone, and would repeat it."""
INTERNAL_MESSAGE = "an internal error; the payment stands where it durably stood, read it again"


def code_of(error: BaseException) -> grpc.StatusCode:
    """The status of any error; one that is not in the table is INTERNAL."""
    return STATUS.get(type(error), grpc.StatusCode.INTERNAL)  # type: ignore[arg-type]


def status_of(error: BaseException) -> Status:
    """The `google.rpc.Status` of any error; one that is not in the table is INTERNAL."""
    code = code_of(error)
    if code is grpc.StatusCode.INTERNAL or not isinstance(error, errors.KessaiError):
        details: list[Message] = [ErrorInfo(domain=DOMAIN, reason="INTERNAL")]
        return _status(grpc.StatusCode.INTERNAL, INTERNAL_MESSAGE, details)
    if isinstance(error, errors.InvalidRequest):
        error = _shortened(error)
    facts = {} if isinstance(error, errors.InvalidRequest) else dict(error.facts)
    details = [ErrorInfo(domain=DOMAIN, reason=error.code, metadata=facts)]
    if isinstance(error, errors.InvalidRequest):
        details.append(_bad_request(error))
    if code in REPEATABLE and type(error) not in NEVER_REPEATED:
        details.append(_retry_info(error))
    return _status(code, str(error), details)


def _shortened(error: errors.InvalidRequest) -> errors.InvalidRequest:
    """The error with as many of its violations as fit, and how many there are besides."""
    left = MOST_BYTES
    for told, violation in enumerate(error.violations):
        left -= len(f"{violation.field}{violation.code}{violation.message}".encode())
        if left < 0 and told:
            more = len(error.violations) - told
            rest = errors.Violation("request", "MORE", f"{more} more fields are at fault")
            return errors.InvalidRequest([*error.violations[:told], rest])
    return error


def _retry_info(error: errors.KessaiError) -> RetryInfo:
    after_s = RETRY_AFTER_S if error.retry_after_s is None else error.retry_after_s
    delay = Duration()
    delay.FromTimedelta(timedelta(seconds=after_s))
    return RetryInfo(retry_delay=delay)


def _bad_request(error: errors.InvalidRequest) -> BadRequest:
    return BadRequest(
        field_violations=[
            BadRequest.FieldViolation(
                field=violation.field, reason=violation.code, description=violation.message
            )
            for violation in error.violations
        ]
    )


def _status(code: grpc.StatusCode, message: str, details: list[Message]) -> Status:
    packed = []
    for detail in details:
        any_message = AnyMessage()
        any_message.Pack(detail)
        packed.append(any_message)
    return Status(code=Code.Value(code.name), message=message, details=packed)


async def abort(
    context: grpc.aio.ServicerContext[object, object], error: BaseException
) -> NoReturn:
    """Ends the call with the error's status. Always raises."""
    status = status_of(error)
    rendered = rpc_status.to_status(status)
    await context.abort(rendered.code, rendered.details, rendered.trailing_metadata)
    raise AssertionError("abort returns never")
