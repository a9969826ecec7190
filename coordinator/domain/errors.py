"""The error tree, by intent: the caller's mistake, or our bug.

A participant's refusal and an unknown outcome are data (`outcome`), not errors, and so are the
conflicts a database is expected to report (`ports.CommitResult`). The docstring of an error is what
it means; `code` is stable and part of the API, and every message says what to do. `facts` are
machine-readable and go out as ErrorInfo metadata.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime


class KessaiError(Exception):
    """Anything Kessai raises on purpose."""

    code = "INTERNAL"
    retry_after_s: float | None = None
    """When repeating is worth it, in seconds; None: whatever is usual for this kind of error."""

    def __init__(self, message: str, **facts: str) -> None:
        self.facts: Mapping[str, str] = facts
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Violation:
    """One field at fault. `field` is a proto path such as `tenders[0].amount.minor_units`."""

    field: str
    code: str
    message: str


class CallerError(KessaiError):
    """The caller asked for something that cannot be."""


class InvalidRequest(CallerError):
    """The request is malformed; nothing was written."""

    code = "INVALID_REQUEST"

    def __init__(self, violations: Sequence[Violation]) -> None:
        self.violations = tuple(violations)
        super().__init__("; ".join(f"{item.field}: {item.message}" for item in self.violations))


class NotFound(CallerError):
    """There is no such payment, or it belongs to another caller."""

    code = "PAYMENT_NOT_FOUND"

    def __init__(self, payment_id: str) -> None:
        super().__init__(
            f"payment {payment_id} does not exist; check the ID and the credentials",
            payment_id=payment_id,
        )


class KeyReused(CallerError):
    """The idempotency key was used before with another body; nothing was changed."""

    code = "IDEMPOTENCY_KEY_REUSED"

    def __init__(self, payment_id: str, fields: Sequence[str]) -> None:
        self.fields = tuple(fields)
        super().__init__(
            f"the idempotency key belongs to payment {payment_id}, whose request differs in "
            f"{', '.join(fields)}; send the same body, or a new key for a new payment",
            payment_id=payment_id,
            fields=",".join(fields),
        )


class OrderHasPayment(CallerError):
    """The order already has a payment that is live or paid; nothing was written."""

    code = "ORDER_HAS_PAYMENT"

    def __init__(self, order_id: str, payment_id: str, state: str) -> None:
        super().__init__(
            f"order {order_id} already has payment {payment_id} in state {state}; wait for it, "
            "cancel it, or, while it is CREATED or RESERVED, ask with CANCEL_PREVIOUS",
            order_id=order_id,
            payment_id=payment_id,
            state=state,
        )


class WrongState(CallerError):
    """The payment's state does not allow this; nothing was changed."""

    code = "WRONG_STATE"

    def __init__(self, payment_id: str, state: str, operation: str, allowed: Sequence[str]) -> None:
        super().__init__(
            f"payment {payment_id} is {state}; "
            f"{operation} is possible only in {' or '.join(allowed)}",
            payment_id=payment_id,
            state=state,
        )


class FlowNotServed(CallerError):
    """The payment's flow is not served by this coordinator; nothing was changed."""

    code = "FLOW_NOT_SERVED"

    def __init__(self, payment_id: str, flow: str) -> None:
        super().__init__(
            f"payment {payment_id} follows flow {flow}, which is not served here",
            payment_id=payment_id,
            flow=flow,
        )


class AlreadyCaptured(CallerError):
    """The payment was captured with another key; nothing was changed."""

    code = "ALREADY_CAPTURED"

    def __init__(self, payment_id: str, state: str) -> None:
        super().__init__(
            f"payment {payment_id} was captured before and is {state}; a payment is captured once",
            payment_id=payment_id,
            state=state,
        )


class PaymentReleased(CallerError):
    """The payment was released before it could be captured; nothing was changed."""

    code = "PAYMENT_RELEASED"

    def __init__(self, payment_id: str, state: str, because: str, reason: str) -> None:
        super().__init__(
            f"payment {payment_id} is {state} and cannot be captured: {because}, {reason}",
            payment_id=payment_id,
            state=state,
            failure_code=because,
        )


class ReservationExpired(CallerError):
    """The reservation's time is over, and so it is released; nothing was changed."""

    code = "RESERVATION_EXPIRED"

    def __init__(self, payment_id: str, until: str) -> None:
        super().__init__(
            f"payment {payment_id} was reserved until {until} and cannot be captured any more; "
            "create a new payment",
            payment_id=payment_id,
            reserve_until=until,
        )


class RefundExceedsPayment(CallerError):
    """More than is left of the payment; nothing was written."""

    code = "REFUND_EXCEEDS_PAYMENT"

    def __init__(self, payment_id: str, left_minor: int) -> None:
        super().__init__(
            f"payment {payment_id} has {left_minor} minor units left that can be refunded "
            "(refunds under way count as given back)",
            payment_id=payment_id,
            refundable_minor=str(left_minor),
        )


class RefundExceedsTender(CallerError):
    """More than is left of one tender; nothing was written."""

    code = "REFUND_EXCEEDS_TENDER"

    def __init__(self, payment_id: str, method: str, left_minor: int) -> None:
        super().__init__(
            f"{method} of payment {payment_id} has {left_minor} minor units left that can be "
            "refunded (refunds under way count as given back)",
            payment_id=payment_id,
            method=method,
            refundable_minor=str(left_minor),
        )


