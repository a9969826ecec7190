"""The client for asyncio.

The same methods as kessai.client.sync has, and a test keeps them so; all that decides is shared.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self

import grpc

from kessai.client import calls, machine
from kessai.client.calls import CHANNEL_OPTIONS, DEFAULT_TIMEOUT_S, Call, Settings, Watching
from kessai.client.errors import DeadlineExceeded, KessaiError, error_from
from kessai.client.retry import RetryPolicy
from kessai.client.states import is_settled, waits_for_somebody
from kessai.payments.v1 import payments_pb2 as pb
from kessai.payments.v1 import payments_pb2_grpc

_RETRY = RetryPolicy()


class AsyncClient:
    """One caller's view of PaymentService, for asyncio. Use with `async with`, or `close` it.

    Args:
        address: the server, `HOST:PORT`.
        api_key: the caller's key, sent with every call.
        timeout_s: how long a call may take unless it says otherwise, in seconds, with all of its
            retries. A creating, capturing, cancelling or refunding call waits for the end that long
            and then answers with how it stands.
        retry: how what may be repeated is repeated.
        credentials: for TLS; without them the connection is plaintext.
        channel: a channel of your own, which is not closed here; address and credentials are then
            not used.

    Every method raises a KessaiError: Unauthenticated, InvalidRequest, Unavailable, LimitReached,
    DeadlineExceeded and InternalError are possible everywhere; a method names what comes on top.
    """

    def __init__(
        self,
        address: str = "",
        *,
        api_key: str = "",
        timeout_s: float = DEFAULT_TIMEOUT_S,
        retry: RetryPolicy = _RETRY,
        credentials: grpc.ChannelCredentials | None = None,
        channel: grpc.aio.Channel | None = None,
    ) -> None:
        if not address and channel is None:
            raise ValueError("give an address or a channel")
        self._settings = Settings(api_key, timeout_s, retry)
        self._address = address
        self._credentials = credentials
        self._own: grpc.aio.Channel | None = None
        self._channel = channel
        self._made: Any = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connection, unless the channel is the caller's."""
        if self._own is not None:
            await self._own.close(None)

    async def create_payment(
        self,
        *,
        flow: str,
        amount: pb.Money,
        tenders: Iterable[pb.Tender],
        merchant_id: str,
        order_id: str = "",
        order_conflict: pb.OrderConflict = pb.ORDER_CONFLICT_UNSPECIFIED,
        customer_id: str = "",
        capture: pb.CaptureMode = pb.CAPTURE_MODE_UNSPECIFIED,
        reserve_for: timedelta | None = None,
        items: Iterable[pb.Item] = (),
        idempotency_key: str | None = None,
        timeout_s: float | None = None,
    ) -> pb.Payment:
        """Creates a payment and waits for it; answers with it as it then stands.

        A business refusal is data: state FAILED, and `failure` says why. Without a key a fresh one
        is made, and used for every retry. A process that dies forgets it: give a key of your own,
        kept with the order, to be able to ask again.

        Raises:
            KeyReused: the key was used with another body.
            OrderHasPayment: the order has a payment that is live or paid.
            DeadlineExceeded: no answer came; repeat it with the error's `idempotency_key`.
        """
        call = calls.create_payment(
            flow=flow,
            amount=amount,
            tenders=tenders,
            merchant_id=merchant_id,
            order_id=order_id,
            order_conflict=order_conflict,
            customer_id=customer_id,
            capture=capture,
            reserve_for=reserve_for,
            items=items,
            idempotency_key=idempotency_key,
        )
        payment: pb.Payment = (await self._call(call, timeout_s)).payment
        return payment

    async def get_payment(self, payment_id: str, *, timeout_s: float | None = None) -> pb.Payment:
        """Reads one payment. Raises NotFound."""
        call = calls.get_payment(payment_id)
        payment: pb.Payment = (await self._call(call, timeout_s)).payment
        return payment

    def list_payments(
        self,
        *,
        states: Iterable[pb.PaymentState] = (),
        order_id: str = "",
        customer_id: str = "",
        merchant_id: str = "",
        created_from: datetime | None = None,
        created_to: datetime | None = None,
        page_size: int = 0,
        timeout_s: float | None = None,
    ) -> AsyncGenerator[pb.Payment, None]:
        """The caller's payments, newest first, over all pages; each page has `timeout_s`.

        Filters are joined by AND; `created_to` itself does not belong. Times need a zone, else
        ValueError.
        """
        call = calls.list_payments(
            states=states,
            order_id=order_id,
            customer_id=customer_id,
            merchant_id=merchant_id,
            created_from=created_from,
            created_to=created_to,
            page_size=page_size,
        )
        return self._pages(call, "payments", timeout_s)

    def watch_payment(
        self, payment_id: str, *, timeout_s: float | None = None
    ) -> AsyncGenerator[pb.Payment, None]:
        """The payment as it stands, then after every change, until it is settled.

        Connects anew when the connection breaks, and repeats nothing that was seen. `timeout_s`
        bounds the whole; None: there is no bound. Raises NotFound, and DeadlineExceeded then.
        """
        call = calls.watch_payment(payment_id)
        return self._watch(call, "payment", timeout_s)

    async def wait_payment(self, payment_id: str, timeout_s: float) -> pb.Payment:
        """The payment once it is settled, or waits for somebody.

        That is for its capture (capture MANUAL), or for the customer (`kessai.next_actions`).
        Raises NotFound, and NotSettledYet when the time is over.
        """
        call = calls.watch_payment(payment_id)
        payment: pb.Payment = await self._wait(
            call, "payment", timeout_s, lambda seen: is_settled(seen) or waits_for_somebody(seen)
        )
        return payment

    async def capture_payment(
        self,
        payment_id: str,
        *,
        amount: pb.Money | None = None,
        split: pb.Split | None = None,
        idempotency_key: str | None = None,
        timeout_s: float | None = None,
    ) -> pb.Payment:
        """Takes a reserved payment, in full or in part, and waits for it.

        Raises:
            NotFound, KeyReused: as it says.
            WrongState: it is not reserved.
            AlreadyCaptured, PaymentReleased, ReservationExpired: it is too late.
            DeadlineExceeded: no answer came; repeat it with the error's `idempotency_key`.
        """
        call = calls.capture_payment(payment_id, amount, split, idempotency_key)
        payment: pb.Payment = (await self._call(call, timeout_s)).payment
        return payment

    async def cancel_payment(
        self, payment_id: str, *, reason: str = "", timeout_s: float | None = None
    ) -> pb.Payment:
        """Cancels a payment that is not decided yet, and waits for it. Safe to repeat.

        Raises NotFound, WrongState (it is decided), LostRace.
        """
        call = calls.cancel_payment(payment_id, reason)
        payment: pb.Payment = (await self._call(call, timeout_s)).payment
        return payment

    async def create_refund(
        self,
        payment_id: str,
        *,
        amount: pb.Money | None = None,
        split: pb.Split | None = None,
        idempotency_key: str | None = None,
        timeout_s: float | None = None,
    ) -> pb.Refund:
        """Gives back a paid payment, all that is left of it or a part, and waits for it.

        A business refusal is data: state FAILED, and `failure` says why.

        Raises:
            NotFound, KeyReused: as it says.
            WrongState: it is not paid.
            RefundExceedsPayment, RefundExceedsTender: it is more than is left.
            DeadlineExceeded: no answer came; repeat it with the error's `idempotency_key`.
        """
        call = calls.create_refund(payment_id, amount, split, idempotency_key)
        refund: pb.Refund = (await self._call(call, timeout_s)).refund
        return refund

    async def get_refund(self, refund_id: str, *, timeout_s: float | None = None) -> pb.Refund:
        """Reads one refund. Raises NotFound."""
        call = calls.get_refund(refund_id)
        refund: pb.Refund = (await self._call(call, timeout_s)).refund
        return refund

    def list_refunds(
        self, payment_id: str, *, page_size: int = 0, timeout_s: float | None = None
    ) -> AsyncGenerator[pb.Refund, None]:
        """A payment's refunds, oldest first, over all pages. Raises NotFound."""
        call = calls.list_refunds(payment_id, page_size)
        return self._pages(call, "refunds", timeout_s)

    def watch_refund(
        self, refund_id: str, *, timeout_s: float | None = None
    ) -> AsyncGenerator[pb.Refund, None]:
        """The refund as it stands, then after every change, until it is settled.

        Connects anew when the connection breaks, and repeats nothing that was seen. `timeout_s`
        bounds the whole; None: there is no bound. Raises NotFound, and DeadlineExceeded then.
        """
        call = calls.watch_refund(refund_id)
        return self._watch(call, "refund", timeout_s)

    async def wait_refund(self, refund_id: str, timeout_s: float) -> pb.Refund:
        """The refund once it is settled. Raises NotFound, and NotSettledYet."""
        call = calls.watch_refund(refund_id)
        refund: pb.Refund = await self._wait(call, "refund", timeout_s, is_settled)
        return refund

    def list_journal(
        self, transaction_id: str, *, page_size: int = 0, timeout_s: float | None = None
    ) -> AsyncGenerator[pb.JournalEntry, None]:
        """A payment's or a refund's journal, oldest first, over all pages. Raises NotFound."""
        call = calls.list_journal(transaction_id, page_size)
        return self._pages(call, "entries", timeout_s)

    @property
    def _stub(self) -> Any:
        # Made at the first call: a channel belongs to the loop that runs when it is made.
        if self._made is None:
            if self._channel is None:
                self._channel = self._own = _channel(self._address, self._credentials)
            self._made = payments_pb2_grpc.PaymentServiceStub(self._channel)
        return self._made

    async def _call(self, call: Call, timeout_s: float | None) -> Any:
        """The answer, over as many attempts as the errors and the time allow."""
        attempts = self._settings.attempts(timeout_s)
        send = getattr(self._stub, call.method)
        while True:
            left_s = attempts.left_s(machine.now_s())
            try:
                return await send(call.request, timeout=left_s, metadata=self._settings.metadata)
            except grpc.RpcError as error:
                failed = error_from(error, call.key)
                wait_s = attempts.wait_s(failed, machine.now_s(), machine.chance())
                if wait_s is None:
                    raise failed from error
            await machine.sleep_async(wait_s)

    async def _pages(
        self, call: Call, name: str, timeout_s: float | None
    ) -> AsyncGenerator[Any, None]:
        """The things of every page."""
        while True:
            page = await self._call(call, timeout_s)
            for thing in getattr(page, name):
                yield thing
            if not page.next_page_token:
                return
            call.request.page_token = page.next_page_token

    async def _watch(
        self, call: Call, name: str, timeout_s: float | None
    ) -> AsyncGenerator[Any, None]:
        """What is new, over as many streams as it takes."""
        watching = Watching(self._settings.retry, timeout_s)
        send = getattr(self._stub, call.method)
        while True:
            stream = send(
                call.request, timeout=watching.stream_s(), metadata=self._settings.metadata
            )
            failed: KessaiError = calls.ended_early()
            cause: grpc.RpcError | None = None
            try:
                async for answer in stream:
                    thing = getattr(answer, name)
                    if watching.is_news(thing):
                        yield thing
                    if watching.over:
                        return
            except grpc.RpcError as error:
                failed, cause = error_from(error), error
            finally:
                stream.cancel()
            wait_s = watching.wait_s(failed)
            if wait_s is None:
                raise failed from cause
            await machine.sleep_async(wait_s)

    async def _wait(
        self, call: Call, name: str, timeout_s: float, enough: Callable[[Any], bool]
    ) -> Any:
        """The first that is enough; every settled one is."""
        last = None
        try:
            async with aclosing(self._watch(call, name, timeout_s)) as seen:
                async for last in seen:
                    if enough(last):
                        break
        except DeadlineExceeded as error:
            raise calls.not_settled_yet(name, timeout_s, last) from error
        return last


def _channel(address: str, credentials: grpc.ChannelCredentials | None) -> grpc.aio.Channel:
    if credentials is None:
        return grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS)
    return grpc.aio.secure_channel(address, credentials, options=CHANNEL_OPTIONS)
