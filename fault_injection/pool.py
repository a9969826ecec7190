"""Processes that play runs beside each other."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager


@contextmanager
def pool(jobs: int) -> Iterator[ProcessPoolExecutor]:
    """`jobs` processes; what was not begun when the context is left never is."""
    context = multiprocessing.get_context("spawn")  # a fork would share open databases
    processes = ProcessPoolExecutor(jobs, context, initializer=_leave_signals)
    try:
        yield processes
    finally:
        processes.shutdown(wait=True, cancel_futures=True)


def _leave_signals() -> None:
    """Ctrl-C reaches every process of a terminal; the parent ends the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
