"""One chaos run: shops buy while processes are killed; then all must become quiet, and be right."""

from __future__ import annotations

import random  # noqa: TID251 - seeded, and every report has the seed
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from adapters.system import SystemClock
from coordinator.cli.interruption import Interruption
from coordinator.cli.stack import Plan, Stack
from coordinator.cli.up import OPTIONS
from fault_injection.chaos.havoc import Fault, Havoc
from fault_injection.chaos.history import History
from fault_injection.chaos.shops import Shop
from fault_injection.chaos.verdict import Databases, judge

CLOCK = SystemClock()
LOOK_S = 0.2
ANSWER_LIMIT_S = 120.0


@dataclass(frozen=True, slots=True)
class ChaosPlan:
    """What a run does.

    faults        how often each fault is done, in an order that the seed decides
    coordinators  processes on one database
    shops         callers at once
    lease_s       how long a claim lasts, in seconds: short, so that much runs out
    quiet_s       how long after the last fault all must be settled, at most, in seconds
    """

    seed: int
    faults: Mapping[Fault, int]
    coordinators: int = 2
    shops: int = 6
    lease_s: float = 3.0
    quiet_s: float = 120.0
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Report:
    """What came of a run.

    quiet_s  how long after the last fault all was settled, in seconds; None when it was not
    """

    seed: int
    transactions: int
    by_state: Mapping[str, int]
    answers: int
    faults: Mapping[str, int]
    quiet_s: float | None
    violations: tuple[str, ...]

    def record(self) -> dict[str, object]:
        """As JSON can have it."""
        return {
            "seed": self.seed,
            "transactions": self.transactions,
            "by_state": dict(self.by_state),
            "answers": self.answers,
            "faults": dict(self.faults),
            "quiet_s": self.quiet_s,
            "violations": list(self.violations),
        }

    def __str__(self) -> str:
        """One paragraph."""
        faults = ", ".join(f"{count} × {name}" for name, count in self.faults.items())
        quiet = "never" if self.quiet_s is None else f"{self.quiet_s:.1f} s after the last fault"
        states = ", ".join(f"{count} {state}" for state, count in sorted(self.by_state.items()))
        return (
            f"seed {self.seed}: {self.transactions} transactions ({states}), {self.answers} "
            f"answers; {faults}; quiet {quiet}; {len(self.violations)} violations"
        )


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
    settings = {
        "KESSAI_LEASE_S": str(plan.lease_s),
        "KESSAI_RECOVER_INTERVAL_S": "0.3",
        **plan.settings,
    }
    options = {**OPTIONS, "points": ("--seed=alice=100000000", "--seed=bob=50")}
    stack_plan = Plan(folder, options=options, settings=settings, coordinators=plan.coordinators)
    history = History()
    with Stack(stack_plan, interruption) as stack:
        addresses = [stack.addresses[name] for name in stack.plan.coordinator_names]
        shops = [
            Shop(number, plan.seed, addresses, stack.keys.api_key, history)
            for number in range(plan.shops)
        ]
        for shop in shops:
            shop.start()
        done = _havoc(plan, stack, say)
        last_fault = CLOCK.now()
        quiet_s = _until_quiet(plan, stack, history, shops, last_fault)
        violations = judge(stack, history, shops)
        ends = Databases(stack.database_urls["kessai"]).ends()
    return Report(
        seed=plan.seed,
        transactions=len(ends),
        by_state=Counter(state.value for state, _ in ends.values()),
        answers=history.answers,
        faults=Counter(done),
        quiet_s=quiet_s,
        violations=tuple(violations),
    )


def _havoc(plan: ChaosPlan, stack: Stack, say: Callable[[str], None]) -> list[str]:
    chance = random.Random(plan.seed)  # noqa: S311 - no secret is made of it
    faults = [fault for fault, count in plan.faults.items() for _ in range(count)]
    chance.shuffle(faults)
    havoc = Havoc(stack, chance, pause, freeze_s=plan.lease_s + 2.0)
    for number, fault in enumerate(faults, start=1):
        say(f"{number} of {len(faults)}: {fault}")
        havoc.strike(fault)
    return havoc.done


def _until_quiet(
    plan: ChaosPlan, stack: Stack, history: History, shops: list[Shop], last_fault: datetime
) -> float | None:
    """Waits until every shop was answered and nothing is live; how long after the last fault."""
    for shop in shops:
        shop.stop()
    for shop in shops:
        shop.join(ANSWER_LIMIT_S)
        if shop.is_alive():
            history.missed(f"{shop.name} was not answered in {ANSWER_LIMIT_S:g} s")
    database = Databases(stack.database_urls["kessai"])
    while True:
        passed_s = (CLOCK.now() - last_fault).total_seconds()
        if not database.live():
            return passed_s
        if passed_s > plan.quiet_s:
            return None
        pause(LOOK_S)
