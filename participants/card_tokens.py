"""The card service's test tokens: one table of what each of them does.

A token may carry a suffix after a hyphen to be unique (`tok_ok-123`); the part before it decides.
"""

from __future__ import annotations

from enum import StrEnum


class CardToken(StrEnum):
    """What a token does."""

    OK = "tok_ok"
    """Authorized, captured and voided without trouble."""
    DECLINED = "tok_declined"
    """Refused at Try: CARD_DECLINED."""
    CAPTURE_DECLINED = "tok_capture_declined"
    """Held at Try, refused at Confirm: CAPTURE_DECLINED. The hold stands until the Cancel."""
    TIMEOUT_BEFORE_TRY = "tok_timeout_before_try"
    """A payment's first Try is lost without effect, and without an answer for a long time."""
    TIMEOUT_AFTER_TRY = "tok_timeout_after_try"
    """A payment's first Try takes effect, but its answer comes much too late."""
    TIMEOUT_AFTER_CAPTURE = "tok_timeout_after_capture"
    """A payment's first Confirm takes effect, but its answer comes much too late."""
    LATE_TRY = "tok_late_try"
    """Every Try reaches the fence only much later, even when whoever sent it has gone."""
    CUSTOMER_ACTION = "tok_customer_action"
    """Pending: the customer has to act, and does after some seconds. Then it is held."""
    CUSTOMER_REFUSES = "tok_customer_refuses"
    """Pending: the customer has to act, and declines after some seconds: CUSTOMER_DECLINED."""


PENDING_TOKENS = frozenset({CardToken.CUSTOMER_ACTION, CardToken.CUSTOMER_REFUSES})


def read_token(account: str) -> CardToken | None:
    """What the token does; None for an unknown one."""
    try:
        return CardToken(account.partition("-")[0])
    except ValueError:
        return None
