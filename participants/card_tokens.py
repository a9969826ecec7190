"""The card service's test tokens: one table of what each of them does.

A token may carry a suffix after a hyphen to be unique (`tok_ok-123`); the part before it decides.
"""

from __future__ import annotations

import re
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
    LIMIT = "tok_limit"
    """A card of its own, good for so many minor units a currency, held and captured together, and
    for no more: CARD_LIMIT_EXCEEDED. `tok_limit_500` is good for 500, the bare token for
    DEFAULT_LIMIT_MINOR."""
    LATE_TRY = "tok_late_try"
    """Every Try reaches the fence only much later, even when whoever sent it has gone."""
    CUSTOMER_ACTION = "tok_customer_action"
    """Pending: the customer has to act, and does after some seconds. Then it is held."""
    CUSTOMER_REFUSES = "tok_customer_refuses"
    """Pending: the customer has to act, and declines after some seconds: CUSTOMER_DECLINED."""


PENDING_TOKENS = frozenset({CardToken.CUSTOMER_ACTION, CardToken.CUSTOMER_REFUSES})


DEFAULT_LIMIT_MINOR = 200
"""Twice the amount that the conformance kit asks for."""
_LIMIT = re.compile(rf"{CardToken.LIMIT}(?:_([1-9][0-9]{{0,11}}))?")


def read_token(account: str) -> CardToken | None:
    """What the token does; None for an unknown one."""
    name = account.partition("-")[0]
    if _LIMIT.fullmatch(name):
        return CardToken.LIMIT
    try:
        return CardToken(name)
    except ValueError:
        return None


def limit_minor(account: str) -> int:
    """What a LIMIT token is good for, in minor units."""
    found = _LIMIT.fullmatch(account.partition("-")[0])
    assert found is not None, "only a LIMIT token has a limit"
    return int(found[1] or DEFAULT_LIMIT_MINOR)
