"""One chaos run: shops buy while processes and links fail; then all must become quiet and right."""

from __future__ import annotations

import json
import random  # noqa: TID251 - a seed that nobody chose; every report has it
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

from adapters.system import SystemClock
from coordinator.cli.interruption import Interruption
from coordinator.cli.keys import digest, kept_keys
from coordinator.cli.stack import LEDGERS, Plan, Stack, direct
from fault_injection.chaos.havoc import (
    NEEDS_LINKS,
    Fault,
    Lane,
    Scene,
    Strike,
    shuffled,
    spread,
)
from fault_injection.chaos.history import History
from fault_injection.chaos.orders import OPTIONS
from fault_injection.chaos.readings import Readings
from fault_injection.chaos.report import CREATE, Report, recoveries, waits
from fault_injection.chaos.shops import RIVAL, RIVAL_KEY, Shop
from fault_injection.chaos.verdict import Databases, judge
from fault_injection.network.answers import POLITE, Manners
from fault_injection.network.control import Network
from fault_injection.network.placing import Placed, link_name

CLOCK = SystemClock()
CALLER = "shops"
LOOK_S = 0.2
ANSWER_LIMIT_S = 120.0
BETWEEN_S = (0.1, 1.5)
"""How long after a fault the next one comes when no time was asked for, in seconds."""


@dataclass(frozen=True, slots=True)
class ChaosPlan:
    """What a run does.

    faults        how often each fault is done, in an order that the seed decides
    seconds       for how long shops buy, with the faults spread over it; None: until all faults
                  were done, one soon after the other
    coordinators  processes on one database
    shops         callers at once
    pause_s       how long a shop rests between two things, in seconds
    lease_s       how long a claim lasts, in seconds: short, so that much runs out
    errors        how many calls to participants go wrong all the while (lost, or their answer is,
                  or none ever comes), 0 to 1
    lasting_s     how long a link fails: at least, at most, in seconds
    quiet_s       how long after the last fault all must be settled, at most, in seconds
    """

    seed: int
    faults: Mapping[Fault, int]
    seconds: float | None = None
    coordinators: int = 2
    shops: int = 6
    pause_s: float = 0.0
    lease_s: float = 3.0
    errors: float = 0.0
    lasting_s: tuple[float, float] = (1.0, 5.0)
    quiet_s: float = 120.0
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def networked(self) -> bool:
        """Whether links are placed between the processes."""
        return self.fronted or any(self.faults.get(fault) for fault in NEEDS_LINKS)

    @property
    def fronted(self) -> bool:
        """Whether participants have fronts."""
        return bool(self.errors or self.faults.get(Fault.HOSTILE))

    @property
    def manners(self) -> Manners:
        """How calls to participants go while nothing else is done to them."""
        return Manners(self.errors)


def pause(seconds: float) -> None:
    """Lets real time pass."""
    threading.Event().wait(seconds)


def fresh_seed() -> int:
    """A seed that nobody chose."""
    return random.SystemRandom().randrange(2**31)


def run(
    plan: ChaosPlan,
    folder: Path,
    say: Callable[[str], None] = lambda _line: None,
    interruption: Interruption | None = None,
) -> Report:
    """Does the plan with processes of its own in `folder`. `say` is told what is done."""
    folder.mkdir(parents=True, exist_ok=True)
    callers = {
        CALLER: kept_keys(folder / "keys.json").api_key_digest,
        RIVAL: digest(RIVAL_KEY),
    }
    settings = {
        "KESSAI_LEASE_S": str(plan.lease_s),
        "KESSAI_RECOVER_INTERVAL_S": "0.3",
        "KESSAI_CALLERS": json.dumps(callers),
        **plan.settings,
    }
    with ExitStack() as parts:
        network = parts.enter_context(_network(plan, folder)) if plan.networked else None
        between = direct if network is None else Placed(network, fronts=plan.fronted)
        stack_plan = Plan(
            folder,
            caller=CALLER,
            options=OPTIONS,
            settings=settings,
            coordinators=plan.coordinators,
            between=between,
        )
        stack = parts.enter_context(Stack(stack_plan, interruption))
        began = CLOCK.monotonic()
        return _Run(plan, stack, network, lambda: CLOCK.monotonic() - began, say).do()


def _network(plan: ChaosPlan, folder: Path) -> Network:
    return Network(plan.seed, folder / "network.log")


