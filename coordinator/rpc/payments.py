"""PaymentService: each method parses, makes one engine call, and renders."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from contextlib import aclosing

from kessai.payments.v1 import payments_pb2 as pb
from kessai.payments.v1 import payments_pb2_grpc

from coordinator.domain.cards import has_card_number
from coordinator.domain.errors import InvalidRequest, NotFound, Violation
from coordinator.domain.ids import parse_transaction_id
from coordinator.domain.transaction import Failure, Transaction
from coordinator.engine.accept import Accept
from coordinator.engine.cancel import Cancel
from coordinator.engine.capture import CapturePayment
from coordinator.engine.refund import OpenRefund
from coordinator.engine.updates import Updates
from coordinator.ports import Store
from coordinator.rpc import mapping, parts
from coordinator.rpc.gate import Context, Gate, Unread


class PaymentServicer(payments_pb2_grpc.PaymentServiceServicer):
    """The service over the use cases."""

    def __init__(
        self,
        *,
        gate: Gate,
        accept: Accept,
        capture: CapturePayment,
        cancel: Cancel,
        refund: OpenRefund,
        store: Store,
        updates: Updates,
    ) -> None:
        self._gate = gate
        self._accept = accept
        self._capture = capture
        self._cancel = cancel
        self._refund = refund
        self._store = store
        self._updates = updates

    async def CreatePayment(
        self, request: Unread[pb.CreatePaymentRequest], context: Context
    ) -> pb.CreatePaymentResponse:
        """See payments.proto."""
        return await self._gate.unary(request, context, self._create)

    async def GetPayment(
        self, request: Unread[pb.GetPaymentRequest], context: Context
    ) -> pb.GetPaymentResponse:
        """See payments.proto."""
        return await self._gate.unary(request, context, self._get)

    async def ListPayments(
        self, request: Unread[pb.ListPaymentsRequest], context: Context
    ) -> pb.ListPaymentsResponse:
        """See payments.proto."""
        return await self._gate.unary(request, context, self._list)

    async def WatchPayment(
        self, request: Unread[pb.WatchPaymentRequest], context: Context
    ) -> AsyncIterator[pb.WatchPaymentResponse]:
        """See payments.proto."""
        async with aclosing(self._gate.stream(request, context, self._watch)) as responses:
            async for response in responses:
                yield response

    async def CancelPayment(
        self, request: Unread[pb.CancelPaymentRequest], context: Context
    ) -> pb.CancelPaymentResponse:
        """See payments.proto."""
        return await self._gate.unary(request, context, self._cancel_payment)

    async def CapturePayment(
        self, request: Unread[pb.CapturePaymentRequest], context: Context
    ) -> pb.CapturePaymentResponse:
        """See payments.proto."""
        return await self._gate.unary(request, context, self._capture_payment)

    async def CreateRefund(
        self, request: Unread[pb.CreateRefundRequest], context: Context
    ) -> pb.CreateRefundResponse:
        """See payments.proto."""
        return await self._gate.unary(request, context, self._create_refund)

    async def GetRefund(
        self, request: Unread[pb.GetRefundRequest], context: Context
    ) -> pb.GetRefundResponse:
        """See payments.proto."""
        return await self._gate.unary(request, context, self._get_refund)

    async def ListRefunds(
        self, request: Unread[pb.ListRefundsRequest], context: Context
    ) -> pb.ListRefundsResponse:
        """See payments.proto."""
        return await self._gate.unary(request, context, self._list_refunds)

    async def WatchRefund(
        self, request: Unread[pb.WatchRefundRequest], context: Context
    ) -> AsyncIterator[pb.WatchRefundResponse]:
        """See payments.proto."""
        async with aclosing(self._gate.stream(request, context, self._watch_refund)) as responses:
            async for response in responses:
                yield response

    async def ListJournal(
        self, request: Unread[pb.ListJournalRequest], context: Context
    ) -> pb.ListJournalResponse:
        """See payments.proto."""
        return await self._gate.unary(request, context, self._list_journal)

    async def _create(
        self, caller: str, request: pb.CreatePaymentRequest, context: Context
    ) -> pb.CreatePaymentResponse:
        wait_s = self._gate.wait_s(context)
        new = mapping.new_payment(caller, request)
        del request  # waiting for the payment's end takes long, and a message is large
        async with self._gate.in_time(context):
            accepted = await self._accept(new, wait_s)
        del new
        rested = await self._at_rest(accepted.transaction, context)
        return pb.CreatePaymentResponse(payment=mapping.payment(rested), replayed=accepted.replayed)

    async def _get(
        self, caller: str, request: pb.GetPaymentRequest, _context: Context
    ) -> pb.GetPaymentResponse:
        found = await self._owned(caller, request.payment_id)
        return pb.GetPaymentResponse(payment=mapping.payment(found))

    async def _list(
        self, caller: str, request: pb.ListPaymentsRequest, _context: Context
    ) -> pb.ListPaymentsResponse:
        query = mapping.payment_query(caller, request)
        page = await self._store.list_payments(query)
        more = len(page) == query.limit
        return pb.ListPaymentsResponse(
            payments=[mapping.payment(found) for found in page],
            next_page_token=mapping.page_token(request, page[-1]) if more else "",
        )

    async def _watch(
        self, caller: str, request: pb.WatchPaymentRequest, _context: Context
    ) -> AsyncGenerator[pb.WatchPaymentResponse]:
        found = await self._owned(caller, request.payment_id)
        async with aclosing(self._updates.follow(found)) as changes:
            async for change in changes:
                yield pb.WatchPaymentResponse(payment=mapping.payment(change))

    async def _capture_payment(
        self, caller: str, request: pb.CapturePaymentRequest, context: Context
    ) -> pb.CapturePaymentResponse:
        self._gate.wait_s(context)
        async with self._gate.in_time(context):
            accepted = await self._capture(parts.new_capture(caller, request))
        rested = await self._at_rest(accepted.transaction, context)
        return pb.CapturePaymentResponse(
            payment=mapping.payment(rested), replayed=accepted.replayed
        )

    async def _create_refund(
        self, caller: str, request: pb.CreateRefundRequest, context: Context
    ) -> pb.CreateRefundResponse:
        self._gate.wait_s(context)
        async with self._gate.in_time(context):
            accepted = await self._refund(parts.new_refund(caller, request))
        rested = await self._at_rest(accepted.transaction, context)
        return pb.CreateRefundResponse(refund=parts.refund(rested), replayed=accepted.replayed)

    async def _get_refund(
        self, caller: str, request: pb.GetRefundRequest, _context: Context
    ) -> pb.GetRefundResponse:
        found = await self._owned(caller, request.refund_id, refund=True)
        return pb.GetRefundResponse(refund=parts.refund(found))

    async def _list_refunds(
        self, caller: str, request: pb.ListRefundsRequest, _context: Context
    ) -> pb.ListRefundsResponse:
        payment = await self._owned(caller, request.payment_id)
        after, limit = parts.refunds_after(request), request.page_size or parts.DEFAULT_REFUNDS_PAGE
        refunds = [parts.refund(each) for each in await self._store.refunds_of(payment.id)]
        page = [each for each in refunds if each.ordinal > after][:limit]
        more = bool(page) and page[-1].ordinal < refunds[-1].ordinal
        return pb.ListRefundsResponse(
            refunds=page, next_page_token=str(page[-1].ordinal) if more else ""
        )

    async def _watch_refund(
        self, caller: str, request: pb.WatchRefundRequest, _context: Context
    ) -> AsyncGenerator[pb.WatchRefundResponse]:
        found = await self._owned(caller, request.refund_id, refund=True)
        async with aclosing(self._updates.follow(found)) as changes:
            async for change in changes:
                yield pb.WatchRefundResponse(refund=parts.refund(change))

    async def _cancel_payment(
        self, caller: str, request: pb.CancelPaymentRequest, context: Context
    ) -> pb.CancelPaymentResponse:
        self._gate.wait_s(context)
        if has_card_number(request.reason):
            text = "holds a card number; it belongs nowhere but with the card processor"
            raise InvalidRequest([Violation("reason", "CARD_NUMBER", text)])
        failure = Failure("CANCELLED_BY_CALLER", request.reason or "cancelled by the caller")
        payment_id = parse_transaction_id(request.payment_id)
        async with self._gate.in_time(context):
            cancelled = await self._cancel(caller, payment_id, failure)
        rested = await self._at_rest(cancelled, context)
        return pb.CancelPaymentResponse(payment=mapping.payment(rested))

    async def _list_journal(
        self, caller: str, request: pb.ListJournalRequest, _context: Context
    ) -> pb.ListJournalResponse:
        found = await self._owned(caller, request.payment_id, refund=None)
        limit = request.page_size or mapping.DEFAULT_JOURNAL_PAGE
        entries = await self._store.journal(found.id, mapping.journal_after(request), limit)
        more = len(entries) == limit
        return pb.ListJournalResponse(
            entries=mapping.journal_entries(entries),
            next_page_token=str(entries[-1].sequence) if more else "",
        )

    async def _owned(
        self, caller: str, transaction_id: str, *, refund: bool | None = False
    ) -> Transaction:
        """The caller's payment, or `refund` (None: either); what is not its own does not exist."""
        parsed = parse_transaction_id(transaction_id)
        found = await self._store.get(parsed)
        if found is None or found.caller != caller:
            raise NotFound(parsed)
        if refund is not None and refund != (found.refund_of is not None):
            raise NotFound(parsed)
        return found

    def _at_rest(self, transaction: Transaction, context: Context) -> Awaitable[Transaction]:
        return self._updates.at_rest(transaction, self._gate.left_s(context))
