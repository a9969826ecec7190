"""`kessai model`: every state of the protocol, with every rule checked in each."""

from __future__ import annotations

from typing import Annotated

import typer

from coordinator.cli.app import app
from coordinator.cli.helps import command
from coordinator.cli.output import Format, OutputOption

_ParticipantsOption = Annotated[
    int,
    typer.Option(
        "--participants",
        metavar="N",
        help="Explores the flow with so many participants: 2, 3 or 4 (40 s, 400 MB).",
    ),
]
_VariantOption = Annotated[
    str | None,
    typer.Option(
        "--variant",
        metavar="NAME|all",
        help="A broken variant of the protocol, or all; docs/protocol.md lists them. "
        "Default: the sound protocol.",
        show_default=False,
    ),
]


@command(
    app,
    "kessai model",
    "kessai model --participants 4",
    "kessai model --participants 2 --variant no-tombstone",
    "kessai model --participants 2 --variant all --output jsonl",
    ok="every rule holds in every state; a broken variant breaks the rule that it has to",
    failed="it came out otherwise; what is broken is named, with its story",
)
def model(
    *,
    participants: _ParticipantsOption = 3,
    variant: _VariantOption = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """Visits every state that the protocol can reach, and checks every rule in each.

    One coordinator record, any number of processes that crash and take it up, participants that
    keep a fence, and a network in which any message arrives any number of times or never. What is
    decided is decided by the service's own code. A broken variant lacks one of the rules that keep
    money right: the check has to find that, and tells the shortest story of it.
    """
    from fault_injection.cli import modelling  # noqa: PLC0415 - slow

    modelling.run(participants, variant, output)