class _Run:
    """A run over a stack that stands."""

    def __init__(
        self,
        plan: ChaosPlan,
        stack: Stack,
        network: Network | None,
        elapsed_s: Callable[[], float],
        say: Callable[[str], None],
    ) -> None:
        self._plan = plan
        self._stack = stack
        self._network = network
        self._elapsed_s = elapsed_s
        self._say = say
        self._history = History(elapsed_s)
        self._database = Databases(stack.database_urls["kessai"])
        self._shops = [
            Shop(
                number,
                plan.seed,
                self._addresses(),
                stack.keys.api_key,
                self._history,
                pause_s=plan.pause_s,
            )
            for number in range(plan.shops)
        ]

    def do(self) -> Report:
        """Buys and breaks, waits until all is quiet, and judges."""
        plan = self._plan
        with closing(self._readings()) as readings:
            for shop in self._shops:
                shop.start()
            strikes = self._havoc()
            load_s = self._elapsed_s()
            last_s = max([0.0, *(each.ended_s for each in strikes)])
            quiet_s = self._until_quiet(last_s)
        violations = judge(self._stack, self._history, self._shops, readings)
        spoilt = Counter[str]()
        for counts in self._network.spoilt().values() if self._network else ():
            spoilt.update(counts)
        answers = self._history.answers
        created = [answer for answer in answers if answer.call == CREATE]
        ends = self._database.ends()
        return Report(
            seed=plan.seed,
            load_s=load_s,
            by_state=Counter(state.value for state, _ in ends.values()),
            answers=len(answers),
            payments=sum(payment for _, payment in ends.values()),
            create_s=waits(created),
            call_s=waits(answers),
            recoveries=recoveries(strikes, answers, readings.overdue),
            spoilt=spoilt,
            books=readings.books,
            quiet_s=quiet_s,
            violations=tuple(violations),
        )

    def _addresses(self) -> Sequence[str]:
        """Where shops call."""
        direct_ones = {name: self._stack.addresses[name] for name in self._names}
        if self._network is None:
            return tuple(direct_ones.values())
        return [
            self._network.open(link_name("shops", name), address)
            for name, address in direct_ones.items()
        ]

    @property
    def _names(self) -> Sequence[str]:
        return self._stack.plan.coordinator_names

    def _readings(self) -> Readings:
        urls = self._stack.database_urls
        ledgers = {name: urls[name] for name in LEDGERS}
        readings = Readings(urls["kessai"], ledgers, urls["stock"], self._history)
        readings.start()
        return readings

    def _havoc(self) -> list[Strike]:
        """Does every fault, and returns them in the order in which they were over."""
        plan = self._plan
        scene = Scene(self._stack, self._network, self._elapsed_s, plan.manners)
        self._behave(plan.manners)
        lanes = [self._lane(scene, links=links) for links in (False, True)]
        for lane in lanes:
            lane.start()
        try:
            while any(lane.is_alive() for lane in lanes) or not self._time_is_up():
                if failed := next((lane.error for lane in lanes if lane.error), None):
                    raise failed
                pause(LOOK_S)
        finally:
            for lane in lanes:
                lane.stop()
            self._behave(POLITE)
        if failed := next((lane.error for lane in lanes if lane.error), None):
            raise failed
        strikes = [strike for lane in lanes for strike in lane.done]
        assert len(strikes) == sum(plan.faults.values()), "every fault was done"
        return sorted(strikes, key=lambda strike: strike.ended_s)

    def _behave(self, manners: Manners) -> None:
        if self._network is not None:
            for participant in self._network.fronts:
                self._network.behave(participant, manners)

    def _time_is_up(self) -> bool:
        return self._elapsed_s() >= (self._plan.seconds or 0.0)

    def _lane(self, scene: Scene, *, links: bool) -> Lane:
        plan = self._plan
        faults = shuffled(plan.faults, plan.seed, links=links)
        name = f"{plan.seed}/{'links' if links else 'processes'}"
        times = spread(len(faults), plan.seconds or 0.0, name)
        return Lane(
            scene,
            faults,
            times,
            name,
            between_s=BETWEEN_S if plan.seconds is None else (0.0, 0.0),
            freeze_s=plan.lease_s + 2.0,
            lasting_s=plan.lasting_s,
            say=self._say,
        )

    def _until_quiet(self, last_s: float) -> float | None:
        """Waits until every shop was answered and nothing is live; how long after the last fault.

        last_s  when the last fault was over
        """
        for shop in self._shops:
            shop.stop()
        limit_s = self._elapsed_s() + ANSWER_LIMIT_S
        for shop in self._shops:
            shop.join(max(0.0, limit_s - self._elapsed_s()))
            if shop.is_alive():
                self._history.missed(f"{shop.name} was not answered in {ANSWER_LIMIT_S:g} s")
        while self._database.live():
            if self._elapsed_s() - last_s > self._plan.quiet_s:
                return None
            pause(LOOK_S)
        return self._elapsed_s() - last_s
