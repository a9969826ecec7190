"""`kessai up`: everything in the foreground, on this machine; Ctrl-C stops it."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coordinator.cli.app import app
from coordinator.cli.failures import needing_embedded
from coordinator.cli.helps import command
from coordinator.cli.interruption import Interrupted, Interruption
from coordinator.cli.output import Format, OutputOption, data, emit, say, table

if TYPE_CHECKING:
    from rich.table import Table

    from coordinator.cli.stack import Stack

OPTIONS = {
    "points": ("--seed=alice=10000", "--seed=bob=50", "--seed=conformance=1000000"),
    "card": ("--customer-action-s=1",),
    "merchant": ("--seed=shop-1", "--seed=conformance"),
}
"""Options of the participants. The accounts `conformance` are for `kessai participant check`; a
customer acts well within the time that a payment waits for a Try."""
WELCOME = """
export KESSAI_ADDRESS={address} KESSAI_API_KEY={api_key}
{kessai} payments create --flow points_and_card --amount 1000 --currency JPY \\
  --tender points_reserve:alice:600 --tender card_charge:tok_ok:400 --merchant shop-1
"""


@command(
    app,
    "kessai up",
    "kessai up --fresh --port 0 --output json",
    "kessai up --data-dir /srv/kessai --port 7300",
    failed="something did not start, or ended by itself; the end of its log is shown",
    ok="stopped by Ctrl-C or SIGTERM",
)
def up(
    *,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            help="Where databases, keys and logs are kept between runs. Default: a folder of "
            "this user's own under /tmp.",
            show_default=False,
        ),
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="A new temporary folder, removed at the end.")
    ] = False,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="The coordinator's port; 0: any free one.")
    ] = 7300,
    reflection: Annotated[
        bool, typer.Option("--reflection/--no-reflection", help="Serve gRPC reflection.")
    ] = True,
    output: OutputOption = Format.TABLE,
) -> None:
    """Starts PostgreSQL, NATS, three participants and the coordinator, each a real process.

    The wallets alice (10,000 points) and bob (50) and the merchant shop-1 are there. The API key of
    the caller "demo" is printed. Run as root, PostgreSQL's wheel makes the folders above the data
    folder readable for others, so keep it outside home folders.
    """
    from coordinator.cli import folders  # noqa: PLC0415 - only this command needs it

    with needing_embedded():
        from coordinator.cli.stack import Plan, Stack  # noqa: PLC0415 - slow

    if fresh and data_dir is not None:
        raise typer.BadParameter("use --fresh or --data-dir, not both", param_hint="--fresh")
    with Interruption() as interruption:
        folder = folders.temporary() if fresh else folders.kept(data_dir)
        stack = Stack(Plan(folder, f"127.0.0.1:{port}", reflection, options=OPTIONS), interruption)
        try:
            with folders.owned(folder):
                _run(stack, output)
        except Interrupted:
            pass
        finally:
            if fresh:
                shutil.rmtree(folder, ignore_errors=True)


def _run(stack: Stack, output: Format) -> None:
    try:
        say(f"starting in {stack.plan.folder} …")
        stack.start()
        emit(output, _record(stack), lambda: _addresses(stack))
        if output is Format.TABLE:
            welcome = WELCOME.format(
                address=stack.address, api_key=stack.keys.api_key, kessai=_this_command()
            )
            data().print(f"A first payment, in another terminal:\n{welcome}", markup=False)
        say("press Ctrl-C to stop")
        ended = stack.wait()
        failure = stack.failure_of(ended)
    except Interrupted:
        say("stopping …")
        failure = None
    finally:
        stack.stop()
    if failure is not None:
        raise failure
    say("stopped")


def _this_command() -> str:
    """How a shell in this folder finds `kessai`: by its name, or by its path in a .venv."""
    beside = Path(sys.executable).with_name("kessai")
    return "kessai" if shutil.which("kessai") else os.path.relpath(beside)


def _record(stack: Stack) -> dict[str, Any]:
    return {
        "address": stack.address,
        "caller": stack.plan.caller,
        "api_key": stack.keys.api_key,
        "nats_url": stack.nats.url,
        "folder": str(stack.plan.folder),
        "processes": {
            name: {"address": stack.addresses[name], "pid": child.pid, "log": str(child.log)}
            for name, child in stack.children.items()
        }
        | {"nats": {"pid": stack.nats.pid}, "postgres": {"pid": stack.postgres.pid}},
    }


def _addresses(stack: Stack) -> Table:
    made = table("process", "address", "pid", "log", right=("pid",))
    for name, child in reversed(stack.children.items()):
        made.add_row(name, stack.addresses[name], str(child.pid), str(child.log))
    made.add_row("nats", stack.nats.url, str(stack.nats.pid), str(stack.log("nats")))
    made.add_row(
        "postgres",
        stack.database_urls["kessai"],
        str(stack.postgres.pid),
        str(stack.log("postgres")),
    )
    return made
