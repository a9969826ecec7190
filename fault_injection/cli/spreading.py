"""Plays the runs of many seeds on several cores, and brings them in the order of their seeds."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager

from coordinator.cli.interruption import Interruption
from fault_injection.pool import pool
from fault_injection.simulation.plan import Asked, Plan, plan_of
from fault_injection.simulation.run import Run, play

WORTH_IT = 20
"""With fewer seeds the other processes would hardly have started when all is done."""
AHEAD = 8
"""How many runs each process is given ahead of those that are told: one may take longer."""


def jobs_for(seeds: range, asked: int | None) -> int:
    """How many processes play them, if it is not said."""
    if asked is not None:
        return min(asked, len(seeds))
    return (os.cpu_count() or 1) if len(seeds) >= WORTH_IT else 1


@contextmanager
def spread(
    seeds: range, asked: Asked, here: Callable[[Plan], Run], jobs: int, interruption: Interruption
) -> Iterator[Iterator[Run]]:
    """The runs, by `jobs` processes in memory or, with one, by `here`."""
    if jobs == 1:
        yield _here(seeds, asked, here, interruption)
        return
    with pool(jobs) as processes:
        yield _there(processes, seeds, asked, AHEAD * jobs)


def _here(
    seeds: range, asked: Asked, here: Callable[[Plan], Run], interruption: Interruption
) -> Iterator[Run]:
    for seed in seeds:
        with interruption.shielded():  # asyncio swallows what is raised inside
            run = here(plan_of(seed, asked))
        yield run


def _there(processes: Executor, seeds: range, asked: Asked, ahead: int) -> Iterator[Run]:
    given: deque[Future[Run]] = deque()
    for seed in seeds:
        given.append(processes.submit(_play, seed, asked))
        if len(given) > ahead:
            yield given.popleft().result()
    while given:
        yield given.popleft().result()


def _play(seed: int, asked: Asked) -> Run:
    return play(plan_of(seed, asked))
