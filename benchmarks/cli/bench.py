"""`kessai bench …`: measures Kessai, draws what was found, sets two builds beside each other."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Annotated

import typer

from benchmarks.scenario import SCENARIOS
from coordinator.cli.app import app as kessai
from coordinator.cli.failures import Failure
from coordinator.cli.helps import command, epilog
from coordinator.cli.output import Format, OutputOption

app = typer.Typer(
    name="bench",
    help="Measure Kessai on this machine; set two builds beside each other.",
    no_args_is_help=True,
    epilog=epilog(
        "kessai bench run --json today.json --html today.html",
        "kessai bench compare yesterday.json today.json",
    ),
)
kessai.add_typer(app)


def _benching() -> ModuleType:
    """What the commands do. Raises Failure when what it needs is not installed."""
    try:
        from benchmarks.cli import benching  # noqa: PLC0415 - slow
    except ModuleNotFoundError as error:
        if error.name not in {"pygal", "psutil"}:
            raise
        hint = "pip install 'kessai[bench,embedded]'"
        raise Failure(f"{error.name}, which kessai bench needs, is not there", hint=hint) from None
    return benching


_RoundsOption = Annotated[int, typer.Option("--rounds", min=1, help="Runs of each scenario.")]
_SecondsOption = Annotated[
    float, typer.Option("--seconds", min=1.0, max=600.0, help="Length of a run.")
]
_ScenarioOption = Annotated[
    list[str] | None,
    typer.Option(
        "--scenario",
        metavar="NAME",
        help=f"Only this one, repeatable: {', '.join(each.name for each in SCENARIOS)}.",
        show_default=False,
    ),
]
_MemoryOption = Annotated[
    int,
    typer.Option(
        "--memory",
        min=0,
        max=20_000,
        help="Measures the memory of so many payments that wait at once; 0: does not.",
    ),
]
_BehindOption = Annotated[
    int,
    typer.Option(
        "--behind",
        min=20_000,
        help="How many settled payments are in the database of much-behind "
        "(a million: 4 GB and some minutes).",
    ),
]
_JsonOption = Annotated[
    Path | None,
    typer.Option(
        "--json",
        metavar="FILE",
        dir_okay=False,
        help="Keeps the figures, for kessai bench compare and report.",
        show_default=False,
    ),
]
_HtmlOption = Annotated[
    Path | None,
    typer.Option(
        "--html", metavar="FILE", dir_okay=False, help="Draws the report.", show_default=False
    ),
]
_File = Annotated[Path, typer.Argument(metavar="FILE", help="What --json wrote.")]


@command(
    app,
    "kessai bench run",
    "kessai bench run --scenario many --scenario few --rounds 5",
    "kessai bench run --json today.json --html today.html",
    failed="what is measured did not start, or broke",
)
def run(
    *,
    scenario: _ScenarioOption = None,
    rounds: _RoundsOption = 3,
    seconds: _SecondsOption = 6.0,
    memory: _MemoryOption = 5_000,
    behind: _BehindOption = 1_000_000,
    json: _JsonOption = None,
    html: _HtmlOption = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """Runs every scenario, interleaved with pgbench, and prints the figures and the targets.

    PostgreSQL (with fsync and synchronous_commit), coordinators, participants and callers are
    processes on this machine's cores, in a temporary folder that is removed at the end. With
    everything it takes about ten minutes. Whatever else runs meanwhile is in the figures.
    """
    benching = _benching()
    chosen = benching.scenarios_of(scenario, behind)
    files = [path for path in (json, html) if path is not None]
    benching.run(chosen, rounds, seconds, memory, files=files, json=json, html=html, output=output)


@command(
    app,
    "kessai bench compare before.json after.json",
    "kessai bench compare before.json after.json --output jsonl",
)
def compare(before: _File, after: _File, output: OutputOption = Format.TABLE) -> None:
    """Sets two results beside each other: two builds, or two machines.

    Compared are the rates as multiples of pgbench's in the same round, since a shared machine
    changes its speed between runs. Faster or slower is only said where no round of one reaches
    into those of the other, and the medians differ by more than 5 %.
    """
    benching = _benching()
    benching.compare(before, after, output)


@command(app, "kessai bench report today.json > today.html")
def report(file: _File) -> None:
    """Draws kept figures as an HTML page that loads nothing from elsewhere."""
    benching = _benching()
    benching.report(file)
