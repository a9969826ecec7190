"""Plays portions on several cores: each process numbers the points anew, and tells little."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager

from coordinator.cli.interruption import Interruption
from fault_injection.sweep.campaign import Played, Portion, play_portion

Play = Callable[[Sequence[Portion]], Iterator[Played]]


@contextmanager
def crowd(jobs: int, interruption: Interruption) -> Iterator[Play]:
    """What plays portions, in `jobs` processes or, with one, here; in any order."""
    if jobs == 1:

        def here(portions: Sequence[Portion]) -> Iterator[Played]:
            for portion in portions:
                with interruption.shielded():  # asyncio swallows what is raised inside
                    played = play_portion(portion)
                yield played

        yield here
        return
    context = multiprocessing.get_context("spawn")  # a fork would share open databases
    pool = ProcessPoolExecutor(jobs, context, initializer=leave_signals)
    try:
        yield lambda portions: _spread(pool, portions)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _spread(pool: ProcessPoolExecutor, portions: Sequence[Portion]) -> Iterator[Played]:
    left: set[Future[Played]] = {pool.submit(play_portion, portion) for portion in portions}
    while left:
        done, left = wait(left, return_when=FIRST_COMPLETED)
        yield from (future.result() for future in done)


def leave_signals() -> None:
    """Ctrl-C reaches every process of a terminal; the parent ends the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
