"""`kessai tx resume`: retrying now rather than waiting out the backoff, one or many.

Heavy modules (gRPC, protobuf) are imported inside the command, so that `--help` is quick.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from coordinator.cli.asking import confirm
from coordinator.cli.failures import ExitCode, Failure
from coordinator.cli.helps import command
from coordinator.cli.many import Outcome, Pace, Result, Run
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
    IfVersionOption,
    LiveOption,
    MaybeReasonOption,
    OlderThanOption,
    OperatorKeyOption,
    ParticipantOption,
    StatesOption,
    YesOption,
    admin,
    filter_of,
    parse_rate,
)
from coordinator.cli.options import TimeoutOption
from coordinator.cli.output import Format, OutputOption, emit
from coordinator.cli.requests import sendable
from coordinator.cli.tx import app

if TYPE_CHECKING:
    from kessai.admin.v1 import admin_pb2 as pb

    from coordinator.cli.admin_client import AdminClient

FEW = 10
"""So many are resumed without asking."""
MOST = 100_000
"""So many at most in one command."""


@command(
    app,
    f"kessai tx resume {TRANSACTION}",
    "kessai tx resume --participant card --dry-run",
    "kessai tx resume --participant card --limit 500 --rate 20/s \\",
    "  --reason 'card is back'",
    "kessai tx resume --needs-attention --yes -o jsonl",
    failed="some were refused, as their lines say; or it was not confirmed",
    unreachable="",
    refused="the one transaction, or the filter, was refused by the server",
    nothing="",
)
def resume(
    *,
    transaction_ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ID]...", help="Payments and refunds.", show_default=False),
    ] = None,
    state: StatesOption = None,
    live: LiveOption = False,
    needs_attention: AttentionOption = False,
    held: HeldOption = False,
    older_than: OlderThanOption = None,
    participant: ParticipantOption = "",
    error: ErrorOption = "",
    caller: CallerOption = "",
    flow: FlowOption = "",
    limit: Annotated[
        int | None,
        typer.Option(min=1, max=MOST, help="At most so many, the newest first. Default: all."),
    ] = None,
    rate: Annotated[
        str | None,
        typer.Option(metavar="N/s", help="At most so many a second, such as 20/s, or 30/m."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be done.")
    ] = False,
    reason: MaybeReasonOption = "",
    if_version: IfVersionOption = 0,
    yes: YesOption = False,
    admin_address: AdminAddressOption = DEFAULT_ADMIN_ADDRESS,
    operator_key: OperatorKeyOption = "",
    timeout: TimeoutOption = ADMIN_TIMEOUT_S,
    output: OutputOption = Format.TABLE,
) -> None:
    """Retries now, rather than waiting for the next attempt. Safe to repeat.

    Transactions are named by ID, or chosen by the filters of `kessai tx list` among those that
    are not settled. More than ten, or all that there are, are counted first, and you are asked.
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
    ids = list(dict.fromkeys(transaction_ids or ()))
    _refuse_unclear(ids, filters, limit, if_version)
    pace = Pace(parse_rate(rate))
    with admin(admin_address, operator_key, timeout) as at:
        act = _looking(at) if dry_run else _resuming(at, reason, if_version)
        if len(ids) == 1:
            result = act(ids[0])
            emit(output, result.record(), result.line)
            return
        chosen = ids or _chosen(at, filters, limit, asks=not (yes or dry_run))
        run = Run(act, pace=pace, by_filter=not ids, output=output)
        run(chosen)
    if run.counted[Outcome.REFUSED]:
        raise typer.Exit(ExitCode.FAILED)


def _refuse_unclear(
    ids: Sequence[str], filters: pb.TransactionFilter, limit: int | None, if_version: int
) -> None:
    """Raises BadParameter for what cannot be meant."""
    filtered = bool(filters.ByteSize())
    if not ids and not filtered:
        raise typer.BadParameter(
            "name transactions by their IDs, or choose them by filters such as "
            "--needs-attention; --live alone means all that are not settled"
        )
    if ids and (filtered or limit is not None):
        raise typer.BadParameter("name IDs or use filters and --limit, not both")
    if if_version and len(ids) != 1:
        raise typer.BadParameter("goes with exactly one ID", param_hint="--if-version")


def _chosen(
    at: AdminClient, filters: pb.TransactionFilter, limit: int | None, *, asks: bool
) -> list[str]:
    """The transactions that the filters mean. Raises Failure for none, or if not confirmed."""
    from kessai.admin.v1 import admin_pb2  # noqa: PLC0415 - slow

    filters.live = True  # what is settled has nothing to retry
    found = at.count(filters)
    if not found.count:
        raise Failure(
            "no transaction that is not settled is like that; nothing was done",
            ExitCode.NOTHING,
            "NOTHING_MATCHES",
        )
    there = at.count(admin_pb2.TransactionFilter(live=True))
    all_of_them = found.count >= there.count and found.count > 1
    wanted = min(limit or MOST, found.count)
    if asks and (wanted > FEW or all_of_them):
        confirm(_question(wanted, found, there, all_of_them=all_of_them), yes=False)
    return [each.transaction_id for each in at.search(filters, limit or MOST)]


def _question(
    wanted: int,
    found: pb.CountTransactionsResponse,
    there: pb.CountTransactionsResponse,
    *,
    all_of_them: bool,
) -> str:
    if all_of_them:
        of = f"all {_many(found)} transactions that are not settled"
    else:
        of = f"{_many(found)} of the {_many(there)} transactions that are not settled"
    if wanted < found.count:
        of = f"the newest {wanted:,} of {of}"
    return f"This resumes {of}. Go on?"


def _many(count: pb.CountTransactionsResponse) -> str:
    return f"{count.count:,}{' or more' if count.count_is_lower_bound else ''}"


def _resuming(at: AdminClient, reason: str, if_version: int) -> Callable[[str], Result]:
    from kessai.admin.v1 import admin_pb2  # noqa: PLC0415 - slow

    from coordinator.cli.show import state_word  # noqa: PLC0415 - slow

    def act(transaction_id: str) -> Result:
        request = sendable(
            lambda: admin_pb2.ResumeTransactionRequest(
                transaction_id=transaction_id, reason=reason, if_version=if_version
            )
        )
        state = state_word(at.resume(request).transaction.state)
        return Result(transaction_id, Outcome.RESUMED, state)

    return act


def _looking(at: AdminClient) -> Callable[[str], Result]:
    """What a dry run does instead."""
    from kessai.admin.v1 import admin_pb2  # noqa: PLC0415 - slow

    from coordinator.cli.show import state_word  # noqa: PLC0415 - slow
    from coordinator.cli.tx_acts import verdict_of  # noqa: PLC0415 - slow

    def look(transaction_id: str) -> Result:
        seen = at.explain(transaction_id, 1)
        said, state = verdict_of(seen, admin_pb2.OPERATOR_ACTION_RESUME), seen.transaction.state
        outcome = Outcome.WOULD_BE_RESUMED if said.allowed else Outcome.WOULD_BE_REFUSED
        reason = "" if said.allowed else said.reason
        return Result(transaction_id, outcome, state_word(state), said.code, reason)

    return look
