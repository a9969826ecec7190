"""Options of the operators' commands. Light: every `--help` imports it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

import typer

from coordinator.cli.options import parse_duration
from coordinator.cli.reading import StateName
from coordinator.cli.requests import sendable

if TYPE_CHECKING:
    from kessai.admin.v1 import admin_pb2 as pb

    from coordinator.cli.admin_client import AdminClient

DEFAULT_ADMIN_ADDRESS = "127.0.0.1:7301"
ADMIN_TIMEOUT_S = 15.0
TRANSACTION = "019aa5f0-6c1e-7c1a-9d57-1d1b0f2a6c11"
"""The ID in the examples."""

AdminAddressOption = Annotated[
    str,
    typer.Option(
        "--admin-address",
        envvar="KESSAI_ADMIN_ADDRESS",
        metavar="HOST:PORT",
        help="Address of AdminService: --admin-listen of `kessai serve`.",
    ),
]
OperatorKeyOption = Annotated[
    str,
    typer.Option(
        "--operator-key",
        envvar="KESSAI_OPERATOR_KEY",
        help="The operator's key. The variable is safer: other users can read command lines.",
        show_default=False,
    ),
]
TransactionArgument = Annotated[
    str,
    typer.Argument(
        metavar="ID", help="The payment's or the refund's ID, in full.", show_default=False
    ),
]
ReasonOption = Annotated[
    str, typer.Option("--reason", help="Why, for the journal.", show_default=False)
]
MaybeReasonOption = Annotated[str, typer.Option("--reason", help="Why, for the journal.")]
IfVersionOption = Annotated[
    int,
    typer.Option(
        "--if-version",
        min=0,
        metavar="N",
        help="Refused if the transaction is not at this version any more, because somebody else "
        "acted; `kessai tx explain` shows it. 0: whatever it is.",
        show_default=False,
    ),
]
YesOption = Annotated[
    bool, typer.Option("--yes", "-y", help="Do not ask. Required where there is no terminal.")
]

StatesOption = Annotated[
    list[StateName] | None,
    typer.Option(
        "--state",
        metavar="STATE",
        case_sensitive=False,
        help="Only this state, such as CAPTURING; repeatable.",
    ),
]
LiveOption = Annotated[bool, typer.Option("--live", help="Only those that are not settled.")]
AttentionOption = Annotated[
    bool, typer.Option("--needs-attention", help="Only those that need a person.")
]
HeldOption = Annotated[bool, typer.Option("--held", help="Only those that an operator holds.")]
OlderThanOption = Annotated[
    str | None,
    typer.Option(
        "--older-than",
        metavar="DURATION",
        help="Only those that have been in their state for so long, such as 90s, 10m or 2h.",
        show_default=False,
    ),
]
ParticipantOption = Annotated[
    str,
    typer.Option(
        "--participant", metavar="NAME", help="Only those that wait for it after an error of it."
    ),
]
ErrorOption = Annotated[
    str,
    typer.Option(
        "--error",
        metavar="CODE",
        help="Only those with this code: of their attention, or of a step's last error.",
    ),
]
CallerOption = Annotated[str, typer.Option("--caller", metavar="NAME", help="Only this caller's.")]
FlowOption = Annotated[str, typer.Option("--flow", metavar="NAME", help="Only those of this flow.")]

_RATE = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,3})?)(?:/(s|m|h))?")
_PER = {None: 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


def admin(address: str, operator_key: str, timeout_s: float) -> AdminClient:
    """AdminService at this address. Raises Failure for an address or a key that cannot be."""
    from coordinator.cli.admin_client import AdminClient  # noqa: PLC0415 - gRPC is slow to import

    return AdminClient(address, operator_key, timeout_s)


def filter_of(
    *,
    states: list[StateName] | None,
    live: bool,
    needs_attention: bool,
    held: bool,
    older_than: str | None,
    participant: str,
    error: str,
    caller: str,
    flow: str,
) -> pb.TransactionFilter:
    """The filter that the options mean. Raises typer.BadParameter, Failure."""
    from kessai.admin.v1 import admin_pb2  # noqa: PLC0415 - slow

    age = parse_duration("--older-than", older_than)
    return sendable(
        lambda: admin_pb2.TransactionFilter(
            states=[f"PAYMENT_STATE_{name}" for name in states or ()],
            live=live,
            needs_attention=needs_attention,
            held=held,
            min_time_in_state=age,
            participant=participant,
            error_code=error,
            caller=caller,
            flow=flow,
        )
    )


def parse_rate(text: str | None) -> float | None:
    """How many a second; None: as fast as it goes. Raises typer.BadParameter."""
    if text is None:
        return None
    found = _RATE.fullmatch(text)
    rate = float(found[1]) / _PER[found[2]] if found else 0.0
    if rate <= 0:
        raise typer.BadParameter(
            "must be a number above 0, a second unless it says more, such as 5, 5/s or 30/m",
            param_hint="--rate",
        )
    return rate
