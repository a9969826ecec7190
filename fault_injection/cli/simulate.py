"""`kessai simulate`: random runs on virtual time, each decided by its seed alone."""

from __future__ import annotations

from typing import Annotated

import typer

from coordinator.cli.app import app
from coordinator.cli.helps import command
from coordinator.cli.output import Format, OutputOption
from fault_injection.cli.faults import CoverageOption

_SeedOption = Annotated[
    int | None, typer.Option("--seed", min=0, help="One run.", show_default=False)
]
_SeedsOption = Annotated[
    str | None,
    typer.Option(
        "--seeds", metavar="A..B", help="Runs of every seed from A to B.", show_default=False
    ),
]
_FlowOption = Annotated[
    list[str] | None,
    typer.Option("--flow", help="Only payments of this flow; repeatable.", show_default=False),
]
_FaultsOption = Annotated[
    str | None,
    typer.Option(
        "--faults",
        metavar="NAME,…",
        help="Exactly these kinds of fault, or none. Default: those the seed has on. "
        "docs/testing.md lists them.",
        show_default=False,
    ),
]
_CrashesOption = Annotated[
    int | None,
    typer.Option(
        "--crashes", min=0, max=6, help="Crashes. Default: up to the seed.", show_default=False
    ),
]
_OnlyOption = Annotated[
    str | None,
    typer.Option(
        "--only", metavar="N,…", help="Leaves all other payments out.", show_default=False
    ),
]
_BackendOption = Annotated[
    str,
    typer.Option("--backend", metavar="memory|sqlite|postgres", help="What the store works on."),
]
_UrlOption = Annotated[
    str | None,
    typer.Option(
        "--database-url",
        envvar="KESSAI_DATABASE_URL",
        help="The PostgreSQL server for --backend postgres; a database of its own is made there, "
        "and dropped. Default: one is started in a temporary folder.",
        show_default=False,
    ),
]


@command(
    app,
    "kessai simulate --seed 17",
    "kessai simulate --seeds 0..1999 --jobs 2",
    "kessai simulate --seeds 1..50 --flow card_only --faults reply-lost,late",
    "kessai simulate --seeds 0..499 --backend postgres --compare",
    ok="everything held",
    failed="something did not hold; it is named, with its story and what replays it",
    unreachable="the database cannot be reached",
)
def simulate(
    *,
    seed: _SeedOption = None,
    seeds: _SeedsOption = None,
    payments: Annotated[int, typer.Option(min=1, max=1000, help="Payments in each run.")] = 10,
    flow: _FlowOption = None,
    faults: _FaultsOption = None,
    crashes: _CrashesOption = None,
    only: _OnlyOption = None,
    backend: _BackendOption = "memory",
    database_url: _UrlOption = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="Also in memory: both traces have to be the same.")
    ] = False,
    coverage: CoverageOption = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            min=1,
            max=256,
            help="Processes at once. Default: every core, for many seeds in memory.",
            show_default=False,
        ),
    ] = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """Plays random payments, faults and crashes on virtual time, then checks every invariant.

    The real engine, flows and store code run against model participants, in one thread.
    A seed decides everything: what is bought, what fails, who dies, in which order what is ready
    runs. So it gives the same trace, and the same hash of it, on every machine and backend. Each
    run ends with all faults healed; then every payment and refund has to end. The first run in
    which something does not hold is made smaller while it still fails, and told.
    """
    from fault_injection.cli import simulating  # noqa: PLC0415 - slow

    chosen = simulating.seeds_of(seed, seeds)
    asked = simulating.asked_of(payments, flow, faults, crashes, only)
    with simulating.player_of(backend, database_url, compare=compare) as player:
        at_once = simulating.jobs_of(chosen, jobs, player)
        simulating.run(chosen, asked, output, player, coverage=coverage, jobs=at_once)
