"""The store's constant queries, compiled once and executed by the driver itself.

They are most of what a simulation executes, and what SQLAlchemy does around each execution costs
more than SQLite's own work. Text, order of the values and types of the columns are SQLAlchemy's.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

from adapters.postgres import reading

QUERIES = frozenset({reading.BY_ID, reading.BY_KEY, reading.BY_PAYMENT, reading.JOURNAL_AFTER})
"""Their values are texts and integers, which the driver takes as they are."""


@dataclass(frozen=True, slots=True)
class Found:
    """The rows that a query found, with attributes as those of `sa.Row`."""

    rows: list[Any]

    def all(self) -> list[Any]:
        """See `sa.CursorResult.all`."""
        return self.rows


class Prepared:
    """One query as the driver takes it."""

    def __init__(self, query: sa.Select[Any]) -> None:
        dialect = SQLiteDialect_pysqlite()
        compiled = query.compile(dialect=dialect)
        columns = query.selected_columns
        self.text = str(compiled)
        self._fixed: Mapping[str, Any] = compiled.params
        self._order = tuple(compiled.positiontup or ())
        self._row = _row_class([str(column.key) for column in columns])
        readers = [
            column.type.dialect_impl(dialect).result_processor(dialect, None) for column in columns
        ]
        self._readers = [(at, read) for at, read in enumerate(readers) if read is not None]

    def values(self, parameters: Mapping[str, Any]) -> list[Any]:
        """In the order of the text's question marks."""
        given = {**self._fixed, **parameters}
        return [given[name] for name in self._order]

    def found(self, rows: list[tuple[Any, ...]]) -> Found:
        """What the driver found, as SQLAlchemy would hand it on."""
        return Found([self._made(list(row)) for row in rows])

    def _made(self, row: list[Any]) -> Any:
        for at, read in self._readers:
            row[at] = read(row[at])
        return self._row._make(row)


def _row_class(names: list[str]) -> Any:
    """Faster to read from than `sa.Row`."""
    make: Any = namedtuple  # noqa: PYI024 - the names are known only now
    return make("Row", names)


@cache
def prepared(query: sa.Select[Any]) -> Prepared:
    """For one of `QUERIES`, made once."""
    return Prepared(query)
