"""A coordinator's own clock, which jumps: forwards and backwards, until the world is healed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from coordinator.ports import Clock
from fault_injection.simulation.swarm import CLOCK_JUMPS, Swarm, Windows, draw

JUMP_S = 60.0
"""How much a clock is wrong at most, in seconds."""


@dataclass(frozen=True)
class JumpingClock:
    """The time of `clock`, and `jump_s` seconds later (or earlier) inside the windows.

    Waiting is not concerned, nor is `monotonic`: those of an operating system do not jump either.

    met  hears each time that it shows another time
    """

    clock: Clock
    windows: Windows
    jump_s: float
    met: Callable[[], None]

    def now(self) -> datetime:
        """See `Clock.now`."""
        at_s = self.clock.monotonic()
        if not any(start <= at_s < end for start, end in self.windows):
            return self.clock.now()
        self.met()
        return self.clock.now() + timedelta(seconds=self.jump_s)

    async def sleep(self, seconds: float) -> None:
        """See `Clock.sleep`."""
        await self.clock.sleep(seconds)

    def monotonic(self) -> float:
        """See `Clock.monotonic`."""
        return self.clock.monotonic()


def clock_of(clock: Clock, swarm: Swarm, process: str, met: Counter[str]) -> Clock:
    """The clock of this process; `met` counts how often it showed another time."""
    windows = swarm.windows(CLOCK_JUMPS, process)
    jump_s = JUMP_S * (2 * draw(swarm.seed, CLOCK_JUMPS, process, "by") - 1)
    return JumpingClock(clock, windows, jump_s, lambda: met.update([CLOCK_JUMPS]))
