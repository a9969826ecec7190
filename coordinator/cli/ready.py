"""The one line a server prints on stdout when it can be called; whoever started it waits for it."""

from __future__ import annotations

import sys

_PREFIX = "listening on "


def announce(address: str) -> None:
    """Prints the line."""
    sys.stdout.write(f"{_PREFIX}{address}\n")
    sys.stdout.flush()


def announced(line: str) -> str | None:
    """The address in the line; None if it is another line."""
    return line[len(_PREFIX) :].strip() if line.startswith(_PREFIX) else None