class NotUndone(CallerError):
    """A late success that was reported could not be undone yet; the report is to be repeated."""

    code = "NOT_UNDONE"

    def __init__(self, transaction_id: str, phase: str) -> None:
        super().__init__(
            f"{phase} of {transaction_id} may still hold what it should not, and did not answer; "
            "repeat the report",
            payment_id=transaction_id,
            phase=phase,
        )


class BadSignature(CallerError):
    """The report is not signed by a participant that is known here; nothing was changed."""

    code = "BAD_SIGNATURE"

    def __init__(self) -> None:
        super().__init__(
            "the participant is unknown, or the signature is not the HMAC-SHA256 of the notice "
            "with its key"
        )


class NoticeExpired(CallerError):
    """The report was signed too long ago, or in the future; nothing was changed."""

    code = "NOTICE_EXPIRED"

    def __init__(self, age_s: float) -> None:
        super().__init__(
            f"the notice must be signed within {age_s:g} s of its arrival; sign it anew, and "
            "compare the clocks"
        )


class LostTheRace(CallerError):
    """Somebody else kept changing the payment; nothing was changed by this call. Repeat it."""

    code = "LOST_RACE"

    def __init__(self, payment_id: str) -> None:
        super().__init__(
            f"{payment_id} kept changing meanwhile; repeat the call", payment_id=payment_id
        )


class Overloaded(CallerError):
    """Too many calls are in flight; nothing was written. Repeat it later."""

    code = "TOO_MANY_IN_FLIGHT"

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"more than {limit} calls are in flight; repeat the call in a moment", limit=str(limit)
        )


class TooManyLive(CallerError):
    """The caller has as many live payments as it may; nothing was written. Repeat it later."""

    code = "TOO_MANY_LIVE_PAYMENTS"

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"this caller may have {limit} live payments, and has as many; repeat the call with "
            "the same key when some of them have ended",
            limit=str(limit),
        )


class RateLimited(CallerError):
    """The caller creates payments faster than it may; nothing was written. Repeat it later."""

    code = "RATE_LIMITED"

    def __init__(self, per_second: float, retry_after_s: float) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(
            f"this caller may create {per_second:g} payments a second; repeat the call with the "
            f"same key in {retry_after_s:g} s",
            limit=f"{per_second:g}",
        )


class FlowPaused(CallerError):
    """The flow takes no new payments for now; nothing was written. Repeat it later."""

    code = "FLOW_PAUSED"
    UNTIL_SOMEBODY_RESUMES_S = 30.0
    """When to ask again while an operator's pause has no end of its own, in seconds."""

    def __init__(
        self, flow: str, *, by: str, reason: str, since: datetime, left_s: float | None
    ) -> None:
        self.detail = reason
        again_s = self.UNTIL_SOMEBODY_RESUMES_S if left_s is None else max(0.001, left_s)
        self.retry_after_s = again_s
        self.since = since.isoformat(timespec="seconds")
        super().__init__(
            f"flow {flow} takes no new payments since {self.since}, paused by {by}: {reason}; "
            f"nothing was written, repeat the call with the same key in {again_s:.3g} s",
            flow=flow,
            paused_by=by,
            since=self.since,
        )


class Unauthenticated(CallerError):
    """The credentials are missing or unknown."""

    code = "UNAUTHENTICATED"

    def __init__(self, whose: str = "caller") -> None:
        super().__init__(
            f"send the {whose}'s API key as metadata: authorization: Bearer KEY; "
            "the key is missing or unknown"
        )


class DeadlineRequired(CallerError):
    """The call has no deadline; nothing was written."""

    code = "DEADLINE_REQUIRED"

    def __init__(self) -> None:
        super().__init__(
            "set a deadline: the call waits for the payment, and answers shortly before the "
            "deadline with the payment as it then stands"
        )


class DeadlineTooShort(CallerError):
    """The call's deadline is over or too near to answer in time; nothing was written."""

    code = "DEADLINE_TOO_SHORT"

    def __init__(self, margin_s: float) -> None:
        super().__init__(f"the deadline is less than {margin_s:g} s away; nothing was written")


class StoreUnavailable(KessaiError):
    """The database cannot be used. Whether a write happened may be unknown; repeat the call."""

    code = "STORE_UNAVAILABLE"

    def __init__(self, detail: str = "") -> None:
        self.detail = detail
        super().__init__("the database cannot be used; repeat the call with the same key")


class ShuttingDown(KessaiError):
    """This process is being stopped. Repeat the call: another one answers it."""

    code = "SHUTTING_DOWN"

    def __init__(self) -> None:
        super().__init__(
            "this process is being stopped; repeat the call with the same key, and another one "
            "answers it"
        )


class PublishFailed(KessaiError):
    """The broker did not acknowledge an event; it will be offered again."""

    code = "PUBLISH_FAILED"


class ConfigurationError(KessaiError):
    """The service cannot start like this."""

    code = "BAD_CONFIGURATION"


class Bug(KessaiError):
    """Our own mistake. The transaction stops where it durably stands."""

    code = "INTERNAL"


class IllegalTransition(Bug):
    """An event that the state machine has no row for."""

    def __init__(self, *, state: str, event: str) -> None:
        super().__init__(f"no transition {event} from {state}", state=state, event=event)
