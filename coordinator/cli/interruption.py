"""Ctrl-C and SIGTERM, without leaving a half-started process behind.

Either signal raises `Interrupted` in the main thread, except inside `shielded()`, where it is
remembered and raised at the end of the block. `ignore()` is for the way out: from then on signals
change nothing, since everything is being stopped already.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Self


class Interrupted(BaseException):
    """Somebody wants this to stop. Not an Exception: no handler of errors may take it for one."""


class Interruption:
    """Takes SIGINT and SIGTERM while it is entered; main thread only."""

    _SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self._shields = 0
        self._wanted = False
        self._ignoring = False

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._take) for number in self._SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextmanager
    def shielded(self) -> Iterator[None]:
        """Signals wait until the block is done.

        What the block starts in the terminal's own process group gets the signal as well, and may
        fail by it: such a failure is the interruption.
        """
        self._shields += 1
        try:
            yield
        except Exception:
            if self._wanted:
                raise Interrupted from None
            raise
        finally:
            self._shields -= 1
        if self._wanted and not self._shields and not self._ignoring:
            raise Interrupted

    def ignore(self) -> None:
        """From now on signals change nothing."""
        self._ignoring = True

    def _take(self, _number: int, _frame: FrameType | None) -> None:
        self._wanted = True
        if not self._shields and not self._ignoring:
            raise Interrupted
