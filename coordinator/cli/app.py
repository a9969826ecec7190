"""The root of the command `kessai`, to which the other modules add their commands."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from coordinator.cli.failures import Failure, show
from coordinator.cli.helps import epilog
from coordinator.cli.output import Format


class _Kessai(TyperGroup):
    """The root: an expected failure is a message and an exit code, never a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Runs the command."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            error.message = error.message.removeprefix("Value error, ")  # pydantic's, through typer
            raise
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
        nothing="",
    ),
)
