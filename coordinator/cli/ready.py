"""What a server prints on stdout when it can be called; whoever started it waits for that line."""

from __future__ import annotations

import sys

_PREFIX = "listening on "


def announce(address: str) -> None:
    """Prints the line."""
    sys.stdout.write(f"{_PREFIX}{address}\n")
    sys.stdout.flush()


def announce_admin(address: str) -> None:
    """Prints where operators can call; it comes before the other line."""
    sys.stdout.write(f"admin {_PREFIX}{address}\n")
    sys.stdout.flush()


def announced_admin(line: str) -> str | None:
    """Where operators can call, if the line says so."""
    prefix = f"admin {_PREFIX}"
    return line[len(prefix) :].strip() if line.startswith(prefix) else None


def announced(line: str) -> str | None:
    """The address in the line; None if it is another line."""
    return line[len(_PREFIX) :].strip() if line.startswith(_PREFIX) else None
