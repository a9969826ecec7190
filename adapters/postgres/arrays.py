"""PostgreSQL array literals, one per column of a group.

A literal such as `'{"a","b"}'` is one constant for the server's parser and one string for
psycopg2. An `ARRAY['a','b']`, which psycopg2 makes of a list, costs both of them several times as
much per element.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

from adapters.postgres.fields import Field, Kind


def column(field: Field, rows: Iterable[Any]) -> str:
    """The array literal of one column over these rows."""
    values = list(map(field.get, rows))
    if field.nullable:
        render = _RENDER_ONE[field.kind]
        return "{" + ",".join(["NULL" if v is None else render(v) for v in values]) + "}"
    if field.kind is Kind.TEXT:
        return _texts(values)
    if field.kind in {Kind.ID, Kind.WORD}:
        return "{" + ",".join(values) + "}"
    return "{" + ",".join(map(_RENDER_ONE[field.kind], values)) + "}"


def columns(fields: Sequence[Field], rows: Sequence[Any], prefix: str) -> dict[str, str]:
    """Every column by its parameter name, which is `prefix` and the column's name."""
    return {prefix + field.name: column(field, rows) for field in fields}


def _texts(values: list[str]) -> str:
    if not values:
        return "{}"
    joined = '","'.join(values)
    if "\\" not in joined and joined.count('"') == 2 * (len(values) - 1):
        return '{"' + joined + '"}'
    return "{" + ",".join(map(_quoted, values)) + "}"


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _time(value: datetime) -> str:
    if value.tzinfo is None:
        raise ValueError("a datetime without a zone cannot be stored")
    return value.isoformat()


def _bytes(value: bytes) -> str:
    return f'"\\\\x{value.hex()}"'


_RENDER_ONE: dict[Kind, Callable[[Any], str]] = {
    Kind.ID: str,
    Kind.WORD: str,
    Kind.TEXT: _quoted,
    Kind.INTEGER: str,
    Kind.BOOLEAN: str,
    Kind.TIME: _time,
    Kind.BYTES: _bytes,
}
