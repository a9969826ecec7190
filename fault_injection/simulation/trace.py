"""What happened in a run, in order, with virtual times; two runs are equal if their hashes are.

Nothing of the machine is in it: no real time, no address, no order of a set.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256


class Runaway(SystemExit):
    """More happens than can be: something goes round and round. No handler may survive it."""


class Trace:
    """Lines of the form `seconds who what`. `now_s` is virtual time.

    Raises Runaway when there are more than `limit`.
    """

    def __init__(self, now_s: Callable[[], float], limit: int) -> None:
        self._limit = limit
        self._now_s = now_s
        self._lines: list[tuple[str, str]] = []
        self._closed = False

    def add(self, subject: str, what: str) -> None:
        """Something happened to the transaction (or process) called `subject`."""
        if self._closed:
            return
        if len(self._lines) >= self._limit:
            self._closed = True
            raise Runaway(f"more than {self._limit} calls and commits; the last is of {subject}")
        self._lines.append((subject, f"{self._now_s():11.6f} {subject}: {what}"))

    def close(self) -> None:
        """The run is over; what still happens while its world is taken down is no part of it."""
        self._closed = True

    @property
    def hash(self) -> str:
        """SHA-256 of every line, in hexadecimal."""
        return sha256("\n".join(line for _, line in self._lines).encode()).hexdigest()

    @property
    def lines(self) -> list[str]:
        """All of it."""
        return [line for _, line in self._lines]

    def of(self, subject: str, *kinds: str) -> list[str]:
        """The lines about this subject, and those about others whose names begin like these."""
        return [line for about, line in self._lines if about == subject or about.startswith(kinds)]

    def last(self, count: int) -> list[str]:
        """The last so many lines."""
        return [line for _, line in self._lines[-count:]]


def parting(first: Trace, second: Trace, before: int) -> list[str]:
    """Up to `before` lines that both traces have, then the first line that differs, of each."""
    others = second.lines
    lines = [*first.lines, *["(nothing)"] * len(others)]
    at = next(i for i, other in enumerate([*others, "(nothing)"]) if lines[i] != other)
    return [
        *others[max(0, at - before) : at],
        f"- {lines[at]}",
        f"+ {[*others, '(nothing)'][at]}",
    ]
