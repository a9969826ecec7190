"""The entry point of `kessai`: brings its commands together."""

from __future__ import annotations

import os
import sys
from importlib.metadata import version as installed

from coordinator.cli import (
    conformance,
    demo,
    doctor,
    flow,
    keys,
    participant,
    participants,
    payments,
    reading,
    refunds,
    server,
    settings,
    tx,
    tx_acts,
    tx_resolve,
    tx_resume,
    up,
)
from coordinator.cli.app import app
from coordinator.cli.failures import ExitCode
from coordinator.cli.helps import CALLERS, OPERATORS, RUNNING, command
from coordinator.cli.output import Format, OutputOption, emit
from coordinator.plugins import plugins

__all__ = ["app", "main"]

COMMANDS = (
    up,
    demo,
    server,
    keys,
    conformance,
    reading,
    tx_acts,
    tx_resume,
    tx_resolve,
    participants,
    doctor,
)
"""Modules that add their commands when they are imported."""

tuple(plugins("kessai.commands"))  # they add their commands when they are imported, too

app.add_typer(payments.app, rich_help_panel=CALLERS)
app.add_typer(refunds.app, rich_help_panel=CALLERS)
app.add_typer(tx.app, rich_help_panel=OPERATORS)
app.add_typer(flow.app, rich_help_panel=OPERATORS)
app.add_typer(settings.app, rich_help_panel=RUNNING)
app.add_typer(participant.app, rich_help_panel=RUNNING)


@command(app, "kessai version", "kessai version --output json")
def version(*, output: OutputOption = Format.TABLE) -> None:
    """Prints the version of Kessai and of Python."""
    record = {"kessai": installed("kessai"), "python": sys.version.split()[0]}
    emit(output, record, lambda: f"kessai {record['kessai']} (Python {record['python']})")


def main() -> None:
    """Runs the command line. A pipe that was closed early ends it quietly."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:  # never fail for want of a character
            reconfigure(errors="replace")
    try:
        app()
    except BrokenPipeError:
        # Python would complain again when it flushes stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(ExitCode.FAILED)
