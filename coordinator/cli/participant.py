"""`kessai participant …`: the reference participants, and the check of anybody's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Annotated

import typer

from coordinator.cli.failures import ExitCode, Failure
from coordinator.cli.helps import command, epilog
from coordinator.cli.lifeline import LifelineOption, hold_lifeline
from coordinator.cli.ports import refuse_taken
from coordinator.cli.ready import announce

app = typer.Typer(
    name="participant",
    help="Run a reference participant, or check one of your own.",
    no_args_is_help=True,
    epilog=epilog("kessai participant serve --help", "kessai participant check --help"),
)


class Name(StrEnum):
    """The reference participants."""

    POINTS = "points"
    CARD = "card"
    MERCHANT = "merchant"
    STOCK = "stock"


class LogFormat(StrEnum):
    """Forms of the log."""

    JSON = "json"
    CONSOLE = "console"


@command(
    app,
    "kessai participant serve points --listen 127.0.0.1:7401 \\",
    "  --database-url postgresql://kessai@db/points --seed alice=10000",
    "kessai participant serve merchant --listen 127.0.0.1:7403 \\",
    "  --database-url postgresql://kessai@db/merchant --seed shop-1",
    "kessai participant serve stock --listen 127.0.0.1:7404 \\",
    "  --database-url postgresql://kessai@db/stock --seed lamp=12",
    failed="the address cannot be used",
    unreachable="the database cannot be reached",
    interruptible=False,
)
def serve(
    *,
    name: Annotated[Name, typer.Argument(help="Which one.", show_default=False)],
    database_url: Annotated[
        str,
        typer.Option(
            envvar="KESSAI_PARTICIPANT_DATABASE_URL",
            help="PostgreSQL URL of a database of its own.",
            show_default=False,
        ),
    ],
    listen: Annotated[
        str,
        typer.Option(
            envvar="KESSAI_PARTICIPANT_LISTEN",
            metavar="HOST:PORT",
            help="Its address; port 0: any free one.",
        ),
    ] = "127.0.0.1:0",
    seed: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[=MINOR_UNITS]",
            help="A wallet or merchant and its opening balance, or an article and its units; "
            "repeatable. Opened once only.",
        ),
    ] = None,
    slow_reply_s: Annotated[
        float, typer.Option(help="card: how long the tok_timeout_… tokens keep an answer back.")
    ] = 30.0,
    late_try_s: Annotated[
        float, typer.Option(help="card: how late a Try with tok_late_try arrives.")
    ] = 60.0,
    customer_action_s: Annotated[
        float, typer.Option(help="card: after how long the customer of tok_customer_action acts.")
    ] = 5.0,
    log_format: Annotated[
        LogFormat, typer.Option(help="Form of the log on stderr.")
    ] = LogFormat.JSON,
    lifeline: LifelineOption = False,
) -> None:
    """Runs a reference participant in the foreground until SIGTERM or Ctrl-C.

    It creates its tables at start-up. Times are in seconds. When it is ready it prints one line:
    listening on HOST:PORT.
    """
    from participants.serve import ServeOptions, parse_seeds  # noqa: PLC0415 - slow
    from participants.serve import serve as run  # noqa: PLC0415 - slow

    _configure_logs(log_format)
    with _expected_failures(listen):
        options = ServeOptions(
            slow_reply_s=slow_reply_s, late_try_s=late_try_s, customer_action_s=customer_action_s
        )
        seeds = parse_seeds(seed or ())
        refuse_taken(listen, "--listen")
        if lifeline:
            hold_lifeline()
        run(
            name.value,
            listen=listen,
            database_url=database_url,
            seeds=seeds,
            options=options,
            on_ready=announce,
        )


@contextmanager
def _expected_failures(listen: str) -> Iterator[None]:
    """What a person can do something about becomes a Failure."""
    from sqlalchemy.exc import ArgumentError  # noqa: PLC0415 - slow

    from participants.errors import StoreUnavailable  # noqa: PLC0415 - slow

    try:
        yield
    except ArgumentError:  # its message repeats the URL, password and all
        raise Failure("--database-url is not a URL of PostgreSQL", ExitCode.USAGE) from None
    except ValueError as error:
        raise Failure(str(error), ExitCode.USAGE) from None
    except StoreUnavailable as error:
        raise Failure(str(error), ExitCode.UNREACHABLE, error.reason) from None
    except RuntimeError as error:
        raise Failure(f"cannot listen on {listen}: {error}") from None


def _configure_logs(form: LogFormat) -> None:
    from participants.serve import configure_logging  # noqa: PLC0415 - slow

    configure_logging(json=form is LogFormat.JSON)
