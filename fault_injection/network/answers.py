"""What may become of one call to a participant: lost on the way, or answered by somebody hostile.

A hostile answer is one that no participant of the protocol gives: it can be told from a true one.
(A participant that lies in the protocol's own words, HELD where it holds nothing, cannot be found
out call by call.) Pure: bytes in, bytes out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias

from kessai.participant.v1 import participant_pb2 as pb


class Fate(StrEnum):
    """What becomes of a call."""

    REQUEST_LOST = "request-lost"
    """Nobody hears it; the caller gets an error at once."""
    REPLY_LOST = "reply-lost"
    """It takes effect; the caller gets an error."""
    SILENT = "silent"
    """It takes effect, and no answer ever comes."""
    ENDLESS = "endless"
    """It takes effect, and an endless stream of nothing comes back."""
    OTHER_TRANSACTION = "other-transaction"
    OTHER_PHASE = "other-phase"
    OTHER_AMOUNT = "other-amount"
    OTHER_CURRENCY = "other-currency"
    OTHER_STATE = "other-state"
    """A status that the protocol does not have."""
    OTHER_OPERATION = "other-operation"
    """The answer to something else than was asked."""
    EMPTY = "empty"
    GARBAGE = "garbage"
    OVERSIZED = "oversized"


ERRORS = (Fate.REQUEST_LOST, Fate.REPLY_LOST, Fate.SILENT)
"""What happens to calls every day."""
HOSTILE = tuple(fate for fate in Fate if fate not in ERRORS)
"""What no participant should ever do."""


@dataclass(frozen=True, slots=True)
class Manners:
    """How calls to a participant go.

    share  how many of them go wrong, 0 to 1
    fates  how, evenly drawn
    """

    share: float = 0.0
    fates: tuple[Fate, ...] = ERRORS

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ValueError("share is from 0 to 1")
        if not self.fates:
            raise ValueError("there is no fate to draw")


POLITE = Manners()

_RESPONSES: Mapping[str, Any] = {
    "Try": pb.TryResponse,
    "Confirm": pb.ConfirmResponse,
    "Cancel": pb.CancelResponse,
    "Query": pb.QueryResponse,
}
SPOILT_METHODS = frozenset(_RESPONSES)
"""The methods whose answers money rests on."""
_OF_ANOTHER: Mapping[str, pb.Status] = {
    "Try": pb.STATUS_CONFIRMED,
    "Confirm": pb.STATUS_HELD,
    "Cancel": pb.STATUS_HELD,
    "Query": pb.STATUS_UNSPECIFIED,  # a Query may find anything that there is
}
_NO_STATUS: Any = 99
_GARBAGE = b"\xff\xfe\x00 no message of the protocol \x07"
_OVERSIZED_BYTES = 256 * 1024
_PADDING_FIELD = 1000
Change: TypeAlias = Callable[[str, pb.Answer], None]


def _other_transaction(_method: str, answer: pb.Answer) -> None:
    answer.transaction_id = "00000000-0000-7000-8000-000000000000"


def _other_phase(_method: str, answer: pb.Answer) -> None:
    answer.phase = "somebody_elses"


def _other_amount(_method: str, answer: pb.Answer) -> None:
    answer.amount.minor_units += 1
    if answer.HasField("confirmed"):
        answer.confirmed.minor_units += 1


def _other_currency(_method: str, answer: pb.Answer) -> None:
    answer.amount.currency_code = "XXX"
    if answer.HasField("confirmed"):
        answer.confirmed.currency_code = "XXX"


def _other_state(_method: str, answer: pb.Answer) -> None:
    answer.status = _NO_STATUS


def _other_operation(method: str, answer: pb.Answer) -> None:
    answer.status = _OF_ANOTHER[method]


_CHANGES: Mapping[Fate, Change] = {
    Fate.OTHER_TRANSACTION: _other_transaction,
    Fate.OTHER_PHASE: _other_phase,
    Fate.OTHER_AMOUNT: _other_amount,
    Fate.OTHER_CURRENCY: _other_currency,
    Fate.OTHER_STATE: _other_state,
    Fate.OTHER_OPERATION: _other_operation,
}


def spoilt(fate: Fate, method: str, reply: bytes) -> bytes:
    """What comes back in place of `reply`, the true answer to `method` (`Try` and so on)."""
    match fate:
        case Fate.EMPTY:
            return b""
        case Fate.GARBAGE:
            return _GARBAGE
        case Fate.OVERSIZED:
            return reply + _padding(_OVERSIZED_BYTES)
        case _:
            response = _RESPONSES[method].FromString(reply)
            _CHANGES[fate](method, response.answer)
            return bytes(response.SerializeToString())


def _padding(size: int) -> bytes:
    """An unknown field of so many bytes: valid, and of no meaning."""
    return _varint(_PADDING_FIELD << 3 | 2) + _varint(size) + bytes(size)


def _varint(number: int) -> bytes:
    parts = bytearray()
    while number > 0x7F:  # noqa: PLR2004 - seven bits a byte
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*parts, number))
