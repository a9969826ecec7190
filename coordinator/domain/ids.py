"""Identifiers. Making a new one is the `Ids` port's work; deriving one from another is pure."""

from __future__ import annotations

from typing import NewType
from uuid import UUID, uuid5

TransactionId = NewType("TransactionId", str)
"""A UUIDv7 in its canonical lower-case form: fixed before any effect, never changed."""

_EVENTS = UUID("6b1f6c1e-7c1a-5d0e-9d57-1d1b0f2a6c11")


def parse_transaction_id(text: str) -> TransactionId:
    """The canonical form of `text`. Raises ValueError when it is not a UUID."""
    return TransactionId(str(UUID(text)))


def event_id(transaction_id: TransactionId, state: str) -> str:
    """The one event ID of a (transaction, state): the same however often it is computed."""
    return str(uuid5(_EVENTS, f"{transaction_id}/{state}"))
