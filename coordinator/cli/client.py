"""Calls of PaymentService over one synchronous channel, with the caller's key and a deadline."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kessai.payments.v1 import payments_pb2 as pb
from kessai.payments.v1 import payments_pb2_grpc

from coordinator.cli.calls import Calls, Service
from coordinator.cli.invocation import this_command

PAGE_SIZE = 500


def _service() -> Service:
    run = this_command()
    return Service(
        address_flag="--address",
        address_variable="KESSAI_ADDRESS",
        key_flag="--api-key",
        away=f"is `{run} up` or `{run} serve` running?",
        silent=f"ask with `{run} payments get` or `list`, or repeat the call with the same --key",
        unknown_key=f"give the key with KESSAI_API_KEY or --api-key; `{run} up` prints one",
        elsewhere="is that the address of PaymentService? KESSAI_LISTEN of the server",
        repeat="with the same --key",
    )


class Client(Calls):
    """One caller's view of PaymentService. Use as a context manager.

    Every method raises Failure; `timeout_s` bounds each call.
    """

    def __init__(self, address: str, api_key: str, timeout_s: float) -> None:
        super().__init__(address, api_key, timeout_s, _service())
        self._stub = payments_pb2_grpc.PaymentServiceStub(self._channel)

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


def _payment(answer: Any) -> pb.Payment:
    payment: pb.Payment = answer.payment
    return payment


def _refund(answer: Any) -> pb.Refund:
    refund: pb.Refund = answer.refund
    return refund
