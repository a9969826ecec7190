"""`kessai flow …`: whether flows take new payments.

Heavy modules (gRPC, protobuf) are imported inside the commands, so that `--help` is quick.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from coordinator.cli.helps import command, epilog
from coordinator.cli.operator_options import (
    ADMIN_TIMEOUT_S,
    DEFAULT_ADMIN_ADDRESS,
    AdminAddressOption,
    OperatorKeyOption,
    admin,
)
from coordinator.cli.options import TimeoutOption
from coordinator.cli.output import Format, OutputOption, data, emit, emit_all, say
from coordinator.cli.requests import sendable

if TYPE_CHECKING:
    from kessai.admin.v1 import admin_pb2 as pb

app = typer.Typer(
    name="flow",
    help="Stop and open the intake of a flow.",
    no_args_is_help=True,
    epilog=epilog("kessai flow list", "kessai flow pause card_only --reason 'card is down'"),
)

_NameArgument = Annotated[
    str,
    typer.Argument(metavar="NAME", help="The flow's name, as in `kessai flow list`."),
]


@command(
    app,
    "kessai flow list",
    "kessai flow list --output json",
    unreachable="",
    refused="",
    name="list",
)
def list_flows(
    *,
    admin_address: AdminAddressOption = DEFAULT_ADMIN_ADDRESS,
    operator_key: OperatorKeyOption = "",
    timeout: TimeoutOption = ADMIN_TIMEOUT_S,
    output: OutputOption = Format.TABLE,
) -> None:
    """Lists the flows, and whether they take new payments."""
    from coordinator.cli.operator_show import flows_view  # noqa: PLC0415 - slow
    from coordinator.cli.show import record  # noqa: PLC0415 - slow

    with admin(admin_address, operator_key, timeout) as at:
        flows = at.flows()
    emit_all(output, map(record, flows), lambda: flows_view(flows, data().width))


@command(
    app,
    "kessai flow pause points_and_card --reason 'card is down, ticket 812'",
    unreachable="",
    refused="",
)
def pause(
    *,
    name: _NameArgument,
    reason: Annotated[
        str, typer.Option(help="Why; callers that are refused see it.", show_default=False)
    ],
    admin_address: AdminAddressOption = DEFAULT_ADMIN_ADDRESS,
    operator_key: OperatorKeyOption = "",
    timeout: TimeoutOption = ADMIN_TIMEOUT_S,
    output: OutputOption = Format.TABLE,
) -> None:
    """Stops taking new payments of a flow; those that were accepted go on to their end.

    In all processes within seconds, until `kessai flow resume`. Replaces an earlier pause.
    """
    from kessai.admin.v1 import admin_pb2 as pb  # noqa: PLC0415 - slow

    request = sendable(lambda: pb.PauseFlowRequest(flow=name, reason=reason))
    with admin(admin_address, operator_key, timeout) as at:
        flow = at.pause_flow(request)
    _show(flow, output)


@command(
    app,
    "kessai flow resume points_and_card",
    ok="ok, also when it was not paused",
    unreachable="",
    refused="",
)
def resume(
    *,
    name: _NameArgument,
    admin_address: AdminAddressOption = DEFAULT_ADMIN_ADDRESS,
    operator_key: OperatorKeyOption = "",
    timeout: TimeoutOption = ADMIN_TIMEOUT_S,
    output: OutputOption = Format.TABLE,
) -> None:
    """Takes new payments of a flow again."""
    from kessai.admin.v1 import admin_pb2 as pb  # noqa: PLC0415 - slow

    request = sendable(lambda: pb.ResumeFlowRequest(flow=name))
    with admin(admin_address, operator_key, timeout) as at:
        answer = at.resume_flow(request)
    if not answer.changed:
        say("it was not paused")
    _show(answer.flow, output)


def _show(flow: pb.Flow, output: Format) -> None:
    from coordinator.cli.operator_show import flows_view  # noqa: PLC0415 - slow
    from coordinator.cli.show import record  # noqa: PLC0415 - slow

    emit(output, record(flow), lambda: flows_view([flow], data().width))
