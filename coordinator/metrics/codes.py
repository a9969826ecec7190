"""Which codes may be label values: our own, which are few. Participants write theirs freely."""

from __future__ import annotations

OTHER = "OTHER"
"""Stands for every code that is not ours."""

FAILURE_CODES = frozenset(
    {
        "CANCELLED_AT_PARTICIPANT",
        "CANCELLED_BY_CALLER",
        "CANCELLED_BY_OPERATOR",
        "ORDER_SUPERSEDED",
        "RESERVATION_EXPIRED",
        "TRY_DEADLINE_EXCEEDED",
    }
)
"""Codes that we give failures; the tests compare them with docs/errors.md."""

ATTENTION_CODES = frozenset(
    {
        "ALREADY_EXISTS",
        "ANSWER_MISMATCH",
        "FAILED_PRECONDITION",
        "INVALID_ARGUMENT",
        "MALFORMED_ANSWER",
        "REFUSED_AFTER_DECISION",
        "TOO_MANY_ATTEMPTS",
        "TOO_OLD",
        "UNEXPECTED_STATUS",
    }
)
"""Codes that we give attention; docs/operating.md says of each what to do."""


ATTENTION_LABELS = (*sorted(ATTENTION_CODES), OTHER)
"""What `known` makes of attention's codes: all are shown from the start, as 0."""


def known(code: str, codes: frozenset[str]) -> str:
    """The code, or OTHER when it is not one of `codes`; no code stays none."""
    return code if not code or code in codes else OTHER
