"""Reads the little of YAML that our alert rules use, and refuses everything else.

Mappings, lists of mappings, plain scalars without any special character, double-quoted ones, and
literal blocks (`|`). A parser of all of YAML would be one more dependency for one file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

_LINE = re.compile(r"^( *)(- )?([A-Za-z_]+):(?: (.*))?$")
_PLAIN = re.compile(r"[A-Za-z0-9(/](?:[^:#\n]|:(?! |$)|(?<! )#)*(?<! )")
_QUOTED = re.compile(r'"[^"\\]*"')


class NotPlain(ValueError):
    """The text is more than this reads, or is not YAML at all."""


class _Lines:
    def __init__(self, text: str) -> None:
        self._lines = [line.rstrip("\n") for line in text.splitlines()]
        self._next = 0

    def peek(self) -> str | None:
        """The next line that is neither blank nor a comment."""
        while self._next < len(self._lines):
            line = self._lines[self._next]
            if line.strip() and not line.lstrip().startswith("#"):
                return line
            self._next += 1
        return None

    def take(self) -> None:
        self._next += 1

    def block(self, indent: int) -> Iterator[str]:
        """The lines of a literal block, which are indented deeper than `indent`."""
        while self._next < len(self._lines):
            line = self._lines[self._next]
            if line.strip() and len(line) - len(line.lstrip(" ")) <= indent:
                return
            yield line
            self._next += 1


def parse(text: str) -> Any:
    """The value. Raises NotPlain."""
    lines = _Lines(text)
    value = _mapping(lines, 0)
    if lines.peek() is not None:
        raise NotPlain(f"this is indented otherwise: {lines.peek()}")
    return value


def _mapping(lines: _Lines, indent: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    while (line := lines.peek()) is not None:
        match = _LINE.match(line)
        if match is None:
            raise NotPlain(line)
        here, dash, key, rest = match.groups()
        if len(here) + len(dash or "") != indent or (dash and found):
            break
        if key in found:
            raise NotPlain(f"{key} is there twice")
        lines.take()
        found[key] = _value(lines, indent, rest)
    if not found:
        raise NotPlain(f"nothing is indented by {indent}: {lines.peek()}")
    return found


def _value(lines: _Lines, indent: int, rest: str | None) -> Any:
    if rest == "|":
        block = list(lines.block(indent))
        depth = min(len(line) - len(line.lstrip(" ")) for line in block if line.strip())
        return "\n".join(line[depth:] for line in block).rstrip("\n") + "\n"
    if rest:
        if _QUOTED.fullmatch(rest):
            return rest[1:-1]
        if _PLAIN.fullmatch(rest):
            return rest
        raise NotPlain(rest)
    line = lines.peek() or ""
    deeper = len(line) - len(line.lstrip(" "))
    if deeper <= indent:
        raise NotPlain(f"nothing is under {line}")
    if not line.lstrip().startswith("- "):
        return _mapping(lines, deeper)
    items = []
    while (following := lines.peek()) is not None and following.startswith(" " * deeper + "- "):
        items.append(_mapping(lines, deeper + 2))
    return items
