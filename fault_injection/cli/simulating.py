"""What `kessai simulate` does: reads what it is asked, plays the runs, and tells of them."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from adapters.system import SystemClock
from coordinator.cli.failures import ExitCode, Failure, needing_embedded
from coordinator.cli.interruption import Interrupted, Interruption
from coordinator.cli.output import Format, emit, emit_all, lines, plain, say
from coordinator.domain.errors import ConfigurationError, StoreUnavailable
from fault_injection.backends import BACKENDS, MEMORY, opened
from fault_injection.cli.covering import Recording
from fault_injection.cli.progress import progress
from fault_injection.cli.spreading import jobs_for, spread
from fault_injection.simulation.plan import Asked, Plan
from fault_injection.simulation.run import Run, play, play_twice
from fault_injection.simulation.shrink import command as command_of
from fault_injection.simulation.shrink import shortest
from fault_injection.simulation.swarm import KINDS
from fault_injection.world import FLOWS

NOTHING = "none"
"""What `--faults` is without any."""
HASH_DIGITS = 16
"""How much of a hash a line shows: enough to tell two runs apart."""
_RANGE = re.compile(r"([0-9]{1,18})\.\.([0-9]{1,18})")


@dataclass(frozen=True, slots=True)
class Player:
    """How runs are played, and the options that say so. `alone`: only one at a time."""

    play: Callable[[Plan], Run]
    options: str
    alone: bool

    def command(self, run: Run) -> str:
        """What replays the run."""
        return command_of(run) + self.options


@contextmanager
def player_of(backend: str, url: str | None, *, compare: bool) -> Iterator[Player]:
    """Plays on this backend until the context is left.

    Raises typer.BadParameter, or Failure when its database cannot be used.
    """
    if backend not in BACKENDS:
        raise typer.BadParameter(
            f"there is no {backend or 'empty name'}; there are {', '.join(BACKENDS)}",
            param_hint="--backend",
        )
    options = f" --backend {backend}" if backend != MEMORY else ""
    options += " --compare" if compare else ""
    with ExitStack() as until_then:
        try:
            with needing_embedded():
                database = until_then.enter_context(opened(backend, url))
        except ConfigurationError as error:
            raise typer.BadParameter(str(error), param_hint="--database-url") from None
        except StoreUnavailable as error:
            raise Failure(
                "the database cannot be used", ExitCode.UNREACHABLE, error.code, error.detail
            ) from None
        one = play_twice if compare else play
        yield Player(lambda plan: one(plan, database), options, alone=bool(options))


def jobs_of(seeds: range, jobs: int | None, player: Player) -> int:
    """Raises typer.BadParameter where runs have one database between them."""
    if player.alone and (jobs or 1) > 1:
        raise typer.BadParameter("only runs in memory can be many at once", param_hint="--jobs")
    return 1 if player.alone else jobs_for(seeds, jobs)


def run(
    seeds: range,
    asked: Asked,
    output: Format,
    player: Player,
    *,
    coverage: Path | None = None,
    jobs: int = 1,
) -> None:
    """Plays every seed, up to the first in which something does not hold. Raises Failure then."""
    recording = Recording(coverage)
    campaign = Campaign(output, player)
    with Interruption() as interruption:
        try:
            with (
                progress("simulating", len(seeds)) as advance,
                spread(seeds, asked, player.play, jobs, interruption) as runs,
            ):
                for played in runs:
                    campaign.tell(played)
                    recording.add("random", played.cells)
                    advance()
                    if played.finding is not None:
                        break
        except Interrupted:
            raise typer.Exit(130) from None
        finally:
            campaign.end()
            recording.end()
        if played.finding is not None:
            raise _failure(played, interruption, player)


@dataclass
class Campaign:
    """The runs so far."""

    output: Format
    player: Player

    def __post_init__(self) -> None:
        self._clock = SystemClock()
        self._began, self._cpu = self._clock.monotonic(), _cpu_s()
        self._records: list[dict[str, Any]] = []
        self._counts: Counter[str] = Counter()

    def tell(self, run: Run) -> None:
        """A run is over: a line."""
        record = _record(run, self.player)
        counted = ("payments", "transactions", "crashes")
        self._counts.update({name: record[name] for name in counted})
        self._counts["runs"] += 1
        if self.output is Format.TABLE:
            problem = f"  {plain(run.finding.problem)}" if run.finding else ""
            lines(
                f"{run.plan.seed:>8}  {run.hash[:HASH_DIGITS]}  {len(run.plan.buyings):>4} payments"
                f"  {run.transactions:>4} transactions  {run.crashes} crashes{problem}"
            )
        elif self.output is Format.JSONL:
            emit(Format.JSONL, record, str)
        else:
            self._records.append(record)

    def end(self) -> None:
        """What there was in all, and how fast."""
        if self.output is Format.JSON:
            emit_all(Format.JSON, self._records, str)
        seconds = max(self._clock.monotonic() - self._began, 1e-6)
        cpu_s = max(_cpu_s() - self._cpu, 1e-6)
        counts = self._counts
        say(
            f"{counts['runs']} runs, {counts['payments']} payments, {counts['crashes']} crashes "
            f"in {seconds:.1f} s: {counts['payments'] / seconds:.0f} payments/s, "
            f"{counts['payments'] / cpu_s:.0f} for each second of CPU time"
        )


def _cpu_s() -> float:
    """Seconds that this process has computed, and those that it started and that have ended."""
    return sum(os.times()[:4])


def _record(run: Run, player: Player) -> dict[str, Any]:
    return {
        "seed": run.plan.seed,
        "hash": run.hash,
        "payments": len(run.plan.buyings),
        "transactions": run.transactions,
        "crashes": run.crashes,
        "faults": list(run.plan.swarm.kinds),
        "problem": run.finding.problem if run.finding else "",
        "replay": player.command(run),
    }


def _failure(run: Run, interruption: Interruption, player: Player) -> Failure:
    """Tells the shortest story that can be found, and what replays it."""
    say(f"seed {run.plan.seed} failed; looking for a shorter story")
    with interruption.shielded():
        shorter = shortest(run, play=player.play)
    assert shorter.finding is not None, "it fails"
    for line in shorter.finding.story:
        say(plain(line))
    return Failure(
        f"seed {run.plan.seed}: {shorter.finding.problem}",
        code="INVARIANT_BROKEN",
        hint=f"faults: {', '.join(shorter.plan.swarm.kinds) or NOTHING}\n"
        f"replay: {player.command(shorter)}",
    )


def seeds_of(seed: int | None, seeds: str | None) -> range:
    """Raises typer.BadParameter."""
    if (seed is None) == (seeds is None):
        raise typer.BadParameter("give one of --seed N and --seeds A..B", param_hint="--seed")
    if seed is not None:
        return range(seed, seed + 1)
    found = _RANGE.fullmatch(seeds or "")
    if found is None or int(found[1]) > int(found[2]):
        raise typer.BadParameter(
            "must be A..B with A at most B, such as 0..1999", param_hint="--seeds"
        )
    return range(int(found[1]), int(found[2]) + 1)


def asked_of(
    payments: int,
    flow: list[str] | None,
    faults: str | None,
    crashes: int | None,
    only: str | None,
) -> Asked:
    """Raises typer.BadParameter."""
    known = {"--flow": tuple(FLOWS), "--faults": tuple(KINDS)}
    chosen = None if faults is None else _names(faults)
    for option, names in (("--flow", flow or []), ("--faults", chosen or [])):
        for name in names:
            if name not in known[option]:
                raise typer.BadParameter(
                    f"there is no {name or 'empty name'}; there are {', '.join(known[option])}",
                    param_hint=option,
                )
    numbers = None if only is None else sorted(_number(each) for each in only.split(","))
    if numbers is not None and not set(numbers) <= set(range(1, payments + 1)):
        raise typer.BadParameter(
            f"must be numbers of payments in 1..{payments}", param_hint="--only"
        )
    return Asked(
        payments=payments,
        only=None if numbers is None else tuple(dict.fromkeys(numbers)),
        flows=tuple(dict.fromkeys(flow)) if flow else None,
        faults=None if chosen is None else tuple(dict.fromkeys(chosen)),
        crashes=crashes,
    )


def _names(faults: str) -> list[str]:
    return [] if faults == NOTHING else [name.strip() for name in faults.split(",")]


def _number(text: str) -> int:
    """The number, or 0: no payment's."""
    return int(text) if text.strip().isascii() and text.strip().isdigit() else 0
