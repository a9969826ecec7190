"""The command `kessai`: puts its parts together and turns expected failures into exit codes."""

from __future__ import annotations

import os
import sys
from typing import Any

import typer
from typer.core import TyperGroup

from coordinator.cli import demo, keys, participant, payments, server, up
from coordinator.cli.failures import ExitCode, Failure, epilog, show
from coordinator.cli.output import Format, OutputOption, emit


class _Kessai(TyperGroup):
    """The root: an expected failure is a message and an exit code, never a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Runs the command."""
        try:
            return super().invoke(ctx)
        except Failure as failure:
            form = ctx.obj if isinstance(ctx.obj, Format) else Format.TABLE
            show(failure, form)
            raise typer.Exit(failure.exit_code) from None


app = typer.Typer(
    name="kessai",
    cls=_Kessai,
    help="Kessai coordinates payments that touch several services: every payment ends paid "
    "everywhere or undone everywhere.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,  # locals may hold keys and card tokens
    epilog=epilog(
        "kessai demo          a story of a few payments, with real processes",
        "kessai up            starts everything; Ctrl-C stops it",
        "kessai payments create --help",
        failed="",
        unreachable="",
        refused="",
        unsettled="",
    ),
)
app.add_typer(payments.app)
app.add_typer(participant.app)
app.command("serve", epilog=server.SERVE_EPILOG)(server.serve)
app.command("migrate", epilog=server.MIGRATE_EPILOG)(server.migrate)
app.command("keygen", epilog=keys.EPILOG)(keys.keygen)
app.command("up", epilog=up.EPILOG)(up.up)
app.command("demo", epilog=demo.EPILOG)(demo.demo)


@app.callback()
def _root() -> None:
    """Nothing is done before the command itself."""


@app.command(epilog=epilog("kessai version", "kessai version --output json"))
def version(output: OutputOption = Format.TABLE) -> None:
    """Prints the version of Kessai and of Python."""
    from importlib.metadata import version as installed  # noqa: PLC0415 - only this command needs it

    record = {"kessai": installed("kessai"), "python": sys.version.split()[0]}
    emit(output, record, lambda: f"kessai {record['kessai']} (Python {record['python']})")


def main() -> None:
    """The entry point. A pipe that was closed early and Ctrl-C end quietly."""
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
