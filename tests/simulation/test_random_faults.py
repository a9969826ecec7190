"""Random payments, faults, crashes and coordinators, seed by seed; then every check.

A failing seed is in the test's name; `kessai simulate --seed 17` replays it and shortens it.
"""

from __future__ import annotations

import asyncio

import pytest

from coordinator.engine.drive import Driver
from fault_injection.coverage.ledger import Ledger
from fault_injection.simulation.plan import Asked, plan_of
from fault_injection.simulation.run import Run, play
from fault_injection.simulation.shrink import command, shortest
from fault_injection.simulation.swarm import KINDS, TIGHT_GUARD, swarm_of
from tests.planted.deciding import capture_timeout_taken_for_a_refusal

SEEDS = range(2000)


@pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: f"seed_{seed}")
def test_every_payment_ends_everywhere_or_nowhere(seed: int, ledger: Ledger) -> None:
    run = play(plan_of(seed))
    ledger.add("random", run.cells)
    finding = run.finding
    assert finding is None, "\n".join([finding.problem, *finding.story])


def test_every_kind_of_fault_is_wholly_off_in_some_seeds_and_on_in_others() -> None:
    swarms = [swarm_of(seed) for seed in range(50)]
    for kind in KINDS:
        assert {swarm.has(kind) for swarm in swarms} == {False, True}


COMPANY = {TIGHT_GUARD: ("reply-lost",)}
"""What a kind cannot come about without: a guard holds nothing back while everybody is quick."""


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_fault_comes_about_where_it_is_the_only_one(kind: str) -> None:
    kinds = (kind, *COMPANY.get(kind, ()))
    runs = (play(plan_of(seed, Asked(faults=kinds, crashes=0))) for seed in range(30))
    met = next(run.met for run in runs if run.met.get(kind))
    assert {name for name, count in met.items() if count} <= set(kinds)


def first_failing(asked: Asked, seeds: range = range(100)) -> Run:
    return next(run for seed in seeds if (run := play(plan_of(seed, asked))).finding)


def test_a_failing_run_is_made_smaller_and_its_command_replays_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    capture_timeout_taken_for_a_refusal.plant(monkeypatch)
    failing = first_failing(Asked(faults=("reply-lost", "refused", "duplicates"), crashes=2))
    small = shortest(failing)
    assert small.finding is not None
    assert small.payments < failing.payments
    assert len(small.plan.swarm.kinds) <= 2
    assert small.crashes == 0
    again = play(plan_of(small.plan.seed, small.plan.asked))
    assert (again.hash, again.finding) == (small.hash, small.finding)
    assert command(small).startswith(f"kessai simulate --seed {failing.plan.seed} --payments 10")
    assert any("journal" in line for line in small.finding.story)
    assert any("card_charge confirm leaves" in line for line in small.finding.story)


def test_a_wake_up_that_never_comes_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    async def asleep(*_asked: object) -> None:
        await asyncio.get_running_loop().create_future()

    monkeypatch.setattr(Driver, "submit", asleep)
    finding = play(plan_of(0, Asked(payments=1, faults=(), crashes=0))).finding
    assert finding is not None
    assert finding.problem.startswith("L2")


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        ({"faults": ("nonsense",)}, "no fault nonsense"),
        ({"flows": ("nonsense",)}, "no flow nonsense"),
        ({"payments": 0}, "payments must be"),
        ({"payments": 2, "only": (3,)}, "only payments"),
        ({"crashes": 7}, "crashes must be"),
    ],
)
def test_what_cannot_be_played_is_refused(asked: dict[str, object], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Asked(**asked)  # type: ignore[arg-type] # on purpose


def test_leaving_a_payment_out_changes_nothing_about_the_others() -> None:
    whole, part = plan_of(7), plan_of(7, Asked(only=(2, 5)))
    assert part.buyings == tuple(each for each in whole.buyings if each.number in {2, 5})
    assert part.crashes == whole.crashes
