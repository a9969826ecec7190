"""The error tree, by intent: the caller's mistake, or our bug.

A participant's refusal and an unknown outcome are data (`outcome`), not errors, and so are the
conflicts a database is expected to report (`ports.CommitResult`). The docstring of an error is what it
means; `code` is stable and part of the API, and every message says what to do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


class KessaiError(Exception):
    """Anything Kessai raises on purpose."""

    code = "INTERNAL"

    @property
    def facts(self) -> Mapping[str, str]:
        """Machine-readable facts, sent as ErrorInfo metadata."""
        return {}


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
        self.payment_id = payment_id
        super().__init__(f"payment {payment_id} does not exist; check the ID and the credentials")

    @property
    def facts(self) -> Mapping[str, str]:
        return {"payment_id": self.payment_id}


class KeyReused(CallerError):
    """The idempotency key was used before with another body; nothing was changed."""

    code = "IDEMPOTENCY_KEY_REUSED"

    def __init__(self, payment_id: str, fields: Sequence[str]) -> None:
        self.payment_id = payment_id
        self.fields = tuple(fields)
        super().__init__(
            f"the idempotency key belongs to payment {payment_id}, whose request differs in "
            f"{', '.join(self.fields)}; send the same body, or a new key for a new payment"
        )

    @property
    def facts(self) -> Mapping[str, str]:
        return {"payment_id": self.payment_id, "fields": ",".join(self.fields)}


class OrderHasPayment(CallerError):
    """The order already has a payment that is live or paid; nothing was written."""

    code = "ORDER_HAS_PAYMENT"

    def __init__(self, order_id: str, payment_id: str, state: str) -> None:
        self.order_id, self.payment_id, self.state = order_id, payment_id, state
        super().__init__(
            f"order {order_id} already has payment {payment_id} in state {state}; wait for it, "
            "cancel it, or ask with CANCEL_PREVIOUS"
        )

    @property
    def facts(self) -> Mapping[str, str]:
        return {"order_id": self.order_id, "payment_id": self.payment_id, "state": self.state}


class WrongState(CallerError):
    """The payment's state does not allow this; nothing was changed."""

    code = "WRONG_STATE"

    def __init__(self, payment_id: str, state: str, operation: str, allowed: Sequence[str]) -> None:
        self.payment_id, self.state = payment_id, state
        super().__init__(
            f"payment {payment_id} is {state}; {operation} is possible only in {', '.join(allowed)}"
        )

    @property
    def facts(self) -> Mapping[str, str]:
        return {"payment_id": self.payment_id, "state": self.state}


class LostTheRace(CallerError):
    """Somebody else kept changing the payment; nothing was changed by this call. Repeat it."""

    code = "LOST_RACE"

    def __init__(self, payment_id: str) -> None:
        self.payment_id = payment_id
        super().__init__(f"payment {payment_id} kept changing meanwhile; repeat the call")

    @property
    def facts(self) -> Mapping[str, str]:
        return {"payment_id": self.payment_id}


class Overloaded(CallerError):
    """Too many calls are in flight; nothing was written. Repeat it later."""

    code = "TOO_MANY_IN_FLIGHT"

    def __init__(self, limit: int) -> None:
        super().__init__(f"more than {limit} calls are in flight; repeat the call in a moment")


class StoreUnavailable(KessaiError):
    """The database cannot be reached. Whether a write happened may be unknown; repeat the call."""

    code = "STORE_UNAVAILABLE"

    def __init__(self, detail: str = "") -> None:
        self.detail = detail
        super().__init__("the database cannot be reached; repeat the call with the same key")


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
        super().__init__(f"no transition {event} from {state}")
