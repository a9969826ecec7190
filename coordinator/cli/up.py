"""`kessai up`: everything in the foreground, on this machine; Ctrl-C stops it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coordinator.cli.app import app
from coordinator.cli.failures import needing_embedded
from coordinator.cli.helps import command
from coordinator.cli.interruption import Interrupted, Interruption
from coordinator.cli.invocation import this_command
from coordinator.cli.options import parse_pairs
from coordinator.cli.output import Format, OutputOption, emit, lines, say

if TYPE_CHECKING:
    from coordinator.cli.stack import Stack

OPTIONS = {
    "points": (
        "--seed=alice=10000",
        "--seed=bob=50",
        "--seed=conformance=1000000",
        "--seed=conformance-scarce=200",
    ),
    "card": ("--customer-action-s=1",),
    "merchant": ("--seed=shop-1", "--seed=wallet-alice", "--seed=conformance"),
    "stock": (
        "--seed=lamp=10",
        "--seed=last-lamp=1",
        "--seed=conformance=1000000",
        "--seed=conformance-scarce=2",
    ),
}
"""Options of the participants. The accounts `conformance…` are for `kessai participant check`; a
customer acts well within the time that a payment waits for a Try."""
MAX_PORT = 65535
WELCOME = """
export KESSAI_ADDRESS={address}
export KESSAI_API_KEY={api_key}
export KESSAI_ADMIN_ADDRESS={admin_address}
export KESSAI_OPERATOR_KEY={operator_key}
{kessai} payments create --flow points_and_card --amount 1000 --currency JPY \\
  --tender points_reserve:alice:600 --tender card_charge:tok_ok:400 --merchant shop-1
{kessai} tx list
"""

_AdminPortOption = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=MAX_PORT,
        help="The port for operators; 0: any free one. Default: one above --port.",
        show_default=False,
    ),
]


@command(
    app,
    "kessai up",
    "kessai up --fresh --port 0 --output json",
    "kessai up --data-dir /srv/kessai --port 7300",
    "kessai up --participant gift_card=127.0.0.1:7404",
    failed="something did not start, or ended by itself; the end of its log is shown",
    ok="stopped by Ctrl-C or SIGTERM",
    interruptible=False,
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
        int, typer.Option(min=0, max=MAX_PORT, help="The coordinator's port; 0: any free one.")
    ] = 7300,
    admin_port: _AdminPortOption = None,
    participant: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=HOST:PORT",
            help="A participant of your own that runs already; repeatable.",
        ),
    ] = None,
    reflection: Annotated[
        bool, typer.Option("--reflection/--no-reflection", help="Serve gRPC reflection.")
    ] = True,
    output: OutputOption = Format.TABLE,
) -> None:
    """Starts PostgreSQL, NATS, four participants and the coordinator, each a real process.

    The wallets alice (10,000 points) and bob (50), the merchant shop-1 and the articles lamp (10 of
    them) and last-lamp (1) are there. The keys of the caller "demo" and of an operator are printed.
    Run as root, PostgreSQL's wheel makes the folders above the data folder readable for others, so
    keep it outside home folders. Flows that need a participant which is neither started nor named
    with --participant are not served.
    """
    from coordinator.cli import folders  # noqa: PLC0415 - only this command needs it

    with needing_embedded():
        from coordinator.cli.stack import Plan, Stack  # noqa: PLC0415 - slow

    if fresh and data_dir is not None:
        raise typer.BadParameter("use --fresh or --data-dir, not both", param_hint="--fresh")
    participants = _addresses(participant)
    address, admin_address = _listen(port, admin_port)
    with Interruption() as interruption:
        folder = folders.temporary() if fresh else folders.kept(data_dir)
        plan = Plan(
            folder,
            address,
            admin_address,
            reflection,
            options=OPTIONS,
            participants=participants,
        )
        stack = Stack(plan, interruption)
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
        emit(output, _record(stack), lambda: _processes(stack))
        for name, missing in stack.unserved.items():
            say(f"flow {name} is not served: no address for {', '.join(missing)}; --participant")
        if output is Format.TABLE:
            welcome = WELCOME.format(
                address=stack.address,
                api_key=stack.keys.api_key,
                admin_address=stack.admin_address,
                operator_key=stack.keys.operator_key,
                kessai=this_command(),
            )
            lines(
                f"A first payment, and what an operator sees of it, in another terminal:\n{welcome}"
            )
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


def _listen(port: int, admin_port: int | None) -> tuple[str, str]:
    """The coordinator's addresses, for callers and for operators.

    Raises Failure for one that is taken, BadParameter where operators would have none.
    """
    from coordinator.cli.ports import refuse_taken  # noqa: PLC0415 - only this command needs it

    if admin_port is None:
        admin_port = port + 1 if port else 0
    if admin_port > MAX_PORT:
        raise typer.BadParameter("there is no port above --port", param_hint="--admin-port")
    address, admin_address = f"127.0.0.1:{port}", f"127.0.0.1:{admin_port}"
    refuse_taken(address, "--port")
    refuse_taken(admin_address, "--admin-port")
    return address, admin_address


def _addresses(participants: list[str] | None) -> Mapping[str, str]:
    """The participants that run already. Raises BadParameter."""
    from coordinator.config import check_address  # noqa: PLC0415 - slow

    named = parse_pairs("--participant", participants) or {}
    for name, address in named.items():
        try:
            check_address(address)
        except ValueError as error:
            raise typer.BadParameter(f"{name} {error}", param_hint="--participant") from None
    return named


def _record(stack: Stack) -> dict[str, Any]:
    return {
        "address": stack.address,
        "caller": stack.plan.caller,
        "api_key": stack.keys.api_key,
        "admin_address": stack.admin_address,
        "operator": stack.plan.operator,
        "operator_key": stack.keys.operator_key,
        "nats_url": stack.nats.url,
        "folder": str(stack.plan.folder),
        "processes": {
            name: {"address": stack.addresses[name], "pid": child.pid, "log": str(child.log)}
            for name, child in stack.children.items()
        }
        | {"nats": {"pid": stack.nats.pid}, "postgres": {"pid": stack.postgres.pid}},
    }


def _processes(stack: Stack) -> str:
    """A line for each process, then one for each log: whole, however narrow the terminal is."""
    rows = [
        *((name, child.pid, stack.addresses[name]) for name, child in stack.children.items()),
        ("nats", stack.nats.pid, stack.nats.url),
        ("postgres", stack.postgres.pid, stack.database_urls["kessai"]),
    ]
    told = [f"{name:<12} pid {pid:<8} {address}" for name, pid, address in rows]
    logs = [f"  {stack.log(name)}" for name, _, _ in rows]
    return "\n".join([*told, "logs:", *logs, ""])
