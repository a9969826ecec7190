"""The rows of a group as one JSON document, read on the server by `json_to_recordset`.

One string of one statement, rendered in C. An array literal for each column costs this process six
times as much, an `ARRAY[…]`, which psycopg2 makes of a list, far more; the server minds none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from msgspec.json import Encoder

from adapters.postgres.fields import Field, Kind

_ENCODER = Encoder()


def record_set(fields: Sequence[Field], parameter: str) -> str:
    """The FROM item that turns the document in `parameter` back into rows, as `i`."""
    columns = ", ".join(f"{field.name} {field.kind.value}" for field in fields)
    return f"json_to_recordset(%({parameter})s::json) AS i({columns})"


def document(fields: Sequence[Field], rows: Iterable[Any]) -> str:
    """These columns of these rows. Raises ValueError for a time without a zone."""
    names = [field.name for field in fields]
    getters = [_GETTERS.get(field.kind, _as_is)(field.get) for field in fields]
    found = [dict(zip(names, [get(row) for get in getters], strict=True)) for row in rows]
    return _ENCODER.encode(found).decode()


def _as_is(get: Any) -> Any:
    return get


def _time(get: Any) -> Any:
    def checked(row: Any) -> datetime | None:
        value: datetime | None = get(row)
        if value is not None and value.tzinfo is None:
            raise ValueError("a datetime without a zone cannot be stored")
        return value

    return checked


def _bytes(get: Any) -> Any:
    def as_hex(row: Any) -> str | None:
        value: bytes | None = get(row)
        return None if value is None else f"\\x{value.hex()}"

    return as_hex


_GETTERS = {Kind.TIME: _time, Kind.BYTES: _bytes}
