"""What a call can raise: one class for each stable reason that callers branch on.

`KessaiError` is the root; each gRPC status has a class below it, and the reasons of docs/errors.md
have theirs below that, so that an unknown reason (of a newer server, or of a proxy that knows
nothing of Kessai) still comes out as its status's class. This module knows how a gRPC error is
written, and nothing of how it came about.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from grpc_status import rpc_status

DOMAIN = "kessai"


@dataclass(frozen=True, slots=True)
class Violation:
    """One field at fault. `field` is a proto path such as `tenders[0].amount.minor_units`."""

    field: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Problem:
    """What an error says.

    status           the gRPC status
    code             the stable reason of docs/errors.md; the status's name when there is none
    message          one sentence or more, in English
    facts            machine-readable facts, by name
    violations       the fields at fault, for INVALID_REQUEST
    retry_after_s    how long the server asks to wait before a repeat, in seconds; None: no word
    idempotency_key  the key that the call used; empty for calls without one
    """

    status: grpc.StatusCode
    code: str
    message: str
    facts: Mapping[str, str] = field(default_factory=dict)
    violations: tuple[Violation, ...] = ()
    retry_after_s: float | None = None
    idempotency_key: str = ""


class KessaiError(Exception):
    """A call that did not succeed. Its attributes are those of `Problem`."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(problem)

    def __str__(self) -> str:
        return f"{self.code}: {self.problem.message}"

    @property
    def status(self) -> grpc.StatusCode:
        """The gRPC status."""
        return self.problem.status

    @property
    def code(self) -> str:
        """The stable reason of docs/errors.md; the status's name when there is none."""
        return self.problem.code

    @property
    def message(self) -> str:
        """One sentence or more, in English; for logs, not to branch on."""
        return self.problem.message

    @property
    def facts(self) -> Mapping[str, str]:
        """Machine-readable facts, by name."""
        return self.problem.facts

    @property
    def violations(self) -> tuple[Violation, ...]:
        """The fields at fault; only InvalidRequest has any."""
        return self.problem.violations

    @property
    def retry_after_s(self) -> float | None:
        """How long the server asks to wait before a repeat, in seconds; None: no word of it."""
        return self.problem.retry_after_s

    @property
    def idempotency_key(self) -> str:
        """The key that the call used: repeating the call with it is never a second payment."""
        return self.problem.idempotency_key

    @property
    def retryable(self) -> bool:
        """Whether the same call, with the same key, may simply be repeated after a while."""
        return self.status is grpc.StatusCode.UNAVAILABLE or self.retry_after_s is not None


class InvalidRequest(KessaiError):
    """INVALID_ARGUMENT: the request is at fault, see `violations`; nothing was written."""


class Unauthenticated(KessaiError):
    """UNAUTHENTICATED: the API key is missing or unknown."""


class NotFound(KessaiError):
    """NOT_FOUND: there is no such payment or refund, or it is another caller's."""


class KeyReused(KessaiError):
    """ALREADY_EXISTS: the key was used with another body; `facts["fields"]` says what differs."""


class NotPossible(KessaiError):
    """FAILED_PRECONDITION: what stands does not allow this; nothing was changed."""


class OrderHasPayment(NotPossible):
    """The order has a payment that is live or paid: facts `payment_id` and `state`."""


class WrongState(NotPossible):
    """The payment's state (fact `state`) does not allow this."""


class AlreadyCaptured(NotPossible):
    """The payment was captured with another key; a payment is captured once."""


class PaymentReleased(NotPossible):
    """The payment was released before it could be captured: fact `failure_code` says why."""


class ReservationExpired(NotPossible):
    """The reservation's time was over: fact `reserve_until`."""


class RefundExceedsPayment(NotPossible):
    """More than is left of the payment: fact `refundable_minor`."""


class RefundExceedsTender(NotPossible):
    """More than is left of one tender: facts `method` and `refundable_minor`."""


class Aborted(KessaiError):
    """ABORTED: others were in the way; nothing was changed."""


class LostRace(Aborted):
    """Others kept changing the payment meanwhile; nothing was changed."""


class LimitReached(KessaiError):
    """RESOURCE_EXHAUSTED: a limit is reached; nothing was written."""


class Overloaded(LimitReached):
    """The server's limit of calls at once is reached."""


class TooManyLivePayments(LimitReached):
    """The caller has as many payments that are not settled as it may: fact `limit`."""


class RateLimited(LimitReached):
    """The caller creates payments faster than it may: fact `limit`, a second."""


class Unavailable(KessaiError):
    """UNAVAILABLE: no server could be reached, or it broke off; a write may have happened.

    Retried until the deadline came near. To find out, repeat the call with `idempotency_key`.
    """


