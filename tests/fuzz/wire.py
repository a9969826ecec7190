"""Bytes for requests: messages with every field at its extremes, and what may happen to them.

Made from a message's descriptor alone, so that a new field or method is tried without a word here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import strategies as st

Draw: TypeAlias = Callable[[st.SearchStrategy[Any]], Any]

WORDS = (
    "",
    "a",
    "JPY",
    "USD",
    "XXX",
    "points_and_card",
    "card_only",
    "points_reserve",
    "card_charge",
    "merchant_credit",
    "key-1",
    "tok_ok",
    "4242424242424242",
    "00000000-0000-0000-0000-000000000000",
    "not-a-uuid",
    "x" * 41,
    "x" * 129,
    "y" * 5000,
    "\0",
    "a\0b",
    "two\nlines",
    "\u202eright to left",
    "日本",
    "é" * 128,
    "\U0001f4a3",
    "'; DROP TABLE transactions; --",
    "%s%n{0}{id}",
    "' OR 1=1",
)
"""What strings may hold that is wrong, mostly."""
_INTEGERS = (0, 1, -1, 2, 400, 600, 1000, 10**9, 10**12, 10**12 + 1, 10**15)
_SIGNED_64 = (*_INTEGERS, 2**31, 2**53, 2**63 - 1, -(2**63))
_SIGNED_32 = (0, 1, -1, 2, 500, 501, 2**31 - 1, -(2**31))
_UNSIGNED = (0, 1, 2**31, 2**32 - 1)
_CHUNKS = (
    b"",
    b"\x00",
    b"\xff" * 10,
    b"\xff" * 11 + b"\x01",
    b"\x80" * 9 + b"\x01",
    b"\x0a\xff\xff\xff\xff\x07",
    b"\x0a\x02\xc3\x28",
    b"\x0a\x04\xed\xa0\x80\x41",
    b"\x0b" * 200,
    b"\x0b" * 50 + b"\x0c" * 50,
    b"\x07" * 8,
    b"\xfa\xff\xff\xff\x0f\x00",
    b"\x12" + b"\xff\x7f" + b"z" * 16383,
)
"""Huge varints, lengths that lead past the end, groups nested deep, text that is no UTF-8, types
that there are not, field numbers out of range, and a field of 16 KiB."""


def values_of(field: Any) -> st.SearchStrategy[Any]:
    """What a field that is no message may hold, extremes and all."""
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_STRING if field.type == FieldDescriptor.TYPE_BYTES:
            return st.sampled_from(_CHUNKS)
        case FieldDescriptor.CPPTYPE_STRING:
            return st.sampled_from(WORDS)
        case FieldDescriptor.CPPTYPE_INT64:
            return st.sampled_from(_SIGNED_64)
        case FieldDescriptor.CPPTYPE_INT32:
            return st.sampled_from(_SIGNED_32)
        case FieldDescriptor.CPPTYPE_ENUM:
            assert field.enum_type is not None, "an enum's field has its type"
            known = [value.number for value in field.enum_type.values]
            return st.sampled_from((*known, *known, 9999, -1))
        case FieldDescriptor.CPPTYPE_BOOL:
            return st.booleans()
        case FieldDescriptor.CPPTYPE_DOUBLE | FieldDescriptor.CPPTYPE_FLOAT:
            return st.sampled_from((0.0, -0.0, 1.0, float("nan"), float("inf"), 1e308))
        case _:
            return st.sampled_from(_UNSIGNED)


Right: TypeAlias = Mapping[str, Sequence[Any]]
"""Values that are right, by the names of fields that have any."""


def _fill(draw: Draw, message: Message, right: Right, sane: int, depth: int) -> None:
    """Of so many fields in eight the value is right, or left out where nothing is known of it."""
    for field in message.DESCRIPTOR.fields:
        is_right = draw(st.integers(0, 7)) < sane
        known = right.get(field.name, ())
        if not draw(st.integers(0, 3)) or (is_right and not known and field.message_type is None):
            continue
        count = draw(st.sampled_from((1, 1, 2, 0, 20))) if field.is_repeated else 1
        for _ in range(count):
            if field.message_type is None:
                value = draw(st.sampled_from(known) if is_right else values_of(field))
                if field.is_repeated:
                    getattr(message, field.name).append(value)
                else:
                    setattr(message, field.name, value)
            elif depth:
                part = getattr(message, field.name)
                part = part.add() if field.is_repeated else part
                part.SetInParent()
                _fill(draw, part, right, sane, depth - 1)


@st.composite
def messages(draw: Draw, descriptor: Any, right: Right) -> Message:
    """A message with its fields at all kinds of values, or left out; more or less sane."""
    message = GetMessageClass(descriptor)()
    _fill(draw, message, right, draw(st.sampled_from((0, 6, 7, 8))), depth=4)
    return message


@st.composite
def spoiled(draw: Draw, data: bytes) -> bytes:
    """What a bad network, or a bad client, may make of these bytes: up to three things at once."""
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        match draw(st.integers(0, 5)):
            case 0:
                data = data[:at]
            case 1 if at < len(data):
                bit = draw(st.integers(0, 7))
                data = data[:at] + bytes([data[at] ^ (1 << bit)]) + data[at + 1 :]
            case 2:
                end = draw(st.integers(at, len(data)))
                data = data[:end] + data[at:end] + data[end:]
            case 3:
                data = data[:at] + draw(st.sampled_from(_CHUNKS)) + data[at:]
            case 4:
                data += data  # every field twice
            case _:
                data = data[:at] + draw(st.binary(max_size=4)) + data[at:]
    return data


@st.composite
def requests(draw: Draw, descriptor: Any, right: Right, good: Sequence[bytes] = ()) -> bytes:
    """A request's bytes: noise, a message at its extremes, or one of these, spoiled or not."""
    kind = draw(st.integers(0, 7))
    if kind == 0:
        return draw(st.binary(max_size=64))  # type: ignore[no-any-return]
    if good and kind >= 5:
        data = draw(st.sampled_from(tuple(good)))
    else:
        data = draw(messages(descriptor, right)).SerializeToString()
    return draw(spoiled(data)) if kind % 3 == 1 else data  # type: ignore[no-any-return]
