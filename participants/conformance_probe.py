"""How the conformance kit asks: plain gRPC, with the answer's bytes as they came over the wire."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import grpc
from google.protobuf.message import DecodeError, Message
from kessai.participant.v1 import participant_pb2 as pb

from participants import world

SERVICE = pb.DESCRIPTOR.services_by_name["ParticipantService"].full_name

RESPONSES: dict[str, type[Message]] = {
    "Try": pb.TryResponse,
    "Confirm": pb.ConfirmResponse,
    "Cancel": pb.CancelResponse,
    "Query": pb.QueryResponse,
}


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """What the kit works with.

    account          an account whose Trys are answered HELD, good for some 80 times the amount; a
                     few of the payments are confirmed for good, others refunded
    currency_code    ISO 4217
    amount_minor     of every payment, in minor units
    other_account    another name than `account`; it need not exist
    refused_account  an account whose Trys are refused; without it the rules about refusals stay
                     unchecked
    scarce_account   an account with exactly twice the amount, which nobody else uses; with it the
                     kit sees whether a repeat holds or gives back twice, and whether a Confirm of
                     less and a refund move what they say. It is left with what it had, unless the
                     service cannot refund
    phase            the phase's name
    timeout_s        how long one answer may take, in seconds
    parallel         how many identical requests are sent at once
    """

    account: str
    currency_code: str = "JPY"
    amount_minor: int = 100
    other_account: str = "conformance-other-account"
    refused_account: str | None = None
    scarce_account: str | None = None
    phase: str = "conformance"
    timeout_s: float = 5.0
    parallel: int = 20


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back: an answer with its bytes, or a gRPC error."""

    operation: str
    raw: bytes = b""
    answer: pb.Answer = field(default_factory=pb.Answer)
    code: grpc.StatusCode = grpc.StatusCode.OK
    details: str = ""

    @property
    def text(self) -> str:
        """For people: `HELD`, `REFUSED (CARD_DECLINED)`, `UNAVAILABLE (…)`."""
        if self.code is not grpc.StatusCode.OK:
            return f"{self.code.name} ({self.details})"
        status = self.answer.status
        known = status in pb.Status.values()
        name = pb.Status.Name(status).removeprefix("STATUS_") if known else f"status {status}"
        return f"{name} ({self.answer.refusal.code})" if self.answer.refusal.code else name


class Garbled(Exception):
    """An answer that is not the message it must be."""


Send: TypeAlias = Callable[[], Any]
"""Sends a request and returns its future."""