class FlowPaused(Unavailable):
    """The flow takes no new payments for now; nothing was written. Offer another way to pay."""


class ShuttingDown(Unavailable):
    """The server is being stopped; nothing was written. Another one, or the next, takes it."""


class StoreUnavailable(Unavailable):
    """The server's database cannot be used; a write may or may not have happened."""


class DeadlineExceeded(KessaiError):
    """DEADLINE_EXCEEDED: no answer in time; what became of the request is not known.

    It is not retried. To find out, repeat the call with the same body and `idempotency_key`.
    """


class DeadlineTooShort(DeadlineExceeded):
    """The deadline was nearer than the server's margin; nothing was written."""


class NotSettledYet(DeadlineExceeded):
    """The time of a `wait_…` was over. It goes on by itself; wait again, or watch it.

    `last` is the payment or refund as it was last seen, None if it never was.
    """

    def __init__(self, problem: Problem, last: Any) -> None:
        super().__init__(problem)
        self.last = last
        self.args = (problem, last)


class InternalError(KessaiError):
    """INTERNAL: a bug of the server's; the payment stands where it durably stood."""


BY_REASON: Mapping[str, type[KessaiError]] = {
    "INVALID_REQUEST": InvalidRequest,
    "DEADLINE_REQUIRED": InvalidRequest,
    "DEADLINE_TOO_SHORT": DeadlineTooShort,
    "UNAUTHENTICATED": Unauthenticated,
    "PAYMENT_NOT_FOUND": NotFound,
    "IDEMPOTENCY_KEY_REUSED": KeyReused,
    "ORDER_HAS_PAYMENT": OrderHasPayment,
    "WRONG_STATE": WrongState,
    "FLOW_NOT_SERVED": NotPossible,
    "ALREADY_CAPTURED": AlreadyCaptured,
    "PAYMENT_RELEASED": PaymentReleased,
    "RESERVATION_EXPIRED": ReservationExpired,
    "REFUND_EXCEEDS_PAYMENT": RefundExceedsPayment,
    "REFUND_EXCEEDS_TENDER": RefundExceedsTender,
    "LOST_RACE": LostRace,
    "TOO_MANY_IN_FLIGHT": Overloaded,
    "TOO_MANY_LIVE_PAYMENTS": TooManyLivePayments,
    "RATE_LIMITED": RateLimited,
    "FLOW_PAUSED": FlowPaused,
    "SHUTTING_DOWN": ShuttingDown,
    "STORE_UNAVAILABLE": StoreUnavailable,
    "INTERNAL": InternalError,
}
"""Every reason of docs/errors.md."""

BY_STATUS: Mapping[grpc.StatusCode, type[KessaiError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequest,
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.ALREADY_EXISTS: KeyReused,
    grpc.StatusCode.FAILED_PRECONDITION: NotPossible,
    grpc.StatusCode.ABORTED: Aborted,
    grpc.StatusCode.RESOURCE_EXHAUSTED: LimitReached,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    grpc.StatusCode.INTERNAL: InternalError,
}
"""For reasons that are not known here; other statuses are a plain KessaiError."""


def error_from(failed: Any, idempotency_key: str = "") -> KessaiError:
    """What a `grpc.RpcError`, of a synchronous call or an asyncio one, says."""
    problem = replace(_problem(failed), idempotency_key=idempotency_key)
    if problem.status is grpc.StatusCode.DEADLINE_EXCEEDED and idempotency_key:
        said = f"{problem.message}; to find out what became of it, repeat it with the same key"
        problem = replace(problem, message=said)
    return _class(problem)(problem)


def _class(problem: Problem) -> type[KessaiError]:
    base = BY_STATUS.get(problem.status, KessaiError)
    named = BY_REASON.get(problem.code, base)
    return named if issubclass(named, base) else base


def _problem(failed: Any) -> Problem:
    info, bad, retry = ErrorInfo(), BadRequest(), RetryInfo()
    for detail in _details(failed):
        for kind in (info, bad, retry):
            if detail.Is(kind.DESCRIPTOR):
                detail.Unpack(kind)
    status: grpc.StatusCode = failed.code()
    ours = info.domain == DOMAIN and bool(info.reason)
    return Problem(
        status=status,
        code=info.reason if ours else status.name,
        message=failed.details() or status.name,
        facts=dict(info.metadata) if ours else {},
        violations=tuple(
            Violation(item.field, item.reason, item.description) for item in bad.field_violations
        ),
        retry_after_s=retry.retry_delay.ToTimedelta().total_seconds()
        if retry.HasField("retry_delay")
        else None,
    )


def _details(failed: Any) -> Any:
    try:
        status = rpc_status.from_call(failed)
    except (ValueError, DecodeError):  # not written by a server of ours
        return ()
    return status.details if status is not None else ()
