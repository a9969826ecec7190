"""What `kessai chaos` does: makes the plan of a run, runs it, and tells of it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping

import typer

from coordinator.cli import folders
from coordinator.cli.failures import Failure
from coordinator.cli.interruption import Interrupted, Interruption
from coordinator.cli.output import Format, emit, say
from fault_injection.chaos.havoc import Fault
from fault_injection.chaos.run import ChaosPlan, fresh_seed, run

OPTIONS: Mapping[str, Fault] = {
    "kills": Fault.KILL_COORDINATOR,
    "point-kills": Fault.KILL_AT_A_POINT,
    "freezes": Fault.FREEZE_COORDINATOR,
    "postgres-kills": Fault.KILL_POSTGRES,
    "participant-kills": Fault.KILL_PARTICIPANT,
    "broker-kills": Fault.KILL_BROKER,
    "network": Fault.NETWORK,
    "hostile": Fault.HOSTILE,
}
"""How each fault is asked for."""
USUAL: Mapping[Fault, int] = {
    Fault.KILL_COORDINATOR: 6,
    Fault.KILL_AT_A_POINT: 6,
    Fault.FREEZE_COORDINATOR: 2,
    Fault.KILL_POSTGRES: 2,
    Fault.KILL_PARTICIPANT: 2,
    Fault.KILL_BROKER: 1,
    Fault.NETWORK: 8,
    Fault.HOSTILE: 4,
}
"""What is done when no fault is asked for."""
TOLD = 20
"""How many things that did not hold are shown at most."""


def plan_of(
    seed: int | None,
    faults: Mapping[str, int | None],
    *,
    seconds: float | None,
    errors: float,
    coordinators: int,
    shops: int,
    pause_s: float,
    lease_s: float,
    quiet_s: float,
) -> ChaosPlan:
    """The plan; `faults` are counts by option, None for what was not given."""
    asked = {OPTIONS[name]: count for name, count in faults.items() if count is not None}
    return ChaosPlan(
        seed=fresh_seed() if seed is None else seed,
        faults={**dict.fromkeys(Fault, 0), **(asked or USUAL)},
        seconds=seconds,
        errors=errors,
        coordinators=coordinators,
        shops=shops,
        pause_s=pause_s,
        lease_s=lease_s,
        quiet_s=quiet_s,
    )


def replay(plan: ChaosPlan) -> str:
    """The command that runs the plan again."""
    words = [f"kessai chaos --seed {plan.seed}"]
    if plan.seconds is not None:
        words.append(f"--seconds {plan.seconds:g}")
    words += [f"--{name} {plan.faults[fault]}" for name, fault in OPTIONS.items()]
    usual = ChaosPlan(0, {})
    numbers = {
        "participant-faults": (plan.errors, usual.errors),
        "coordinators": (plan.coordinators, usual.coordinators),
        "shops": (plan.shops, usual.shops),
        "pause-s": (plan.pause_s, usual.pause_s),
        "lease-s": (plan.lease_s, usual.lease_s),
        "quiet-s": (plan.quiet_s, usual.quiet_s),
    }
    words += [f"--{name} {value:g}" for name, (value, was) in numbers.items() if value != was]
    return " ".join(words)


def do(plan: ChaosPlan, output: Format) -> None:
    """Runs it in a folder that is gone afterwards. Raises Failure for what did not hold."""
    say(f"seed {plan.seed}: {sum(plan.faults.values())} faults")
    with Interruption() as interruption:
        folder = folders.temporary()
        try:
            report = run(plan, folder / "stack", say, interruption)
        except Interrupted:
            say("interrupted; everything was stopped")
            raise typer.Exit(130) from None
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    emit(output, report.record(), report.view)
    if report.violations:
        raise Failure(
            f"{len(report.violations)} things did not hold with seed {report.seed}",
            code="INVARIANT_BROKEN",
            hint="\n".join((*report.violations[:TOLD], f"replay: {replay(plan)}")),
        )
