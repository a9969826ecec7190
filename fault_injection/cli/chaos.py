"""`kessai chaos`: real processes, killed, frozen and cut off under load."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Annotated

import typer

from coordinator.cli.app import app
from coordinator.cli.failures import Failure, needing_embedded
from coordinator.cli.helps import command
from coordinator.cli.output import Format, OutputOption, emit, say

if TYPE_CHECKING:
    from fault_injection.chaos.run import ChaosPlan

_SecondsOption = Annotated[
    float | None,
    typer.Option(
        "--seconds",
        min=1.0,
        max=86_400.0,
        help="How long shops buy, with the faults spread over it. Default: until all faults were "
        "done, one soon after the other.",
        show_default=False,
    ),
]
_KillsOption = Annotated[
    int, typer.Option("--kills", min=0, help="How often a coordinator is killed (SIGKILL).")
]
_PostgresKillsOption = Annotated[
    int, typer.Option("--postgres-kills", min=0, help="How often PostgreSQL is killed.")
]
_ParticipantKillsOption = Annotated[
    int, typer.Option("--participant-kills", min=0, help="How often a participant is killed.")
]
_BrokerKillsOption = Annotated[
    int, typer.Option("--broker-kills", min=0, help="How often the broker is killed.")
]
_FreezesOption = Annotated[
    int,
    typer.Option(
        "--freezes", min=0, help="How often a coordinator is frozen for longer than its claims."
    ),
]
_NetworkOption = Annotated[
    int,
    typer.Option(
        "--network",
        min=0,
        help="How often a link between two processes fails, for 1 to 5 seconds. "
        "docs/testing.md lists how.",
    ),
]
_HostileOption = Annotated[
    int,
    typer.Option(
        "--hostile",
        min=0,
        help="How often a participant answers what no participant may, for 1 to 5 seconds.",
    ),
]
_ParticipantFaultsOption = Annotated[
    float,
    typer.Option(
        "--participant-faults",
        min=0.0,
        max=0.9,
        help="How many of all calls to participants go wrong all the while, as a share: lost, or "
        "their answer is, or none ever comes.",
    ),
]
_LeaseOption = Annotated[
    float, typer.Option("--lease-s", min=2.5, max=60.0, help="How long a claim lasts, in seconds.")
]
_PauseOption = Annotated[
    float,
    typer.Option(
        "--pause-s", min=0.0, help="How long a shop rests between two things, in seconds."
    ),
]
_QuietOption = Annotated[
    float,
    typer.Option(
        "--quiet-s",
        min=1.0,
        help="How long after the last fault all must be settled, in seconds.",
    ),
]


@command(
    app,
    "kessai chaos",
    "kessai chaos --seed 7 --kills 100 --postgres-kills 20 --participant-kills 20",
    "kessai chaos --seconds 60 --network 20 --coordinators 3",
    "kessai chaos --seconds 300 --kills 30 --participant-faults 0.05 --hostile 10",
    "kessai chaos --shops 20 --output json",
    ok="everything held",
    failed="something did not hold; each is named, with the seed",
)
def chaos(
    *,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Decides everything. Default: a new one, shown.")
    ] = None,
    seconds: _SecondsOption = None,
    kills: _KillsOption = 10,
    postgres_kills: _PostgresKillsOption = 2,
    participant_kills: _ParticipantKillsOption = 2,
    broker_kills: _BrokerKillsOption = 1,
    freezes: _FreezesOption = 2,
    network: _NetworkOption = 0,
    hostile: _HostileOption = 0,
    participant_faults: _ParticipantFaultsOption = 0.0,
    coordinators: Annotated[
        int, typer.Option(min=1, max=8, help="Coordinator processes on one database.")
    ] = 2,
    shops: Annotated[int, typer.Option(min=1, max=200, help="Callers at once.")] = 6,
    pause_s: _PauseOption = 0.0,
    lease_s: _LeaseOption = 3.0,
    quiet_s: _QuietOption = 120.0,
    output: OutputOption = Format.TABLE,
) -> None:
    """Kills real processes and cuts them off under load, and looks whether everything still holds.

    Starts PostgreSQL, NATS, four participants and several coordinators in a temporary folder, with
    --network each behind links that can fail. Shops buy, capture, cancel, refund and look all the
    while, and repeat what was not answered. All balances are read while it runs. When the last
    fault is over, every payment has to end, every ledger to balance, every journal to be whole,
    every settled state to be announced once, and nothing that a shop was told may have become
    untrue. Shown are the rate, how long answers took, and how soon after each fault all was well.
    The same seed does the same faults in the same order; what they hit is up to the machine.
    """
    with needing_embedded():
        from fault_injection.chaos.havoc import Fault  # noqa: PLC0415 - slow
        from fault_injection.chaos.run import ChaosPlan, fresh_seed  # noqa: PLC0415 - slow

    plan = ChaosPlan(
        seed=fresh_seed() if seed is None else seed,
        faults={
            Fault.KILL_COORDINATOR: kills,
            Fault.KILL_POSTGRES: postgres_kills,
            Fault.KILL_PARTICIPANT: participant_kills,
            Fault.KILL_BROKER: broker_kills,
            Fault.FREEZE_COORDINATOR: freezes,
            Fault.NETWORK: network,
            Fault.HOSTILE: hostile,
        },
        seconds=seconds,
        errors=participant_faults,
        coordinators=coordinators,
        shops=shops,
        pause_s=pause_s,
        lease_s=lease_s,
        quiet_s=quiet_s,
    )
    _do(plan, output)


def _do(plan: ChaosPlan, output: Format) -> None:
    """Runs it in a folder that is gone afterwards. Raises Failure for what did not hold."""
    from coordinator.cli import folders  # noqa: PLC0415 - slow
    from coordinator.cli.interruption import Interrupted, Interruption  # noqa: PLC0415 - slow
    from fault_injection.chaos.run import run  # noqa: PLC0415 - slow

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
            hint="\n".join(report.violations[:20]),
        )
