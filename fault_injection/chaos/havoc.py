"""What is done to the processes: killed, or frozen for longer than a claim."""

from __future__ import annotations

import os
import random  # noqa: TID251 - seeded: the order of the faults is part of the run's seed
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from coordinator.cli.stack import Stack


class Fault(StrEnum):
    """What can be done to a stack."""

    KILL_COORDINATOR = "kill a coordinator"
    KILL_POSTGRES = "kill postgres"
    FREEZE_COORDINATOR = "freeze a coordinator"
    KILL_PARTICIPANT = "kill a participant"


@dataclass
class Havoc:
    """Does faults to one stack, one after the other. `sleep` takes seconds.

    freeze_s  how long a coordinator is frozen, in seconds; above the lease its claims run out
    """

    stack: Stack
    chance: random.Random
    sleep: Callable[[float], object]
    freeze_s: float
    done: list[str] = field(default_factory=list)

    def strike(self, fault: Fault) -> None:
        """Does one fault, and starts again what it ended."""
        self.sleep(self.chance.uniform(0.1, 1.5))  # when to strike, not a wait for something
        match fault:
            case Fault.KILL_COORDINATOR:
                self._kill(self.chance.choice(self.stack.plan.coordinator_names))
            case Fault.KILL_PARTICIPANT:
                self._kill(self.chance.choice(("points", "card", "merchant")))
            case Fault.KILL_POSTGRES:
                self.stack.crash_postgres()
                self.sleep(self.chance.uniform(0.0, 2.0))
                self.stack.restart_postgres()
            case Fault.FREEZE_COORDINATOR:
                self._freeze(self.chance.choice(self.stack.plan.coordinator_names))
        self.done.append(fault.value)

    def _kill(self, name: str) -> None:
        self.stack.children[name].kill()
        self.stack.restart(name)

    def _freeze(self, name: str) -> None:
        pid = self.stack.children[name].pid
        os.kill(pid, signal.SIGSTOP)
        try:
            self.sleep(self.freeze_s)
        finally:
            os.kill(pid, signal.SIGCONT)
