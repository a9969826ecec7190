"""What is done to the processes and to the links between them, while shops buy.

Two lanes work at once, each doing one thing after the other: one kills and freezes processes, the
other lets links fail. So a database is killed while a participant cannot be reached, as it happens.
"""

from __future__ import annotations

import os
import random  # noqa: TID251 - seeded: the order of the faults is part of the run's seed
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum

from coordinator.cli.failures import Failure
from coordinator.cli.stack import PARTICIPANTS, Stack
from fault_injection.network.answers import HOSTILE, POLITE, Manners
from fault_injection.network.conditions import CLEAR, CONDITIONS
from fault_injection.network.control import Network
from fault_injection.network.placing import link_name

LOOK_S = 0.05
RESTARTS = 20
RESTART_S = 1.0
"""A process that does not come up is started again so often, after so many seconds: a coordinator
ends at once when its database cannot be reached."""
HOSTILE_SHARE = 0.8
"""How many answers a hostile participant spoils: some of its true ones come between."""


class Fault(StrEnum):
    """What can be done to a stack."""

    KILL_COORDINATOR = "kill a coordinator"
    KILL_AT_A_POINT = "kill a coordinator at a point"
    KILL_POSTGRES = "kill postgres"
    FREEZE_COORDINATOR = "freeze a coordinator"
    KILL_PARTICIPANT = "kill a participant"
    KILL_BROKER = "kill the broker"
    NETWORK = "network"
    HOSTILE = "hostile answers"


NEEDS_LINKS = frozenset({Fault.NETWORK, Fault.KILL_AT_A_POINT})
LINK_FAULTS = frozenset({Fault.NETWORK, Fault.HOSTILE})
"""What befalls what is said between processes; all else befalls the processes."""


@dataclass(frozen=True, slots=True)
class Point:
    """Where a coordinator is when it is killed: something of its own is held on a link.

    kind         the condition of the link that holds it
    at_database  the link to its database; else one to a participant
    """

    kind: str
    at_database: bool


POINTS: Mapping[str, Point] = {
    "statement under way": Point("requests-late", at_database=True),
    "statement done, not heard": Point("replies-late", at_database=True),
    "call under way": Point("requests-late", at_database=False),
    "call done, not heard": Point("replies-late", at_database=False),
}
"""What was under way arrives afterwards: it outlives its sender."""
AT_A_POINT_S = 3.0
"""How long is waited for something to be held, in seconds; then the kill comes anyway."""


class Stopped(Exception):
    """The run is over before its faults are."""


@dataclass(frozen=True, slots=True)
class Strike:
    """One fault that was done.

    kind      what, such as `network: slow`
    where     to which process or link
    began_s   in seconds since the run began
    ended_s   when its cause was over: at once for a kill, by healing for what lasts
    """

    kind: str
    where: str
    began_s: float
    ended_s: float


@dataclass(frozen=True, slots=True)
class Scene:
    """What there is to break.

    elapsed_s  how long the run has lasted
    manners    how calls to participants go while nothing else is done to them
    """

    stack: Stack
    network: Network | None
    elapsed_s: Callable[[], float]
    manners: Manners = POLITE


