"""What commands that ask for something have in common: keys, amounts, and how they end.

gRPC and protobuf are imported inside the functions, so that `--help` is quick.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import typer

from coordinator.cli.failures import ExitCode, Failure
from coordinator.cli.invocation import this_command
from coordinator.cli.output import Format, plain, say
from coordinator.cli.splits import split_message
from coordinator.domain.split import Exact, Split

if TYPE_CHECKING:
    from kessai.payments.v1 import payments_pb2 as pb

    from coordinator.cli.client import Client

Request = TypeVar("Request")
DONE = frozenset({"PAID", "REFUNDED", "SUCCEEDED"})


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a payment as it is sent: all of it and pro rata unless it says more."""

    amount: pb.Money | None
    split: pb.Split | None


def client(address: str, api_key: str, timeout_s: float) -> Client:
    """PaymentService at this address. Raises Failure for an address or a key that cannot be."""
    from coordinator.cli.client import Client  # noqa: PLC0415 - gRPC is slow to import

    return Client(address, api_key, timeout_s)


def money(currency: str, minor: int) -> pb.Money:
    """An amount."""
    from kessai.payments.v1 import payments_pb2  # noqa: PLC0415 - slow

    return payments_pb2.Money(currency_code=currency, minor_units=minor)


def part_of(at: Client, payment_id: str, amount: int | None, split: Split) -> Part:
    """The part that is meant: its amounts are in the payment's currency, which is asked for."""
    exact = isinstance(split, Exact)
    if amount is None and not exact:
        return Part(None, split_message(split, ""))
    currency = at.get(payment_id).amount.currency_code
    return sendable(
        lambda: Part(
            None if amount is None else money(currency, amount), split_message(split, currency)
        )
    )


def sendable(make: Callable[[], Request]) -> Request:
    """The request. Raises Failure where protobuf cannot carry a value."""
    try:
        return make()
    except ValueError:  # its message repeats the value
        raise Failure(
            "a value cannot be sent: numbers must fit 64 bits, and text must be Unicode",
            ExitCode.USAGE,
        ) from None


@contextmanager
def keyed(given: str | None, form: Format) -> Iterator[str]:
    """The key that was given, or one nobody used; whatever fails meanwhile tells it.

    Raises BadParameter for an empty one. Programs find a fresh one in the answer or in the error;
    people are told here.
    """
    if given is None:
        from adapters.system import SystemIds  # noqa: PLC0415 - only a fresh key needs it

        key = f"cli-{SystemIds().transaction_id()}"
        if form is Format.TABLE:
            say(f"key: {key} (to repeat this call safely, add --key {key})")
    elif given:
        key = given
    else:
        raise typer.BadParameter("must not be empty", param_hint="--key")
    try:
        yield key
    except Failure as failure:
        failure.key = key
        raise


@contextmanager
def up_to_the_deadline(seen: Sequence[object]) -> Iterator[None]:
    """The deadline is how a watch ends that saw something and no end of it."""
    try:
        yield
    except Failure as failure:
        if not seen or failure.code != "DEADLINE_EXCEEDED":
            raise


def end_by(state: str, thing: str, its_id: str) -> None:
    """Ends the command by the state of a payment or refund; `thing` is its group of commands."""
    if state == "FAILED":
        raise typer.Exit(ExitCode.FAILED)
    if state not in DONE:
        say(f"still {state or 'unknown'}; follow it with: {this_command()} {thing} watch {its_id}")
        raise typer.Exit(ExitCode.UNSETTLED)


def say_what_it_waits_for(payment: pb.Payment) -> bool:
    """Tells whom a payment waits for: its customer, or whoever captures it.

    True for the latter, which is what was asked for, and not something to wait for here.
    """
    from coordinator.cli.show import next_actions, state_name  # noqa: PLC0415 - slow

    for step, action in next_actions(payment):
        say(plain(f"{step} waits for the customer ({action.kind}): {action.url}"))
    if state_name(payment) != "RESERVED" or not is_manual(payment):
        return False
    its_id, run = payment.payment_id, this_command()
    say(f"take it with: {run} payments capture {its_id}")
    say(f"give it back with: {run} payments cancel {its_id}")
    return True


def is_manual(payment: pb.Payment) -> bool:
    """Whether it waits, once reserved, to be captured."""
    from kessai.payments.v1 import payments_pb2  # noqa: PLC0415 - slow

    return payment.capture == payments_pb2.CAPTURE_MODE_MANUAL
