"""`kessai faults …`: everything that can go wrong, tried one by one, and what was tried."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from coordinator.cli.app import app as kessai
from coordinator.cli.helps import command, epilog
from coordinator.cli.output import Format, OutputOption

app = typer.Typer(
    name="faults",
    help="Try everything that can go wrong, one by one; see what was tried.",
    no_args_is_help=True,
    epilog=epilog(
        "kessai faults sweep --coverage sweep.json",
        "kessai faults coverage --from sweep.json",
        failed="something did not hold",
    ),
)
kessai.add_typer(app)

_FlowOption = Annotated[
    list[str] | None,
    typer.Option("--flow", help="Only this flow; repeatable.", show_default=False),
]
_PathOption = Annotated[
    list[str] | None,
    typer.Option(
        "--path",
        help="Only this business path, such as pay or refund-all; repeatable.",
        show_default=False,
    ),
]
_PairsOption = Annotated[
    str,
    typer.Option(
        "--pairs",
        metavar="N|all",
        help="Two faults at once as well: N cases, drawn by the seed, or all (hours).",
    ),
]
_TriplesOption = Annotated[
    int, typer.Option("--triples", min=0, help="Three faults at once: so many cases, drawn.")
]
_WindowsOption = Annotated[
    str,
    typer.Option("--windows", metavar="N,…", help="How many times in a row something fails."),
]
_CaseOption = Annotated[
    str | None,
    typer.Option("--case", metavar="NAME", help="Only this case.", show_default=False),
]
CoverageOption = Annotated[
    Path | None,
    typer.Option(
        "--coverage",
        metavar="FILE",
        dir_okay=False,
        help="Writes which faults were seen where, for kessai faults coverage.",
        show_default=False,
    ),
]
_FromOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--from",
        metavar="FILE",
        exists=True,
        help="A file that --coverage has written, or a folder of them; repeatable.",
        show_default=False,
    ),
]
_HtmlOption = Annotated[
    Path | None,
    typer.Option(
        "--html", metavar="FILE", dir_okay=False, help="Also as a page.", show_default=False
    ),
]
_JobsOption = Annotated[int, typer.Option("--jobs", min=1, max=256, help="Processes at once.")]


@command(
    app,
    "kessai faults sweep --flow card_only --path pay",
    "kessai faults sweep --jobs 2 --pairs 10000 --triples 10000",
    "kessai faults sweep --case card_only/pay/commit@2:crash-after",
    ok="everything held",
    failed="something did not hold; it is named, with its story and what replays it",
)
def sweep(
    *,
    flow: _FlowOption = None,
    path: _PathOption = None,
    pairs: _PairsOption = "0",
    triples: _TriplesOption = 0,
    windows: _WindowsOption = "4,8,16,32",
    case: _CaseOption = None,
    seed: Annotated[int, typer.Option(min=0, help="Decides the order of what is ready.")] = 0,
    jobs: _JobsOption = 1,
    coverage: CoverageOption = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """Tries every crash, every fault and every outage at every point of every business path.

    A run without faults numbers the points of a path: each call, commit, database access and
    event. Then each point has its cases: a coordinator dies before, during or after the commit, and
    once more while it recovers; a request or a reply is lost, late or refused; the database or the
    broker fails, once or many times in a row. After each case all faults are over, everything has
    to end, and every invariant to hold. The first case that fails is made smaller and told.
    """
    from fault_injection.cli import sweeping  # noqa: PLC0415 - slow

    if case is not None:
        sweeping.run_one(sweeping.case_asked(case), seed, coverage, output)
        return
    asked = sweeping.asked_of(
        flow or [], path or [], pairs=pairs, triples=triples, windows=windows, seed=seed
    )
    sweeping.run(asked, jobs, coverage, output)


@command(
    app,
    "kessai faults coverage --from sweep.json --from simulate.json",
    "kessai faults coverage --from ledgers/ --html coverage.html",
    "kessai faults coverage --from ledgers/ --floor 1 --output json",
    name="coverage",
    ok="every cell was seen often enough",
    failed="some cells were seen too seldom; they are named",
)
def show_coverage(
    *,
    from_: _FromOption = None,
    floor: Annotated[
        int,
        typer.Option(min=0, help="How often each cell has to be seen, exceptions aside."),
    ] = 100,
    html: _HtmlOption = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """Shows how often each fault befell each operation of each step of each flow.

    A cell is a flow, a step, an operation, a fault and an outcome. Which cells there are comes from
    the registry of flows and phases, so that a new one is here at once, seen 0 times. A row of the
    table is an operation, a column a fault, and the number that of its rarest outcome.
    """
    from fault_injection.cli import covering  # noqa: PLC0415 - slow

    covering.run(from_ or [], floor, html, output)
