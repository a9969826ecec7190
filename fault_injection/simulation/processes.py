"""The coordinators of a simulated world, and what has to be true of them at rest."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from coordinator.domain.errors import PublishFailed, StoreUnavailable
from coordinator.engine.drive import Driver
from fault_injection.invariants import Violation
from fault_injection.lives import Life
from fault_injection.simulation.parts import SimulatedStore

_EXPECTED = (StoreUnavailable.__name__, PublishFailed.__name__)
"""Trouble that coordinators report and get over."""


@dataclass(eq=False)
class Process:
    """One coordinator and its background loop."""

    name: str
    store: SimulatedStore
    driver: Driver
    loop: asyncio.Task[None]
    life: Life

    async def end(self) -> None:
        """Whatever it still does is given up, unless it has died."""
        if self.life.over:
            return
        tasks: list[asyncio.Future[Any]] = [self.loop, *self.life.asked, *self.driver.tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def check_rest(processes: Iterable[Process], troubles: Iterable[tuple[str, str]]) -> None:
    """S18: nothing is left to do, and nothing broke. Raises Violation."""
    for process in processes:
        if process.life.over:
            continue
        if process.loop.done() and not process.loop.cancelled():
            raise Violation(f"bug: the loop of {process.name}: {process.loop.exception()!r}")
        busy = process.driver.in_flight, process.driver.committing, process.store.queued
        if any(busy):
            raise Violation(f"S18: {process.name} has {busy} left at rest")
    for what, problem in troubles:
        if not problem.startswith(_EXPECTED):
            raise Violation(f"bug: {what}: {problem}")
