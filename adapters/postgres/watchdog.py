"""Ends work on a connection whose other end has gone silent: a frozen server, pooler or network.

The server's own timeouts cannot help there, and the driver waits without limit. Once a unit of work
has lasted too long, its socket is shut down from another thread: the blocked call returns as a
connection that was lost, which the store settles like any other.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import psycopg2
import structlog

_TICKS = 8
_log = structlog.get_logger(__name__)


class HasSocket(Protocol):
    """A connection of the driver."""

    def fileno(self) -> int:
        """The descriptor of its socket."""


class Watchdog:
    """Shuts down the socket of work that lasts longer than `limit_s`, an eighth later at most.

    Time is counted in ticks of its one thread, which runs from the first work to `close`.
    """

    def __init__(self, limit_s: float) -> None:
        self._tick_s = limit_s / _TICKS
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._ages: dict[object, int] = {}
        self._watched: dict[object, HasSocket] = {}

    @contextmanager
    def over(self, connection: HasSocket) -> Iterator[None]:
        """Watches the connection until the context is left."""
        work = object()
        with self._lock:
            self._watched[work], self._ages[work] = connection, 0
            if self._thread is None and not self._stopped.is_set():
                self._thread = threading.Thread(
                    target=self._run, name="kessai-watchdog", daemon=True
                )
                self._thread.start()
        try:
            yield
        finally:
            # Waits while the watchdog cuts: the descriptor must not have a new owner by then.
            with self._lock:
                del self._watched[work], self._ages[work]

    def close(self) -> None:
        """Ends the thread. May be repeated."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(self._tick_s):
            with self._lock:
                for work in self._ages:
                    self._ages[work] += 1
                    # The first tick may come at once, so one more than a limit is made of.
                    if self._ages[work] == _TICKS + 1:
                        self._cut(self._watched[work])

    def _cut(self, connection: HasSocket) -> None:
        try:
            with socket.socket(fileno=os.dup(connection.fileno())) as line:
                line.shutdown(socket.SHUT_RDWR)
        except (OSError, psycopg2.Error):
            return  # it has been closed meanwhile
        _log.error("connection_cut", after_s=round(self._tick_s * _TICKS, 1))
