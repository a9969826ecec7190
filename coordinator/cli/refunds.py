"""`kessai refunds …`: giving paid payments back, from a shell.

Heavy modules (gRPC, protobuf) are imported inside the commands, so that `--help` is quick.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from coordinator.cli.helps import command, epilog
from coordinator.cli.options import (
    CALL_TIMEOUT_S,
    DEFAULT_ADDRESS,
    WATCH_TIMEOUT_S,
    AddressOption,
    ApiKeyOption,
    KeyOption,
    PartOption,
    PaymentArgument,
    RefundArgument,
    SplitOption,
    TimeoutOption,
)
from coordinator.cli.output import Format, OutputOption, data, emit, emit_all, say
from coordinator.cli.requests import client, end_by, keyed, part_of, sendable, up_to_the_deadline
from coordinator.cli.splits import PRO_RATA, parse_split

if TYPE_CHECKING:
    from kessai.payments.v1 import payments_pb2 as pb

PAYMENT = "019aa5f0-6c1e-7c1a-9d57-1d1b0f2a6c11"
REFUND = "019aa5f1-02b4-7e31-8c44-5a3f2c9d7e02"

app = typer.Typer(
    name="refunds",
    help="Give paid payments back, whole or in part; read and follow refunds.",
    no_args_is_help=True,
    epilog=epilog(f"kessai refunds create {PAYMENT}", f"kessai refunds list {PAYMENT}"),
)


@command(
    app,
    f"kessai refunds create {PAYMENT}",
    f"kessai refunds create {PAYMENT} \\",
    "  --amount 150 --key return-7",
    f"kessai refunds create {PAYMENT} --amount 150 \\",
    "  --split order:card_charge,points_reserve",
    f"kessai refunds create {PAYMENT} \\",
    "  --split exact:points_reserve=100,card_charge=50",
    failed="the refund FAILED, and nothing was given back; the reason is shown",
    unreachable="",
    refused="refused by the server, for instance because it is more than is left",
    unsettled="accepted; follow it with `kessai refunds watch`",
)
def create(
    *,
    payment_id: PaymentArgument,
    amount: PartOption = None,
    split: SplitOption = PRO_RATA,
    key: KeyOption = None,
    address: AddressOption = DEFAULT_ADDRESS,
    api_key: ApiKeyOption = "",
    timeout: TimeoutOption = CALL_TIMEOUT_S,
    output: OutputOption = Format.TABLE,
) -> None:
    """Gives a paid payment back, all that is left of it or a part, and waits for the end."""
    from kessai.payments.v1 import payments_pb2 as pb  # noqa: PLC0415 - slow

    from coordinator.cli.show import record, refund_state, refund_view  # noqa: PLC0415 - slow

    wanted = parse_split(split)
    with keyed(key, output) as used, client(address, api_key, timeout) as at:
        part = part_of(at, payment_id, amount, wanted)
        request = sendable(
            lambda: pb.CreateRefundRequest(
                payment_id=payment_id, idempotency_key=used, amount=part.amount, split=part.split
            )
        )
        answer = at.refund(request)
    refund = answer.refund
    if answer.replayed:
        say("this key was used before with the same body: nothing new was done")
    emit(output, record(refund), lambda: refund_view(refund))
    end_by(refund_state(refund), "refunds", refund.refund_id)


@command(
    app,
    f"kessai refunds get {REFUND}",
    f"kessai refunds get {REFUND} --output json",
    unreachable="",
    refused="refused by the server, for instance because there is no such refund",
)
def get(
    *,
    refund_id: RefundArgument,
    address: AddressOption = DEFAULT_ADDRESS,
    api_key: ApiKeyOption = "",
    timeout: TimeoutOption = CALL_TIMEOUT_S,
    output: OutputOption = Format.TABLE,
) -> None:
    """Shows one refund as it stands."""
    from coordinator.cli.show import record, refund_view  # noqa: PLC0415 - slow

    with client(address, api_key, timeout) as at:
        refund = at.get_refund(refund_id)
    emit(output, record(refund), lambda: refund_view(refund))


@command(
    app,
    f"kessai refunds list {PAYMENT}",
    f"kessai refunds list {PAYMENT} --output jsonl",
    unreachable="",
    refused="refused by the server, for instance because there is no such payment",
    name="list",
)
def list_refunds(
    *,
    payment_id: PaymentArgument,
    address: AddressOption = DEFAULT_ADDRESS,
    api_key: ApiKeyOption = "",
    timeout: TimeoutOption = CALL_TIMEOUT_S,
    output: OutputOption = Format.TABLE,
) -> None:
    """Lists the refunds of one payment, oldest first."""
    from coordinator.cli.show import record, refunds_view  # noqa: PLC0415 - slow

    with client(address, api_key, timeout) as at:
        refunds = at.refunds(payment_id)
    emit_all(output, map(record, refunds), lambda: refunds_view(refunds, data().width))


@command(
    app,
    f"kessai refunds watch {REFUND}",
    f"kessai refunds watch {REFUND} --output jsonl",
    failed="the refund FAILED; the reason is shown",
    unreachable="",
    refused="",
    unsettled="the time was over, or the server ended the watch, before the refund was settled",
)
def watch(
    *,
    refund_id: RefundArgument,
    address: AddressOption = DEFAULT_ADDRESS,
    api_key: ApiKeyOption = "",
    timeout: TimeoutOption = WATCH_TIMEOUT_S,
    output: OutputOption = Format.TABLE,
) -> None:
    """Prints a refund as it stands and after every change, until it is settled."""
    from coordinator.cli.show import record, refund_line, refund_state  # noqa: PLC0415 - slow

    seen: list[pb.Refund] = []
    with client(address, api_key, timeout) as at, up_to_the_deadline(seen):
        for refund in at.watch_refund(refund_id):
            seen.append(refund)
            if output is Format.TABLE:
                data().print(refund_line(refund), soft_wrap=True)
            elif output is Format.JSONL:
                emit(output, record(refund), str)
    if output is Format.JSON:
        emit_all(output, map(record, seen), str)
    end_by(refund_state(seen[-1]) if seen else "", "refunds", refund_id)
