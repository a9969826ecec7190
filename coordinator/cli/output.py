"""What commands print: data on stdout as a table, JSON or JSON lines; messages on stderr.

Colours appear only on a terminal and never with NO_COLOR (rich keeps both rules). In a pipe tables
are as wide as their content, so that no ID is ever cut. Text that came from elsewhere is shown
without control characters.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal, TextIO

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

PIPE_WIDTH = 4000
"""Columns in a pipe: enough for any line."""


class Format(StrEnum):
    """Forms of output."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"


def _remember(ctx: typer.Context, value: Format) -> Format:
    ctx.find_root().obj = value
    return value


OutputOption = Annotated[
    Format,
    typer.Option(
        "--output", "-o", help="Form of the output.", callback=_remember, show_default=True
    ),
]
"""`--output`, remembered so that errors take the same form."""


def _console(file: TextIO) -> Console:
    width = None if file.isatty() else PIPE_WIDTH
    return Console(file=file, width=width, highlight=False, soft_wrap=not file.isatty())


def data() -> Console:
    """Where data goes: stdout."""
    return _console(sys.stdout)


def messages() -> Console:
    """Where messages go: stderr."""
    return _console(sys.stderr)


def say(message: str | Text) -> None:
    """Prints one message on stderr, for the terminal to wrap: what it breaks can be pasted."""
    messages().print(message, markup=False, soft_wrap=True)


def lines(text: str) -> None:
    """Prints lines on stdout as they are, so that they can be pasted from any terminal."""
    data().print(text, markup=False, soft_wrap=True)


def plain(text: str) -> str:
    """`text` without anything that could drive a terminal."""
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text
    )


def table(
    *columns: str, right: Iterable[str] = (), whole: Iterable[str] = (), edge: bool = True
) -> Table:
    """An empty table. `right` names the columns with numbers, `whole` those that never wrap.

    Without its `edge` it is two columns of the terminal narrower.
    """
    made = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=edge)
    numbers, unbroken = frozenset(right), frozenset(whole)
    for column in columns:
        justify: Literal["left", "right"] = "right" if column in numbers else "left"
        made.add_column(column, justify=justify, overflow="fold", no_wrap=column in unbroken)
    return made


def emit(form: Format, record: Mapping[str, Any], render: Callable[[], RenderableType]) -> None:
    """Prints one record. `render` makes its form for people, and is called only for that."""
    if form is Format.TABLE:
        made = render()
        data().print(made, soft_wrap=isinstance(made, str | Text))
    else:
        _write(json.dumps(record, ensure_ascii=False, indent=2 if form is Format.JSON else None))


def emit_all(
    form: Format, records: Iterable[Mapping[str, Any]], render: Callable[[], RenderableType]
) -> None:
    """Prints many records: one table, one JSON array, or one JSON line each."""
    match form:
        case Format.TABLE:
            data().print(render())
        case Format.JSON:
            _write(json.dumps(list(records), ensure_ascii=False, indent=2))
        case Format.JSONL:
            for record in records:
                _write(json.dumps(record, ensure_ascii=False))


def _write(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
