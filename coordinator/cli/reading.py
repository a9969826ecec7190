"""`kessai payments …`: what a caller can read of payments.

Heavy modules (gRPC, protobuf) are imported inside the commands, so that `--help` is quick.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from coordinator.cli.helps import command
from coordinator.cli.options import (
    CALL_TIMEOUT_S,
    DEFAULT_ADDRESS,
    WATCH_TIMEOUT_S,
    AddressOption,
    ApiKeyOption,
    PaymentArgument,
    TimeoutOption,
    parse_time,
)
from coordinator.cli.output import Format, OutputOption, data, emit, emit_all, say
from coordinator.cli.payments import app
from coordinator.cli.requests import client, end_by, sendable, up_to_the_deadline

if TYPE_CHECKING:
    from kessai.payments.v1 import payments_pb2 as pb


class StateName(StrEnum):
    """States, as filters."""

    CREATED = "CREATED"
    RESERVED = "RESERVED"
    CAPTURING = "CAPTURING"
    SETTLING = "SETTLING"
    PAID = "PAID"
    CANCELLING = "CANCELLING"
    FAILED = "FAILED"
    REFUNDED = "REFUNDED"


@command(
    app,
    "kessai payments get 019aa5f0-6c1e-7c1a-9d57-1d1b0f2a6c11",
    "kessai payments get 019aa5f0-6c1e-7c1a-9d57-1d1b0f2a6c11 --output json",
    unreachable="",
    refused="refused by the server, for instance because there is no such payment",
)
def get(
    *,
    payment_id: PaymentArgument,
    address: AddressOption = DEFAULT_ADDRESS,
    api_key: ApiKeyOption = "",
    timeout: TimeoutOption = CALL_TIMEOUT_S,
    output: OutputOption = Format.TABLE,
) -> None:
    """Shows one payment as it stands."""
    from coordinator.cli.show import payment_view, record  # noqa: PLC0415 - slow

    with client(address, api_key, timeout) as at:
        payment = at.get(payment_id)
    emit(output, record(payment), lambda: payment_view(payment))


@command(
    app,
    "kessai payments list --state FAILED --state CANCELLING --limit 20",
    "kessai payments list --merchant shop-1 \\",
    "  --from 2026-11-21 --to 2026-11-22 -o jsonl",
    unreachable="",
    refused="",
    name="list",
)
def list_payments(
    *,
    state: Annotated[
        list[StateName] | None, typer.Option(help="Only this state; may be given several times.")
    ] = None,
    order: Annotated[str, typer.Option(help="Only this order.")] = "",
    customer: Annotated[str, typer.Option(help="Only this customer.")] = "",
    merchant: Annotated[str, typer.Option(help="Only this merchant.")] = "",
    created_from: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="TIME", help="Created at or after this ISO 8601 time (UTC)."
        ),
    ] = None,
    created_to: Annotated[
        str | None,
        typer.Option("--to", metavar="TIME", help="Created before this ISO 8601 time (UTC)."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="At most this many.")] = 50,
    address: AddressOption = DEFAULT_ADDRESS,
    api_key: ApiKeyOption = "",
    timeout: TimeoutOption = CALL_TIMEOUT_S,
    output: OutputOption = Format.TABLE,
) -> None:
    """Lists payments, newest first."""
    from kessai.payments.v1 import payments_pb2 as pb  # noqa: PLC0415 - slow

    from coordinator.cli.show import payments_view, record  # noqa: PLC0415 - slow

    start, end = parse_time("--from", created_from), parse_time("--to", created_to)
    request = sendable(
        lambda: pb.ListPaymentsRequest(
            states=[f"PAYMENT_STATE_{name}" for name in state or ()],
            order_id=order,
            customer_id=customer,
            merchant_id=merchant,
            create_time_from=start,
            create_time_to=end,
        )
    )
    with client(address, api_key, timeout) as at:
        payments = at.search(request, limit)
    emit_all(output, map(record, payments), lambda: payments_view(payments, data().width))
    if output is Format.TABLE and len(payments) == limit:
        say(f"there may be more: the list ends after {limit}; see --limit")


@command(
    app,
    "kessai payments watch 019aa5f0-6c1e-7c1a-9d57-1d1b0f2a6c11",
    "kessai payments watch 019aa5f0-6c1e-7c1a-9d57-1d1b0f2a6c11 --output jsonl",
    failed="the payment FAILED; the reason is shown",
    unreachable="",
    refused="",
    unsettled="the time was over, or the server ended the watch, before the payment was settled",
)
def watch(
    *,
    payment_id: PaymentArgument,
    address: AddressOption = DEFAULT_ADDRESS,
    api_key: ApiKeyOption = "",
    timeout: TimeoutOption = WATCH_TIMEOUT_S,
    output: OutputOption = Format.TABLE,
) -> None:
    """Prints a payment as it stands and after every change, until it is settled."""
    from coordinator.cli.show import change_line, record, state_name  # noqa: PLC0415 - slow

    seen: list[pb.Payment] = []
    with client(address, api_key, timeout) as at, up_to_the_deadline(seen):
        for payment in at.watch(payment_id):
            seen.append(payment)
            if output is Format.TABLE:
                data().print(change_line(payment), soft_wrap=True)
            elif output is Format.JSONL:
                emit(output, record(payment), str)
    if output is Format.JSON:
        emit_all(output, map(record, seen), str)
    end_by(state_name(seen[-1]) if seen else "", "payments", payment_id)


@command(
    app,
    "kessai payments journal 019aa5f0-6c1e-7c1a-9d57-1d1b0f2a6c11",
    "kessai payments journal 019aa5f0-6c1e-7c1a-9d57-1d1b0f2a6c11 --output jsonl",
    unreachable="",
    refused="refused by the server, for instance because there is no such payment",
)
def journal(
    *,
    payment_id: PaymentArgument,
    address: AddressOption = DEFAULT_ADDRESS,
    api_key: ApiKeyOption = "",
    timeout: TimeoutOption = CALL_TIMEOUT_S,
    output: OutputOption = Format.TABLE,
) -> None:
    """Shows everything that happened to a payment or a refund, oldest first."""
    from coordinator.cli.show import journal_view, record  # noqa: PLC0415 - slow

    with client(address, api_key, timeout) as at:
        entries = at.journal(payment_id)
    emit_all(output, map(record, entries), lambda: journal_view(entries))
