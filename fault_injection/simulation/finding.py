"""Lets a world live on virtual time, checks every invariant at the end, and says what is wrong."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from coordinator.domain.ids import TransactionId
from coordinator.domain.transaction import JournalEntry
from fault_injection import virtual_time
from fault_injection.invariants import Violation, check, nobody_else_is_held
from fault_injection.simulation.trace import Runaway
from fault_injection.simulation.world import SimulatedWorld

STORY_LINES = 60
"""How much of a trace is told when it is about no transaction."""
LIVE_S = 8 * 3600.0
"""After so long everybody is done, even if nothing ever settles, in seconds."""

Live = Callable[[], Coroutine[Any, Any, list[TransactionId]]]
"""Everything that happens; returns every transaction that was made, in order."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What did not hold, of which transaction (or of none), and what happened to it."""

    problem: str
    subject: str
    story: tuple[str, ...]


def play_out(
    world: SimulatedWorld, seed: int, live: Live
) -> tuple[Finding | None, list[TransactionId]]:
    """What does not hold, and what breaks, is returned and not raised; with it, what was made."""
    made: list[TransactionId] = []
    try:
        finding = virtual_time.run(_play(world, live, made), seed)
    except virtual_time.Idle as idle:
        finding = Finding(f"L2: {idle}", "", tuple(world.trace.last(STORY_LINES)))
    except Runaway as runaway:
        finding = Finding(f"S18: {runaway}", "", tuple(world.trace.last(STORY_LINES)))
    world.tally.close()
    return finding, made


async def _play(world: SimulatedWorld, live: Live, made: list[TransactionId]) -> Finding | None:
    await world.start()
    finding: Finding | None = None
    try:
        async with asyncio.timeout(LIVE_S):
            made += await world.unless_broken(live())
        await _check_all(world, made)
    except TimeoutError:
        finding = Finding("L2: somebody still waits", "", tuple(world.trace.last(STORY_LINES)))
    except Exception as error:  # noqa: BLE001 - whatever breaks is what was looked for
        finding = await _finding_of(world, error)
    world.trace.close()
    await world.close()
    return finding


async def _check_all(world: SimulatedWorld, made: Sequence[TransactionId]) -> None:
    """Raises Violation for the first thing that does not hold."""
    world.check_during()
    while await world.relay.run_once():
        pass
    for transaction_id in made:
        scene = await world.scene(transaction_id)
        try:
            world.told.check(transaction_id, scene.transaction.state)
            check(scene)
        except Violation as violation:
            raise Violation(f"{violation}; {transaction_id}") from violation
    nobody_else_is_held(world.participants, made)
    world.check_rest()


async def _finding_of(world: SimulatedWorld, error: BaseException) -> Finding:
    """What broke, and what happened to the transactions that it names."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    problem = str(error)
    if not isinstance(error, Violation):
        problem = f"bug: {type(error).__name__}: {error}"
    about = [known for known in world.subjects if known in problem]
    story: list[str] = []
    for transaction_id in about:
        problem = problem.replace(transaction_id, world.subject_of(transaction_id))
        story += world.trace.of(world.subject_of(transaction_id), "world", "coordinator")
        story += [_line(entry) for entry in await world.eye.journal(transaction_id, 0, 10_000)]
    if not about:
        story += world.trace.last(STORY_LINES)
    if not isinstance(error, Violation):
        story += "".join(traceback.format_exception(error)).splitlines()
    subject = world.subject_of(about[0]) if about else ""
    return Finding(problem, subject, tuple(story))


def _line(entry: JournalEntry) -> str:
    words = [f"journal {entry.sequence:>3}", entry.kind.value, str(entry.to_state)]
    words += [entry.event, entry.phase, entry.operation, entry.outcome, entry.code]
    return " ".join(word for word in words if word)
