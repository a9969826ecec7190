"""`kessai chaos`: real processes, killed, frozen and cut off under load."""

from __future__ import annotations

from typing import Annotated

import typer

from coordinator.cli.app import app
from coordinator.cli.failures import needing_embedded
from coordinator.cli.helps import command
from coordinator.cli.output import Format, OutputOption

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
    int | None,
    typer.Option(
        "--kills", min=0, help="How often a coordinator is killed (SIGKILL).", show_default=False
    ),
]
_PointKillsOption = Annotated[
    int | None,
    typer.Option(
        "--point-kills",
        min=0,
        help="How often one is killed while a statement or a call of it is under way, or its "
        "answer is.",
        show_default=False,
    ),
]
_PostgresKillsOption = Annotated[
    int | None,
    typer.Option(
        "--postgres-kills", min=0, help="How often PostgreSQL is killed.", show_default=False
    ),
]
_ParticipantKillsOption = Annotated[
    int | None,
    typer.Option(
        "--participant-kills", min=0, help="How often a participant is killed.", show_default=False
    ),
]
_BrokerKillsOption = Annotated[
    int | None,
    typer.Option(
        "--broker-kills", min=0, help="How often the broker is killed.", show_default=False
    ),
]
_FreezesOption = Annotated[
    int | None,
    typer.Option(
        "--freezes",
        min=0,
        help="How often a coordinator is frozen for longer than its claims.",
        show_default=False,
    ),
]
_NetworkOption = Annotated[
    int | None,
    typer.Option(
        "--network",
        min=0,
        help="How often a link between two processes fails, for 1 to 5 seconds. "
        "docs/testing.md lists how.",
        show_default=False,
    ),
]
_HostileOption = Annotated[
    int | None,
    typer.Option(
        "--hostile",
        min=0,
        help="How often a participant answers what no participant may, for 1 to 5 seconds.",
        show_default=False,
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
    kills: _KillsOption = None,
    point_kills: _PointKillsOption = None,
    postgres_kills: _PostgresKillsOption = None,
    participant_kills: _ParticipantKillsOption = None,
    broker_kills: _BrokerKillsOption = None,
    freezes: _FreezesOption = None,
    network: _NetworkOption = None,
    hostile: _HostileOption = None,
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
    links between them that can fail. Which faults are done is asked for by --kills, --point-kills,
    --freezes, --postgres-kills, --participant-kills, --broker-kills, --network and --hostile; with
    none of them, some of each. Shops buy, capture, cancel, refund and look all the
    while, and repeat what was not answered. All balances are read while it runs. When the last
    fault is over, every payment has to end, every ledger to balance, every journal to be whole,
    every settled state to be announced once, and nothing that a shop was told may have become
    untrue. Shown are the rate, how long answers took, and how soon after each fault all was well.
    The same seed does the same faults in the same order; what they hit is up to the machine.
    """
    with needing_embedded():
        from fault_injection.cli import chaotic  # noqa: PLC0415 - slow

    faults = {
        "kills": kills,
        "point-kills": point_kills,
        "freezes": freezes,
        "postgres-kills": postgres_kills,
        "participant-kills": participant_kills,
        "broker-kills": broker_kills,
        "network": network,
        "hostile": hostile,
    }
    plan = chaotic.plan_of(
        seed,
        faults,
        seconds=seconds,
        errors=participant_faults,
        coordinators=coordinators,
        shops=shops,
        pause_s=pause_s,
        lease_s=lease_s,
        quiet_s=quiet_s,
    )
    chaotic.do(plan, output)