class Lane(threading.Thread):
    """Does faults to one scene, one after the other; the next not before its time.

    times      when each fault is due, in seconds since the run began
    between_s  how long it rests before each: at least, at most, in seconds
    freeze_s   how long a coordinator is frozen, in seconds; above the lease its claims run out
    lasting_s  how long a link fails: at least, at most, in seconds
    """

    def __init__(
        self,
        scene: Scene,
        faults: Sequence[Fault],
        times: Sequence[float],
        seed: str,
        *,
        between_s: tuple[float, float],
        freeze_s: float,
        lasting_s: tuple[float, float],
        say: Callable[[str], None],
    ) -> None:
        super().__init__(name=f"lane-{seed}", daemon=True)
        self._scene = scene
        self._due = tuple(zip(faults, times, strict=True))
        self._chance = random.Random(seed)  # noqa: S311 - no secret is made of it
        self._between_s = between_s
        self._freeze_s = freeze_s
        self._lasting_s = lasting_s
        self._say = say
        self._stopping = threading.Event()
        self.done: list[Strike] = []
        self.error: BaseException | None = None
        """Why it ended early."""

    def stop(self) -> None:
        """Does no more; returns when what is being done is over, and healed."""
        self._stopping.set()
        if self.is_alive():
            self.join()

    def run(self) -> None:
        """Does all of them."""
        try:
            for number, (fault, due_s) in enumerate(self._due, start=1):
                rest_s = self._chance.uniform(*self._between_s)  # when to strike
                self._wait(max(rest_s, due_s - self._scene.elapsed_s()))
                strike = self._strike(fault)
                self.done.append(strike)
                self._say(f"{number} of {len(self._due)}: {strike.kind}, {strike.where}")
        except Stopped:
            return
        except BaseException as error:  # noqa: BLE001 - whoever waits for the lane raises it
            self.error = error

    def _wait(self, seconds: float) -> None:
        if self._stopping.wait(max(0.0, seconds)):
            raise Stopped

    def _strike(self, fault: Fault) -> Strike:
        began_s = self._scene.elapsed_s()
        stack, chance = self._scene.stack, self._chance
        coordinator = chance.choice(stack.plan.coordinator_names)
        match fault:
            case Fault.KILL_COORDINATOR:
                return self._kill(fault.value, coordinator)
            case Fault.KILL_AT_A_POINT:
                return self._kill_at_a_point(coordinator)
            case Fault.KILL_PARTICIPANT:
                return self._kill(fault.value, chance.choice(PARTICIPANTS))
            case Fault.KILL_POSTGRES:
                stack.crash_postgres()
                try:
                    self._wait(chance.uniform(0.0, 2.0))
                finally:
                    stack.restart_postgres()
                where = "postgres"
            case Fault.KILL_BROKER:
                stack.crash_nats()
                try:
                    self._wait(chance.uniform(0.0, 2.0))
                finally:
                    stack.restart_nats()
                where = "nats"
            case Fault.FREEZE_COORDINATOR:
                where = coordinator
                self._freeze(coordinator)
            case Fault.NETWORK:
                return self._fail_link(began_s)
            case Fault.HOSTILE:
                return self._be_hostile(began_s)
        return Strike(fault.value, where, began_s, self._scene.elapsed_s())

    def _kill(self, kind: str, name: str) -> Strike:
        killed_s = self._scene.elapsed_s()
        self._scene.stack.children[name].kill()
        self._start_again(name)
        return Strike(kind, name, killed_s, killed_s)

    def _kill_at_a_point(self, name: str) -> Strike:
        network = self._scene.network
        assert network is not None, "asked for only with a network"
        title = self._chance.choice(sorted(POINTS))
        point = POINTS[title]
        part = "postgres" if point.at_database else self._chance.choice(PARTICIPANTS)
        link = link_name(name, part)
        held = network.traffic()[link].held
        network.impose(link, CONDITIONS[point.kind])
        try:
            for _ in range(round(AT_A_POINT_S / LOOK_S)):
                if network.traffic()[link].held > held:
                    break
                self._wait(LOOK_S)
            killed_s = self._scene.elapsed_s()
            self._scene.stack.children[name].kill()
        finally:
            network.impose(link, CLEAR)
        self._start_again(name)
        where = f"{name}, {part}"
        return Strike(f"{Fault.KILL_AT_A_POINT}: {title}", where, killed_s, killed_s)

    def _start_again(self, name: str) -> None:
        stack = self._scene.stack
        for left in reversed(range(RESTARTS)):
            try:
                stack.restart(name)
                break
            except Failure:
                if not left or stack.children[name].running:
                    raise
            self._wait(RESTART_S)

    def _freeze(self, name: str) -> None:
        pid = self._scene.stack.children[name].pid
        os.kill(pid, signal.SIGSTOP)
        try:
            self._wait(self._freeze_s)
        finally:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def _fail_link(self, began_s: float) -> Strike:
        network = self._scene.network
        assert network is not None, "asked for only with a network"
        link, kind = self._chance.choice(sorted(network.links)), self._chance.choice(KINDS)
        network.impose(link, CONDITIONS[kind])
        try:
            self._wait(self._chance.uniform(*self._lasting_s))
        finally:
            network.impose(link, CLEAR)
        return Strike(f"{Fault.NETWORK}: {kind}", link, began_s, self._scene.elapsed_s())

    def _be_hostile(self, began_s: float) -> Strike:
        scene = self._scene
        assert scene.network is not None, "asked for only with fronts"
        participant = self._chance.choice(sorted(scene.network.fronts))
        fate = self._chance.choice(HOSTILE)
        scene.network.behave(participant, Manners(HOSTILE_SHARE, (fate,)))
        try:
            self._wait(self._chance.uniform(*self._lasting_s))
        finally:
            scene.network.behave(participant, scene.manners)
        return Strike(f"{Fault.HOSTILE}: {fate}", participant, began_s, scene.elapsed_s())


KINDS = tuple(CONDITIONS)


def shuffled(faults: Mapping[Fault, int], seed: int, *, links: bool) -> Sequence[Fault]:
    """The faults of one lane, each as often as asked, in the order that the seed decides."""
    mine = [
        fault
        for fault, count in faults.items()
        for _ in range(count)
        if (fault in LINK_FAULTS) == links
    ]
    random.Random(f"{seed}/{links}").shuffle(mine)  # noqa: S311 - no secret is made of it
    return mine


def spread(count: int, seconds: float, seed: str) -> Sequence[float]:
    """When each of `count` faults is due: one at a random moment of each equal part of the time."""
    chance = random.Random(seed)  # noqa: S311 - no secret is made of it
    return [(number + chance.random()) * seconds / count for number in range(count)]
