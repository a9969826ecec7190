"""Plays one case on virtual time, then checks every invariant; a clean one numbers the points."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from coordinator.domain.ids import TransactionId
from fault_injection.business_paths import CALLER, paths_on
from fault_injection.coverage.tally import Cell
from fault_injection.simulation.finding import Finding, play_out
from fault_injection.sweep.cases import Case
from fault_injection.sweep.world import SweptWorld


@dataclass(frozen=True, eq=False)
class Tried:
    """A case that is over. `finding` is None when everything held.

    points   what was reached, in order: a place, and how often it had been reached then
    crashes  how many coordinators died
    cells    what was tried, and what came of it
    """

    case: Case
    seed: int
    hash: str
    points: tuple[tuple[str, int], ...]
    crashes: int
    cells: Mapping[Cell, int]
    finding: Finding | None


def play(case: Case, seed: int = 0) -> Tried:
    """Plays the case. What does not hold, and what breaks, is in the result and not raised."""
    world = SweptWorld(case, seed)
    finding, _ = play_out(world, seed, lambda: _live(world, case))
    return Tried(
        case=case,
        seed=seed,
        hash=world.trace.hash,
        points=tuple(world.reached),
        crashes=world.crashes,
        cells=world.tally.cells,
        finding=finding,
    )


async def _live(world: SweptWorld, case: Case) -> list[TransactionId]:
    """Everything that happens; returns every transaction that was made, in order."""
    path = paths_on(case.flow)[case.path]
    [payment_id, *_] = await path.walk(world, case.flow, CALLER)
    made = [payment_id, *(refund.id for refund in await world.eye.refunds_of(payment_id))]
    for transaction_id in made:
        await world.until_settled(transaction_id)
    await world.revived()
    await world.quiet()
    world.over()
    return made