class Probe:
    """Asks one participant and remembers what has to be cancelled afterwards."""

    def __init__(self, channel: grpc.Channel, options: CheckOptions) -> None:
        self.options = options
        self.channel = channel
        self._open: set[tuple[str, str]] = set()

    def money(self, amount_minor: int | None = None, currency_code: str | None = None) -> pb.Money:
        """The options' amount, or another."""
        return pb.Money(
            currency_code=currency_code or self.options.currency_code,
            minor_units=self.options.amount_minor if amount_minor is None else amount_minor,
        )

    def try_request(self, transaction_id: str, **changes: Any) -> pb.TryRequest:
        """A Try of the options' account; `changes` are fields of the request."""
        fields: dict[str, Any] = {
            "transaction_id": transaction_id,
            "phase": self.options.phase,
            "amount": self.money(),
            "account": self.options.account,
        }
        request = pb.TryRequest(**(fields | changes))
        request.hold_until.FromDatetime(world.now())
        request.hold_until.seconds += 600
        return request

    def try_(self, transaction_id: str, **changes: Any) -> Reply:
        """Sends a Try."""
        return self.ask("Try", self.try_request(transaction_id, **changes))

    def confirm(self, transaction_id: str, **changes: Any) -> Reply:
        """Sends a Confirm of the options' amount."""
        return self.ask("Confirm", self.confirm_request(transaction_id, **changes))

    def confirm_request(self, transaction_id: str, **changes: Any) -> pb.ConfirmRequest:
        """A Confirm of the options' amount."""
        fields: dict[str, Any] = {
            "transaction_id": transaction_id,
            "phase": self.options.phase,
            "amount": self.money(),
        }
        return pb.ConfirmRequest(**(fields | changes))

    def cancel(self, transaction_id: str, **changes: Any) -> Reply:
        """Sends a Cancel."""
        return self.ask("Cancel", self.cancel_request(transaction_id, **changes))

    def cancel_request(self, transaction_id: str, **changes: Any) -> pb.CancelRequest:
        """A Cancel."""
        fields = {"transaction_id": transaction_id, "phase": self.options.phase}
        return pb.CancelRequest(**(fields | changes))

    def refund(self, transaction_id: str, original: str, amount_minor: int, **names: Any) -> Reply:
        """Sends a Try that gives so much of the `original` transaction's step back."""
        return self.ask("Try", self.refund_request(transaction_id, original, amount_minor, **names))

    def refund_request(
        self, transaction_id: str, original: str, amount_minor: int, **changes: Any
    ) -> pb.TryRequest:
        """A Try that gives back, without an account."""
        fields: dict[str, Any] = {
            "amount": self.money(amount_minor),
            "account": "",
            "refund_of": pb.OriginalStep(transaction_id=original, phase=self.options.phase),
        }
        return self.try_request(transaction_id, **(fields | changes))

    def query(self, transaction_id: str, **changes: Any) -> Reply:
        """Sends a Query."""
        return self.ask("Query", self.query_request(transaction_id, **changes))

    def query_request(self, transaction_id: str, **changes: Any) -> pb.QueryRequest:
        """A Query."""
        fields = {"transaction_id": transaction_id, "phase": self.options.phase}
        return pb.QueryRequest(**(fields | changes))

    def ask(self, operation: str, request: Message) -> Reply:
        """Sends one request and waits for what comes back."""
        return self.ask_together((operation, request))[0]

    def ask_together(self, *asked: tuple[str, Message]) -> list[Reply]:
        """Sends all requests before the first answer is looked at."""
        sent = [
            (operation, request, self._send(operation, request)) for operation, request in asked
        ]
        return [self._receive(operation, request, future) for operation, request, future in sent]

    def list_page(self, request: pb.ListTransactionsRequest) -> pb.ListTransactionsResponse:
        """One page. Raises Garbled for anything that is none."""
        try:
            raw = self._send("ListTransactions", request).result()
            return pb.ListTransactionsResponse.FromString(raw)
        except grpc.RpcError as error:
            code, details = _failure(error)
            raise Garbled(f"ListTransactions answered {code.name} ({details})") from None
        except DecodeError:
            raise Garbled("ListTransactions answered something that is no page") from None

    def clean_up(self) -> None:
        """Cancels what the last check left held, as well as it goes."""
        for transaction_id, phase in sorted(self._open):
            self.ask("Cancel", pb.CancelRequest(transaction_id=transaction_id, phase=phase))
        self._open.clear()

    def _send(self, operation: str, request: Message) -> Any:
        # The bytes are left as they are: they are what is compared.
        call: Any = self.channel.unary_unary(
            f"/{SERVICE}/{operation}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=lambda raw: raw,
        )
        return call.future(request, timeout=self.options.timeout_s)

    def _receive(self, operation: str, request: Message, future: Any) -> Reply:
        try:
            raw = future.result()
            message = RESPONSES[operation].FromString(raw)
        except grpc.RpcError as error:
            code, details = _failure(error)
            return Reply(operation, code=code, details=details)
        except DecodeError:
            code = grpc.StatusCode.INTERNAL
            return Reply(operation, code=code, details=f"the answer is no {operation}Response")
        answer: pb.Answer = getattr(message, "answer")  # noqa: B009  every response has one
        key = (getattr(request, "transaction_id", ""), getattr(request, "phase", ""))
        if operation == "Try" and answer.status in {pb.STATUS_HELD, pb.STATUS_PENDING}:
            self._open.add(key)
        if answer.status in {pb.STATUS_CONFIRMED, pb.STATUS_CANCELLED}:
            self._open.discard(key)
        return Reply(operation, raw=raw, answer=answer)


def _failure(error: Any) -> tuple[grpc.StatusCode, str]:
    return error.code(), error.details() or ""
