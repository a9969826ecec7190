"""`kessai tx …`: what operators can see of transactions. `tx_acts` and `tx_resolve` have the rest.

Heavy modules (gRPC, protobuf) are imported inside the commands, so that `--help` is quick.
"""

from __future__ import annotations

from typing import Annotated

import typer

from coordinator.cli.helps import command, epilog
from coordinator.cli.invocation import this_command
from coordinator.cli.operator_options import (
    ADMIN_TIMEOUT_S,
    DEFAULT_ADMIN_ADDRESS,
    TRANSACTION,
    AdminAddressOption,
    AttentionOption,
    CallerOption,
    ErrorOption,
    FlowOption,
    HeldOption,
    LiveOption,
    OlderThanOption,
    OperatorKeyOption,
    ParticipantOption,
    StatesOption,
    TransactionArgument,
    admin,
    filter_of,
)
from coordinator.cli.options import TimeoutOption
from coordinator.cli.output import Format, OutputOption, data, emit, emit_all, say

app = typer.Typer(
    name="tx",
    help="See the payments and refunds of all callers, and act on those that are stuck.",
    no_args_is_help=True,
    epilog=epilog(
        "kessai tx list --needs-attention    what will not end by itself",
        f"kessai tx explain {TRANSACTION}",
        "kessai tx resume --participant card --dry-run",
    ),
)


@command(
    app,
    "kessai tx list --needs-attention",
    "kessai tx list --live --older-than 10m",
    "kessai tx list --participant card --error UNAVAILABLE --limit 20",
    "kessai tx list --state CAPTURING --state SETTLING -o jsonl",
    ok="ok, also when nothing is found",
    unreachable="",
    refused="",
    name="list",
)
def list_transactions(
    *,
    state: StatesOption = None,
    live: LiveOption = False,
    needs_attention: AttentionOption = False,
    held: HeldOption = False,
    older_than: OlderThanOption = None,
    participant: ParticipantOption = "",
    error: ErrorOption = "",
    caller: CallerOption = "",
    flow: FlowOption = "",
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="At most this many.")] = 50,
    admin_address: AdminAddressOption = DEFAULT_ADMIN_ADDRESS,
    operator_key: OperatorKeyOption = "",
    timeout: TimeoutOption = ADMIN_TIMEOUT_S,
    output: OutputOption = Format.TABLE,
) -> None:
    """Lists payments and refunds of all callers, newest first. Several filters all have to hold.

    A state, then for how long; "why" names the operator who holds it, the attention that it
    needs, the last error of each step with the number of attempts, or why it failed.
    """
    filters = filter_of(
        states=state,
        live=live,
        needs_attention=needs_attention,
        held=held,
        older_than=older_than,
        participant=participant,
        error=error,
        caller=caller,
        flow=flow,
    )
    from adapters.system import SystemClock  # noqa: PLC0415 - slow
    from coordinator.cli.show import record  # noqa: PLC0415 - slow
    from coordinator.cli.tx_show import stamp, transactions_view  # noqa: PLC0415 - slow

    with admin(admin_address, operator_key, timeout) as at:
        found = list(at.search(filters, limit))
    now = stamp(SystemClock().now())
    if found or output is not Format.TABLE:
        emit_all(output, map(record, found), lambda: transactions_view(found, now, data().width))
    if not found:
        say("no transaction is like that")
    elif output is Format.TABLE and len(found) == limit:
        say(f"there may be more: the list ends after {limit}; see --limit")


@command(
    app,
    f"kessai tx explain {TRANSACTION}",
    f"kessai tx explain {TRANSACTION} --lines 500 -o json",
    unreachable="",
    refused="refused by the server, for instance because there is no such transaction",
)
def explain(
    *,
    transaction_id: TransactionArgument,
    lines: Annotated[
        int, typer.Option(min=1, max=500, help="How many of the journal's last lines to tell.")
    ] = 30,
    admin_address: AdminAddressOption = DEFAULT_ADMIN_ADDRESS,
    operator_key: OperatorKeyOption = "",
    timeout: TimeoutOption = ADMIN_TIMEOUT_S,
    output: OutputOption = Format.TABLE,
) -> None:
    """Tells the whole story of one payment or refund.

    Where it stands and since when, what it waits for, each step with its last error, what
    happened, who drives it, and which actions are allowed now and why others are not.
    """
    from coordinator.cli.show import record  # noqa: PLC0415 - slow
    from coordinator.cli.tx_show import story_view  # noqa: PLC0415 - slow

    with admin(admin_address, operator_key, timeout) as at:
        story = at.explain(transaction_id, lines)
    emit(output, record(story), lambda: story_view(story, this_command(), data().width))
