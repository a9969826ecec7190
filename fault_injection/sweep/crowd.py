"""Plays portions on several cores: each process numbers the points anew, and tells little."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from contextlib import contextmanager

from coordinator.cli.interruption import Interruption
from fault_injection.pool import pool
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
    with pool(jobs) as processes:
        yield lambda portions: _spread(processes, portions)


def _spread(processes: Executor, portions: Sequence[Portion]) -> Iterator[Played]:
    left: set[Future[Played]] = {processes.submit(play_portion, portion) for portion in portions}
    while left:
        done, left = wait(left, return_when=FIRST_COMPLETED)
        yield from (future.result() for future in done)
