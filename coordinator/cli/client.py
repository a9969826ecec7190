"""Calls of PaymentService over one synchronous channel, with the caller's key and a deadline.

Everything the server or the network can answer comes out as a `Failure`: one place says which exit
code it is and what to do about it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from kessai.payments.v1 import payments_pb2 as pb
from kessai.payments.v1 import payments_pb2_grpc

from coordinator.cli.failures import ExitCode, Failure, FieldAtFault
from coordinator.cli.invocation import this_command

_ADDRESS = re.compile(r"(\[[0-9a-fA-F:]+\]|[A-Za-z0-9_.-]+):[0-9]{1,5}")
PAGE_SIZE = 500


class Client:
    """One caller's view of PaymentService. Use as a context manager.

    Every method raises Failure; `timeout_s` bounds each call.
    """

    def __init__(self, address: str, api_key: str, timeout_s: float) -> None:
        if not _ADDRESS.fullmatch(address):
            raise Failure("--address must be HOST:PORT", ExitCode.USAGE)
        if not api_key.isascii() or not api_key.isprintable():
            raise Failure("--api-key must be printable ASCII", ExitCode.USAGE)
        self._address = address
        self._metadata = (("authorization", f"Bearer {api_key}"),) if api_key else ()
        self._timeout_s = timeout_s
        # With a connection of its own: a shared one may just be waiting after an earlier client's
        # failure, and would refuse at once although the server is back.
        own = [("grpc.use_local_subchannel_pool", 1)]
        self._channel = grpc.insecure_channel(address, options=own)
        self._stub = payments_pb2_grpc.PaymentServiceStub(self._channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._channel.close()

    def create(self, request: pb.CreatePaymentRequest) -> pb.CreatePaymentResponse:
        """Creates a payment, or finds the one the key made before."""
        answer: pb.CreatePaymentResponse = self._call(self._stub.CreatePayment, request)
        return answer

    def get(self, payment_id: str) -> pb.Payment:
        """One payment."""
        answer = self._call(self._stub.GetPayment, pb.GetPaymentRequest(payment_id=payment_id))
        return _payment(answer)

    def capture(self, request: pb.CapturePaymentRequest) -> pb.CapturePaymentResponse:
        """Takes a reserved payment, or finds that the key did before."""
        answer: pb.CapturePaymentResponse = self._call(self._stub.CapturePayment, request)
        return answer

    def cancel(self, payment_id: str, reason: str) -> pb.Payment:
        """Cancels a payment that is not decided yet."""
        request = pb.CancelPaymentRequest(payment_id=payment_id, reason=reason)
        return _payment(self._call(self._stub.CancelPayment, request))

    def search(self, request: pb.ListPaymentsRequest, limit: int) -> list[pb.Payment]:
        """Up to `limit` payments, newest first, over as many pages as it takes."""
        payments: list[pb.Payment] = []
        while len(payments) < limit:
            request.page_size = min(PAGE_SIZE, limit - len(payments))
            page = self._call(self._stub.ListPayments, request)
            payments.extend(page.payments)
            if not page.next_page_token:
                break
            request.page_token = page.next_page_token
        return payments

    def journal(self, payment_id: str) -> list[pb.JournalEntry]:
        """A payment's or a refund's whole journal, oldest first."""
        request = pb.ListJournalRequest(payment_id=payment_id, page_size=PAGE_SIZE)
        entries: list[pb.JournalEntry] = []
        while True:
            page = self._call(self._stub.ListJournal, request)
            entries.extend(page.entries)
            if not page.next_page_token:
                return entries
            request.page_token = page.next_page_token

    def watch(self, payment_id: str) -> Iterator[pb.Payment]:
        """The payment as it stands, then after every change, until it is settled."""
        request = pb.WatchPaymentRequest(payment_id=payment_id)
        for answer in self._follow(self._stub.WatchPayment, request):
            yield _payment(answer)

    def refund(self, request: pb.CreateRefundRequest) -> pb.CreateRefundResponse:
        """Opens a refund, or finds the one the key made before."""
        answer: pb.CreateRefundResponse = self._call(self._stub.CreateRefund, request)
        return answer

    def get_refund(self, refund_id: str) -> pb.Refund:
        """One refund."""
        answer = self._call(self._stub.GetRefund, pb.GetRefundRequest(refund_id=refund_id))
        return _refund(answer)

    def refunds(self, payment_id: str) -> list[pb.Refund]:
        """All refunds of a payment, oldest first, over as many pages as it takes."""
        request = pb.ListRefundsRequest(payment_id=payment_id, page_size=PAGE_SIZE)
        refunds: list[pb.Refund] = []
        while True:
            page = self._call(self._stub.ListRefunds, request)
            refunds.extend(page.refunds)
            if not page.next_page_token:
                return refunds
            request.page_token = page.next_page_token

    def watch_refund(self, refund_id: str) -> Iterator[pb.Refund]:
        """The refund as it stands, then after every change, until it is settled."""
        request = pb.WatchRefundRequest(refund_id=refund_id)
        for answer in self._follow(self._stub.WatchRefund, request):
            yield _refund(answer)

    def _follow(self, method: Any, request: Any) -> Iterator[Any]:
        with self._translated():
            yield from method(request, timeout=self._timeout_s, metadata=self._metadata)

    def _call(self, method: Any, request: Any) -> Any:
        with self._translated():
            return method(request, timeout=self._timeout_s, metadata=self._metadata)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except grpc.RpcError as error:
            raise failure_of(error, self._address) from None


def _payment(answer: Any) -> pb.Payment:
    payment: pb.Payment = answer.payment
    return payment


def _refund(answer: Any) -> pb.Refund:
    refund: pb.Refund = answer.refund
    return refund


def failure_of(error: grpc.RpcError, address: str) -> Failure:
    """What a gRPC error means for the person at the terminal."""
    status = _status(error)
    info = error_details_pb2.ErrorInfo()
    request = error_details_pb2.BadRequest()
    retry = error_details_pb2.RetryInfo()
    for detail in status.details if status is not None else ():
        for kind in (info, request, retry):
            if detail.Is(kind.DESCRIPTOR):
                detail.Unpack(kind)
    code = error.code()
    if not info.reason and code in {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
    }:
        return _no_answer(code, error.details() or "", address)
    fields = [
        FieldAtFault(item.field, item.reason, item.description) for item in request.field_violations
    ]
    message = error.details() or code.name
    if fields:
        message = "the request cannot be used; nothing was changed"
    exit_code = ExitCode.USAGE if info.reason == "INVALID_REQUEST" else ExitCode.REFUSED
    return Failure(message, exit_code, info.reason or code.name, _hint(code, retry), fields)


def _status(error: Any) -> Any:
    try:
        return rpc_status.from_call(error)
    except ValueError:  # the details contradict the code: not one of our servers
        return None


def _no_answer(code: grpc.StatusCode, details: str, address: str) -> Failure:
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return Failure(
            f"{address} did not answer in time; what became of the request is not known",
            ExitCode.UNREACHABLE,
            code.name,
            f"ask with `{this_command()} payments get` or `list`, "
            "or repeat the call with the same --key",
        )
    return Failure(
        f"cannot reach {address}: {details.rpartition(': ')[2]}",
        ExitCode.UNREACHABLE,
        code.name,
        f"is `{this_command()} up` or `{this_command()} serve` running? "
        "Another address: --address or KESSAI_ADDRESS",
    )


def _hint(code: grpc.StatusCode, retry: error_details_pb2.RetryInfo) -> str:
    if code is grpc.StatusCode.UNAUTHENTICATED:
        return f"give the key with KESSAI_API_KEY or --api-key; `{this_command()} up` prints one"
    if retry.HasField("retry_delay"):
        delay_s = retry.retry_delay.ToTimedelta().total_seconds()
        return f"repeat it in {delay_s:g} s with the same --key"
    return ""
