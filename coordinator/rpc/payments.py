"""PaymentService: each method parses, makes one engine call, and renders."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from kessai.payments.v1 import payments_pb2 as pb
from kessai.payments.v1 import payments_pb2_grpc

from coordinator.domain.cards import has_card_number
from coordinator.domain.errors import InvalidRequest, NotFound, Violation
from coordinator.domain.ids import parse_transaction_id
from coordinator.domain.transaction import Failure, Transaction
from coordinator.engine.accept import Accept
from coordinator.engine.cancel import Cancel
from coordinator.engine.updates import Updates
from coordinator.ports import Store
from coordinator.rpc import mapping
from coordinator.rpc.gate import Context, Gate, Unread


class PaymentServicer(payments_pb2_grpc.PaymentServiceServicer):
    """The service over the use cases."""

    def __init__(
        self, *, gate: Gate, accept: Accept, cancel: Cancel, store: Store, updates: Updates
    ) -> None:
        self._gate = gate
        self._accept = accept
        self._cancel = cancel
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
        accepted = await self._accept(new, wait_s)
        del new
        settled = await self._settled(accepted.transaction, context)
        return pb.CreatePaymentResponse(
            payment=mapping.payment(settled), replayed=accepted.replayed
        )

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

    async def _cancel_payment(
        self, caller: str, request: pb.CancelPaymentRequest, context: Context
    ) -> pb.CancelPaymentResponse:
        self._gate.wait_s(context)
        if has_card_number(request.reason):
            text = "holds a card number; it belongs nowhere but with the card processor"
            raise InvalidRequest([Violation("reason", "CARD_NUMBER", text)])
        failure = Failure("CANCELLED_BY_CALLER", request.reason or "cancelled by the caller")
        payment_id = parse_transaction_id(request.payment_id)
        cancelled = await self._cancel(caller, payment_id, failure)
        settled = await self._settled(cancelled, context)
        return pb.CancelPaymentResponse(payment=mapping.payment(settled))

    async def _list_journal(
        self, caller: str, request: pb.ListJournalRequest, _context: Context
    ) -> pb.ListJournalResponse:
        found = await self._owned(caller, request.payment_id)
        limit = request.page_size or mapping.DEFAULT_JOURNAL_PAGE
        entries = await self._store.journal(found.id, mapping.journal_after(request), limit)
        more = len(entries) == limit
        return pb.ListJournalResponse(
            entries=mapping.journal_entries(entries),
            next_page_token=str(entries[-1].sequence) if more else "",
        )

    async def _owned(self, caller: str, payment_id: str) -> Transaction:
        """The caller's payment. Another caller's does not exist for it."""
        transaction_id = parse_transaction_id(payment_id)
        found = await self._store.get(transaction_id)
        if found is None or found.caller != caller:
            raise NotFound(transaction_id)
        return found

    async def _settled(self, transaction: Transaction, context: Context) -> Transaction:
        remaining = context.time_remaining()
        margin_s = self._gate.margin_s
        return await self._updates.settled(transaction, (remaining or 0.0) - margin_s)
