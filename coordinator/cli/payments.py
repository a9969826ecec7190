"""`kessai payments …`: what a caller can do with payments, from a shell.

Heavy modules (gRPC, protobuf) are imported inside the commands, so that `--help` is quick.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from coordinator.cli.failures import ExitCode, Failure
from coordinator.cli.helps import command, epilog
from coordinator.cli.invocation import this_command
from coordinator.cli.options import (
    CALL_TIMEOUT_S,
    DEFAULT_ADDRESS,
    WATCH_TIMEOUT_S,
    AddressOption,
    ApiKeyOption,
    PaymentArgument,
    TimeoutOption,
    parse_tender,
    parse_time,
)
from coordinator.cli.output import Format, OutputOption, data, emit, emit_all, say
from coordinator.domain.phase import Role
from phases.flows import FLOW_ROWS
from phases.registry import PHASES

if TYPE_CHECKING:
    from kessai.payments.v1 import payments_pb2 as pb

    from coordinator.cli.client import Client

Request = TypeVar("Request")
METHODS = tuple(phase.name for phase in PHASES.values() if phase.role is Role.TAKES)

app = typer.Typer(
    name="payments",
    help="Create, read, follow and cancel payments.",
    no_args_is_help=True,
    epilog=epilog("kessai payments list --state PAID", "kessai payments create --help"),
)


class OnOrderConflict(StrEnum):
    """What to do when the order already has a payment."""

    REJECT = "reject"
    CANCEL_PREVIOUS = "cancel-previous"


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


def _client(address: str, api_key: str, timeout_s: float) -> Client:
    from coordinator.cli.client import Client  # noqa: PLC0415 - gRPC is slow to import

    return Client(address, api_key, timeout_s)


@command(
    app,
    "kessai payments create --flow points_and_card --amount 1000 --currency JPY \\",
    "  --tender points_reserve:alice:600 --tender card_charge:tok_ok:400 \\",
    "  --merchant shop-1",
    "kessai payments create --flow points_only --amount 50 --currency JPY \\",
    "  --tender points_reserve:bob:50 --merchant shop-1 --key till-3-0001",
    failed="the payment FAILED; the reason is shown",
    unreachable="",
    refused="",
    unsettled="accepted; follow it with `kessai payments watch`",
)
def create(
    *,
    flow: Annotated[
        str,
        typer.Option(help=f"The flow: {', '.join(row.name for row in FLOW_ROWS)}."),
    ],
    amount: Annotated[
        int, typer.Option(help="The whole amount in minor units: 400 is 400 JPY, or 4.00 USD.")
    ],
    currency: Annotated[str, typer.Option(help="ISO 4217 code, such as JPY.")],
    tender: Annotated[
        list[str],
        typer.Option(
            metavar="METHOD:SOURCE:AMOUNT",
            help="One source of the money, the amount in minor units; once for each. "
            f"Methods: {', '.join(METHODS)}. Sources: a wallet, a card's token.",
        ),
    ],
    merchant: Annotated[str, typer.Option(help="The merchant to credit.")],
    order: Annotated[str, typer.Option(help="At most one payment of an order succeeds.")] = "",
    on_order_conflict: Annotated[
        OnOrderConflict, typer.Option(help="When the order already has a payment.")
    ] = OnOrderConflict.REJECT,
    customer: Annotated[str, typer.Option(help="Whom it is for, for searching.")] = "",
    key: Annotated[
        str | None,
        typer.Option(
            help="Idempotency key: the same key and body give the same payment. "
            "Without one, a fresh one is made and shown.",
            show_default=False,
        ),
    ] = None,
    address: AddressOption = DEFAULT_ADDRESS,
    api_key: ApiKeyOption = "",
    timeout: TimeoutOption = CALL_TIMEOUT_S,
    output: OutputOption = Format.TABLE,
) -> None:
    """Creates a payment and waits until it is settled or the time is nearly over."""
    from kessai.payments.v1 import payments_pb2 as pb  # noqa: PLC0415 - slow

    from coordinator.cli.show import payment_view, record, state_name  # noqa: PLC0415 - slow

    tenders = [parse_tender(text) for text in tender]
    used = _key(key, output)
    request = _sendable(
        lambda: pb.CreatePaymentRequest(
            idempotency_key=used,
            flow=flow,
            amount=_money(currency, amount),
            tenders=[
                pb.Tender(method=method, source=source, amount=_money(currency, part))
                for method, source, part in tenders
            ],
            merchant_id=merchant,
            order_id=order,
            order_conflict=_order_conflict(on_order_conflict),
            customer_id=customer,
        )
    )
    try:
        with _client(address, api_key, timeout) as client:
            answer = client.create(request)
    except Failure as failure:
        failure.key = used
        raise
    payment = answer.payment
    if answer.replayed:
        say("this key was used before with the same body: nothing new was created")
    emit(output, record(payment), lambda: payment_view(payment))
    _end_by(state_name(payment), payment.payment_id)


def _key(given: str | None, form: Format) -> str:
    """The key that was given, or one nobody used. Raises BadParameter for an empty one.

    Programs find a fresh one in the payment or in the error; people are told here.
    """
    if given is not None:
        if not given:
            raise typer.BadParameter("must not be empty", param_hint="--key")
        return given
    from adapters.system import SystemIds  # noqa: PLC0415 - only this command needs it

    key = f"cli-{SystemIds().transaction_id()}"
    if form is Format.TABLE:
        say(f"key: {key} (to repeat this call safely, add --key {key})")
    return key


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

    with _client(address, api_key, timeout) as client:
        payment = client.get(payment_id)
    emit(output, record(payment), lambda: payment_view(payment))


@command(
    app,
    "kessai payments list --state FAILED --state CANCELLING --limit 20",
    "kessai payments list --merchant shop-1 --from 2026-11-21 --to 2026-11-22 -o jsonl",
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
    request = _sendable(
        lambda: pb.ListPaymentsRequest(
            states=[f"PAYMENT_STATE_{name}" for name in state or ()],
            order_id=order,
            customer_id=customer,
            merchant_id=merchant,
            create_time_from=start,
            create_time_to=end,
        )
    )
    with _client(address, api_key, timeout) as client:
        payments = client.search(request, limit)
    emit_all(output, map(record, payments), lambda: payments_view(payments, data().width))
    if output is Format.TABLE and len(payments) == limit:
        say(f"there may be more than these {limit}; see --limit")


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
    with _client(address, api_key, timeout) as client, _up_to_the_deadline(seen):
        for payment in client.watch(payment_id):
            seen.append(payment)
            if output is Format.TABLE:
                data().print(change_line(payment), soft_wrap=True)
            elif output is Format.JSONL:
                emit(output, record(payment), str)
    if output is Format.JSON:
        emit_all(output, map(record, seen), str)
    _end_by(state_name(seen[-1]) if seen else "", payment_id)


@contextmanager
def _up_to_the_deadline(seen: Sequence[pb.Payment]) -> Iterator[None]:
    """The deadline is how a watch ends that saw a payment and no end of it."""
    try:
        yield
    except Failure as failure:
        if not seen or failure.code != "DEADLINE_EXCEEDED":
            raise


@command(
    app,
    "kessai payments cancel 019aa5f0-6c1e-7c1a-9d57-1d1b0f2a6c11 --reason 'customer left'",
    unreachable="",
    refused="refused by the server, for instance because it is decided already",
    unsettled="being cancelled; follow it with `kessai payments watch`",
)
def cancel(
    *,
    payment_id: PaymentArgument,
    reason: Annotated[str, typer.Option(help="One line for the record.")] = "",
    address: AddressOption = DEFAULT_ADDRESS,
    api_key: ApiKeyOption = "",
    timeout: TimeoutOption = CALL_TIMEOUT_S,
    output: OutputOption = Format.TABLE,
) -> None:
    """Cancels a payment that is not decided yet, and waits until everything is released."""
    from coordinator.cli import show  # noqa: PLC0415 - slow

    with _client(address, api_key, timeout) as client:
        payment = client.cancel(payment_id, reason)
    emit(output, show.record(payment), lambda: show.payment_view(payment))
    if show.state_name(payment) not in show.SETTLED:
        raise typer.Exit(ExitCode.UNSETTLED)


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
    """Shows everything that happened to a payment, oldest first."""
    from coordinator.cli.show import journal_view, record  # noqa: PLC0415 - slow

    with _client(address, api_key, timeout) as client:
        entries = client.journal(payment_id)
    emit_all(output, map(record, entries), lambda: journal_view(entries))


def _order_conflict(choice: OnOrderConflict) -> pb.OrderConflict:
    from kessai.payments.v1 import payments_pb2  # noqa: PLC0415 - slow

    match choice:
        case OnOrderConflict.REJECT:
            return payments_pb2.ORDER_CONFLICT_REJECT
        case OnOrderConflict.CANCEL_PREVIOUS:
            return payments_pb2.ORDER_CONFLICT_CANCEL_PREVIOUS


def _money(currency: str, minor: int) -> pb.Money:
    from kessai.payments.v1 import payments_pb2  # noqa: PLC0415 - slow

    return payments_pb2.Money(currency_code=currency, minor_units=minor)


def _sendable(make: Callable[[], Request]) -> Request:
    """The request. Raises Failure where protobuf cannot carry a value."""
    try:
        return make()
    except ValueError:  # its message repeats the value
        raise Failure(
            "a value cannot be sent: numbers must fit 64 bits, and text must be Unicode",
            ExitCode.USAGE,
        ) from None


def _end_by(state: str, payment_id: str) -> None:
    """Ends the command by the payment's state."""
    if state == "FAILED":
        raise typer.Exit(ExitCode.FAILED)
    if state not in {"PAID", "REFUNDED"}:
        follow = f"{this_command()} payments watch {payment_id}"
        say(f"still {state or 'unknown'}; follow it with: {follow}")
        raise typer.Exit(ExitCode.UNSETTLED)
