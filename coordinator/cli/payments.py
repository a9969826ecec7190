"""`kessai payments …`: what a caller can do with payments, from a shell. `reading` has the rest.

Heavy modules (gRPC, protobuf) are imported inside the commands, so that `--help` is quick.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from coordinator.cli.failures import ExitCode
from coordinator.cli.helps import command, epilog
from coordinator.cli.options import (
    CALL_TIMEOUT_S,
    DEFAULT_ADDRESS,
    AddressOption,
    ApiKeyOption,
    KeyOption,
    PartOption,
    PaymentArgument,
    SplitOption,
    TimeoutOption,
    parse_duration,
    parse_pairs,
    parse_tender,
)
from coordinator.cli.output import Format, OutputOption, emit, say
from coordinator.cli.requests import (
    client,
    end_by,
    keyed,
    money,
    part_of,
    say_what_it_waits_for,
    sendable,
)
from coordinator.cli.splits import PRO_RATA, parse_split
from coordinator.domain.phase import Role
from phases.flows import FLOW_ROWS
from phases.registry import PHASES

if TYPE_CHECKING:
    from kessai.payments.v1 import payments_pb2 as pb

METHODS = tuple(phase.name for phase in PHASES.values() if phase.role is Role.TAKES)

app = typer.Typer(
    name="payments",
    help="Create, capture, cancel, read and follow payments.",
    no_args_is_help=True,
    epilog=epilog("kessai payments list --state PAID", "kessai payments create --help"),
)


class OnOrderConflict(StrEnum):
    """What to do when the order already has a payment."""

    REJECT = "reject"
    CANCEL_PREVIOUS = "cancel-previous"


class CaptureName(StrEnum):
    """When a reserved payment is taken."""

    AUTOMATIC = "automatic"
    MANUAL = "manual"


_TenderOption = Annotated[
    list[str],
    typer.Option(
        metavar="METHOD:SOURCE:AMOUNT",
        help="One source of the money, the amount in minor units; once for each. "
        f"Methods: {', '.join(METHODS)}. Sources: a wallet, a card's token.",
    ),
]
_CaptureOption = Annotated[
    CaptureName,
    typer.Option(help="Whether it is taken at once, or when `kessai payments capture` says so."),
]
_ReserveForOption = Annotated[
    str | None,
    typer.Option(
        metavar="DURATION",
        help="How long a reservation lasts at most, such as 90s, 15m or 2h. Default: the flow's.",
        show_default=False,
    ),
]
_ItemOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="PHASE=ID",
        help="What a phase keeps for the buyer besides money; once for each such phase.",
    ),
]


@command(
    app,
    "kessai payments create --flow points_and_card --amount 1000 --currency JPY \\",
    "  --tender points_reserve:alice:600 --tender card_charge:tok_ok:400 \\",
    "  --merchant shop-1",
    "kessai payments create --flow points_only --amount 50 --currency JPY \\",
    "  --tender points_reserve:bob:50 --merchant shop-1 --key till-3-0001",
    "kessai payments create --flow points_only --amount 50 --currency JPY \\",
    "  --tender points_reserve:bob:50 --merchant shop-1 \\",
    "  --capture manual --reserve-for 15m",
    "kessai payments create --flow stock_points_and_card \\",
    "  --amount 900 --currency JPY \\",
    "  --tender points_reserve:alice:500 --tender card_charge:tok_ok:400 \\",
    "  --merchant shop-1 --item stock_reserve=lamp",
    ok="paid; with --capture manual: reserved",
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
    tender: _TenderOption,
    merchant: Annotated[str, typer.Option(help="The merchant to credit.")],
    order: Annotated[str, typer.Option(help="At most one payment of an order succeeds.")] = "",
    on_order_conflict: Annotated[
        OnOrderConflict, typer.Option(help="When the order already has a payment.")
    ] = OnOrderConflict.REJECT,
    customer: Annotated[str, typer.Option(help="Whom it is for, for searching.")] = "",
    capture: _CaptureOption = CaptureName.AUTOMATIC,
    reserve_for: _ReserveForOption = None,
    item: _ItemOption = None,
    key: KeyOption = None,
    address: AddressOption = DEFAULT_ADDRESS,
    api_key: ApiKeyOption = "",
    timeout: TimeoutOption = CALL_TIMEOUT_S,
    output: OutputOption = Format.TABLE,
) -> None:
    """Creates a payment and waits until it is settled or the time is nearly over.

    It also answers when somebody has to act: whoever captures it, or the customer at the URL that
    is shown.
    """
    from kessai.payments.v1 import payments_pb2 as pb  # noqa: PLC0415 - slow

    tenders = [parse_tender(text) for text in tender]
    items = parse_pairs("--item", item, "PHASE=ID") or {}
    lasting = parse_duration("--reserve-for", reserve_for)
    with keyed(key, output) as used:
        request = sendable(
            lambda: pb.CreatePaymentRequest(
                idempotency_key=used,
                flow=flow,
                amount=money(currency, amount),
                tenders=[
                    pb.Tender(method=method, source=source, amount=money(currency, part))
                    for method, source, part in tenders
                ],
                merchant_id=merchant,
                order_id=order,
                order_conflict=_order_conflict(on_order_conflict),
                customer_id=customer,
                capture=_capture_mode(capture),
                reserve_for=lasting,
                items=[pb.Item(phase=phase, item_id=its_id) for phase, its_id in items.items()],
            )
        )
        with client(address, api_key, timeout) as at:
            answer = at.create(request)
    _show(answer, output)


@command(
    app,
    "kessai payments capture 019aa5f0-6c1e-7c1a-9d57-1d1b0f2a6c11",
    "kessai payments capture 019aa5f0-6c1e-7c1a-9d57-1d1b0f2a6c11 --amount 700 \\",
    "  --split order:points_reserve --key bill-7",
    "kessai payments capture 019aa5f0-6c1e-7c1a-9d57-1d1b0f2a6c11 \\",
    "  --split exact:points_reserve=300,card_charge=400",
    ok="paid",
    failed="the card refused after all, and everything was released; the reason is shown",
    unreachable="",
    refused="refused by the server, for instance because the reservation is over",
    unsettled="decided; follow it with `kessai payments watch`",
)
def capture(
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
    """Takes a payment that is reserved, all of it or a part; the rest is given back.

    A payment is captured once.
    """
    from kessai.payments.v1 import payments_pb2 as pb  # noqa: PLC0415 - slow

    wanted = parse_split(split)
    with keyed(key, output) as used, client(address, api_key, timeout) as at:
        part = part_of(at, payment_id, amount, wanted)
        request = sendable(
            lambda: pb.CapturePaymentRequest(
                payment_id=payment_id, idempotency_key=used, amount=part.amount, split=part.split
            )
        )
        answer = at.capture(request)
    _show(answer, output)


def _show(answer: pb.CreatePaymentResponse | pb.CapturePaymentResponse, output: Format) -> None:
    """Prints the payment, and ends the command by its state."""
    from coordinator.cli.show import payment_view, record, state_name  # noqa: PLC0415 - slow

    payment = answer.payment
    if answer.replayed:
        say("this key was used before with the same body: nothing new was done")
    emit(output, record(payment), lambda: payment_view(payment))
    if not say_what_it_waits_for(payment):
        end_by(state_name(payment), "payments", payment.payment_id)


@command(
    app,
    "kessai payments cancel 019aa5f0-6c1e-7c1a-9d57-1d1b0f2a6c11 \\",
    "  --reason 'customer left'",
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

    with client(address, api_key, timeout) as at:
        payment = at.cancel(payment_id, reason)
    emit(output, show.record(payment), lambda: show.payment_view(payment))
    if show.state_name(payment) not in show.SETTLED:
        raise typer.Exit(ExitCode.UNSETTLED)


def _order_conflict(choice: OnOrderConflict) -> pb.OrderConflict:
    from kessai.payments.v1 import payments_pb2  # noqa: PLC0415 - slow

    match choice:
        case OnOrderConflict.REJECT:
            return payments_pb2.ORDER_CONFLICT_REJECT
        case OnOrderConflict.CANCEL_PREVIOUS:
            return payments_pb2.ORDER_CONFLICT_CANCEL_PREVIOUS


def _capture_mode(name: CaptureName) -> pb.CaptureMode:
    """The ordinary way stays unset: it is the same, and the body that it always was."""
    from kessai.payments.v1 import payments_pb2  # noqa: PLC0415 - slow

    match name:
        case CaptureName.AUTOMATIC:
            return payments_pb2.CAPTURE_MODE_UNSPECIFIED
        case CaptureName.MANUAL:
            return payments_pb2.CAPTURE_MODE_MANUAL
