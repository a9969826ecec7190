"""`kessai chaos`: real processes, killed and frozen under load."""

from __future__ import annotations

import shutil
from typing import Annotated

import typer

from coordinator.cli.app import app
from coordinator.cli.failures import Failure, needing_embedded
from coordinator.cli.helps import command
from coordinator.cli.output import Format, OutputOption, emit, say

_KillsOption = Annotated[
    int, typer.Option("--kills", min=0, help="How often a coordinator is killed (SIGKILL).")
]
_PostgresKillsOption = Annotated[
    int, typer.Option("--postgres-kills", min=0, help="How often PostgreSQL is killed.")
]
_ParticipantKillsOption = Annotated[
    int, typer.Option("--participant-kills", min=0, help="How often a participant is killed.")
]
_FreezesOption = Annotated[
    int,
    typer.Option(
        "--freezes", min=0, help="How often a coordinator is frozen for longer than its claims."
    ),
]


@command(
    app,
    "kessai chaos",
    "kessai chaos --seed 7 --kills 100 --postgres-kills 20 --participant-kills 20",
    "kessai chaos --coordinators 3 --shops 20 --output json",
    ok="everything held",
    failed="something did not hold; each is named, with the seed",
)
def chaos(
    *,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Decides everything. Default: a new one, shown.")
    ] = None,
    kills: _KillsOption = 10,
    postgres_kills: _PostgresKillsOption = 2,
    participant_kills: _ParticipantKillsOption = 2,
    freezes: _FreezesOption = 2,
    coordinators: Annotated[
        int, typer.Option(min=1, max=8, help="Coordinator processes on one database.")
    ] = 2,
    shops: Annotated[int, typer.Option(min=1, max=200, help="Callers at once.")] = 6,
    lease_s: Annotated[
        float, typer.Option(min=2.5, max=60.0, help="How long a claim lasts, in seconds.")
    ] = 3.0,
    quiet_s: Annotated[
        float,
        typer.Option(
            min=1.0, help="How long after the last fault all must be settled, in seconds."
        ),
    ] = 120.0,
    output: OutputOption = Format.TABLE,
) -> None:
    """Kills real processes under load, then asks their databases whether everything still holds.

    Starts PostgreSQL, NATS, four participants and several coordinators in a temporary folder. Shops
    buy, capture, cancel, refund and look all the while, and repeat what was not answered. When the
    last fault is done, every payment has to end, every ledger to balance, every journal to be
    whole, every settled state to be announced once, and nothing that a shop was told may have
    become untrue. The same seed does the same faults in the same order; what they hit is up to the
    machine. Takes about 3 s a fault.
    """
    from coordinator.cli import folders  # noqa: PLC0415 - slow
    from coordinator.cli.interruption import Interrupted, Interruption  # noqa: PLC0415 - slow

    with needing_embedded():
        from fault_injection.chaos.havoc import Fault  # noqa: PLC0415 - slow
        from fault_injection.chaos.run import ChaosPlan, fresh_seed, run  # noqa: PLC0415 - slow

    faults = {
        Fault.KILL_COORDINATOR: kills,
        Fault.KILL_POSTGRES: postgres_kills,
        Fault.KILL_PARTICIPANT: participant_kills,
        Fault.FREEZE_COORDINATOR: freezes,
    }
    plan = ChaosPlan(
        seed=fresh_seed() if seed is None else seed,
        faults=faults,
        coordinators=coordinators,
        shops=shops,
        lease_s=lease_s,
        quiet_s=quiet_s,
    )
    say(f"seed {plan.seed}: {sum(faults.values())} faults")
    with Interruption() as interruption:
        folder = folders.temporary()
        try:
            report = run(plan, folder / "stack", say, interruption)
        except Interrupted:
            say("interrupted; everything was stopped")
            raise typer.Exit(130) from None
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    emit(output, report.record(), lambda: str(report))
    if report.violations:
        raise Failure(
            f"{len(report.violations)} things did not hold with seed {report.seed}",
            hint="\n".join(report.violations[:20]),
        )
