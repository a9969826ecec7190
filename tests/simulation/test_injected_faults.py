"""Payments behind the wrappers that inject faults end right, whatever the rules are.

The models behind the wrappers know nothing of faults: an injected refusal, too, has to be true.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import pytest

from coordinator.engine.relay import Relay
from coordinator.ports import Participant, Publisher, Store
from fault_injection.business_paths import PATHS
from fault_injection.faults.injection import Injection
from fault_injection.faults.kinds import KINDS, Area
from fault_injection.faults.participant import FaultyParticipant
from fault_injection.faults.places import DETAILS
from fault_injection.faults.publisher import FaultyPublisher
from fault_injection.faults.reading import read
from fault_injection.faults.store import FaultyStore
from fault_injection.invariants import check
from fault_injection.virtual_time import run
from fault_injection.world import FLOWS, World

LONGEST_CLAIM_S = 60.0
PORTS = (Area.PARTICIPANTS, Area.STORE, Area.PUBLISHER)
RULES = [
    f"{kind.name}@{area}" + (f"/{detail}" if detail else "")
    for kind in KINDS.values()
    for area, details in kind.areas.items()
    if area in PORTS
    for detail in (DETAILS[area] if area is Area.PARTICIPANTS else details or ("",))
    if kind.happens_at(area, detail)
]
EVERYTHING = ";".join(f"{rule},probability=0.15" for rule in RULES if "@store" not in rule)


class FaultyWorld(World):
    """A world whose coordinator sees participants, store and broker behind the wrappers."""

    def __init__(self, rules: str) -> None:
        super().__init__()
        self._rules = read(rules)
        self._injection: Injection | None = None

    def restart(self) -> None:
        made = self._injection or Injection(self._rules, clock=self.clock, observer=self.observer)
        self._injection = made
        models, store, publisher = self.participants, self.store, self.publisher
        wrapped: Mapping[str, Participant] = {
            name: FaultyParticipant(name, model, made) for name, model in models.items()
        }
        faulty_store: Store = FaultyStore(store, made)
        faulty_publisher: Publisher = FaultyPublisher(publisher, made)
        # What is wired sees the wrappers; whoever asks how it went sees what is behind them.
        vars(self).update(participants=wrapped, store=faulty_store, publisher=faulty_publisher)
        super().restart()
        self.participants, self.store, self.publisher = models, store, publisher


async def play(rules: str, path: str, flow: str) -> list[str]:
    """Walks the path, checks everything that it made; the kinds of fault there were."""
    world = FaultyWorld(rules)
    await world.start()
    try:
        ids = await PATHS[path].walk(world, flow)
        for transaction_id in ids:
            await world.until_settled(transaction_id)
        world.relay = Relay(store=world.store, publisher=world.publisher, observer=world.observer)
        await world.clock.sleep(LONGEST_CLAIM_S)  # what the broker did not take is offered again
        for transaction_id in ids:
            check(await world.scene(transaction_id))
        return [kind for kind, _, _ in world.observer.injections]
    finally:
        await world.close()


@pytest.mark.parametrize("rule", [each for each in RULES if "@participants" in each])
def test_every_kind_at_every_operation_leaves_payments_and_refunds_right(rule: str) -> None:
    """A Query is only asked after a Try that is pending."""
    rules = f"{rule},probability=0.6,seed=3"
    if "query" in rule:
        rules += ";pending@participants/try,duration_s=20"
    walks = itertools.product(("refund all", "expire"), FLOWS)
    injected = [each for path, flow in walks for each in run(play(rules, path, flow))]
    assert rule.partition("@")[0] in injected


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("seed", range(3))
def test_everything_at_once_leaves_every_path_right(path: str, seed: int) -> None:
    rules = ";".join(f"{rule},seed={seed}" for rule in EVERYTHING.split(";"))
    assert run(play(rules, path, "points_and_card"))


def test_the_same_rules_over_the_same_calls_inject_the_same_faults() -> None:
    first, second, other = (
        run(play(EVERYTHING.replace("0.15", f"0.15,seed={seed}"), "refund all", "card_only"))
        for seed in (1, 1, 2)
    )
    assert first == second != other
