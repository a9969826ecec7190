"""What a fence refuses, by intent. Each error knows its gRPC code and its stable reason.

None of them is a business refusal: that is an answer (`Refused`), not an error.
"""

from __future__ import annotations

import grpc

ERROR_DOMAIN = "kessai.participant"
"""The domain of every google.rpc.ErrorInfo a participant sends."""


class FenceError(Exception):
    """A request that was not done. Nothing changed."""

    code = grpc.StatusCode.INTERNAL
    reason = "INTERNAL"


class InvalidRequest(FenceError):
    """A malformed request; carries one (field, description) pair for each rule that it breaks."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "INVALID_REQUEST"

    def __init__(self, violations: list[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{field} {what}" for field, what in violations))
        self.violations = violations


class DifferentRequest(FenceError):
    """A repeat that differs from the first request in amount, currency or account."""

    code = grpc.StatusCode.ALREADY_EXISTS
    reason = "DIFFERENT_REQUEST"


class NotHeld(FenceError):
    """A Confirm where no Try is held."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "NOT_HELD"


class MoreThanHeld(FenceError):
    """A Confirm of more than its Try held."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "MORE_THAN_HELD"


class AlreadyCancelled(FenceError):
    """A Confirm after a Cancel."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "ALREADY_CANCELLED"


class AlreadyConfirmed(FenceError):
    """A Cancel after a Confirm."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "ALREADY_CONFIRMED"


class InvalidPageToken(FenceError):
    """A page token that this participant did not make for these times."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "INVALID_PAGE_TOKEN"


class RequestLost(FenceError):
    """A test token asked for a request that is lost before it has any effect."""

    code = grpc.StatusCode.UNAVAILABLE
    reason = "REQUEST_LOST"


class StoreUnavailable(FenceError):
    """The participant's database cannot be used; whether the request was done is not known."""

    code = grpc.StatusCode.UNAVAILABLE
    reason = "STORE_UNAVAILABLE"
