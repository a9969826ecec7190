"""Shops: callers that buy, capture, cancel, refund and look, and repeat what was not answered."""

from __future__ import annotations

import random  # noqa: TID251 - seeded: what a shop does is part of the run's seed
import threading
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import TypeVar

from kessai.payments.v1 import payments_pb2 as pb

from coordinator.cli import telling
from coordinator.cli.client import Client
from coordinator.cli.failures import ExitCode, Failure
from coordinator.cli.show import refund_state, state_name
from coordinator.domain.errors import KeyReused, NotFound
from fault_injection.chaos.history import History
from fault_injection.chaos.orders import order

T = TypeVar("T")

CALL_S = 3.0
"""How long one call may take, in seconds; less than an outage may last."""
PAUSE_S = 0.05
"""Before a call that was not answered is repeated, in seconds."""
RIVAL = "rival"
RIVAL_KEY = "the-key-of-a-rival"
"""Another caller, who has no payments and must see none."""
RESERVE_S = 8.0
_UNANSWERED = {ExitCode.UNREACHABLE, ExitCode.UNSETTLED, ExitCode.FAILED}
_REPEATABLE = {
    *("LOST_RACE", "TOO_MANY_IN_FLIGHT", "FLOW_PAUSED", "STORE_UNAVAILABLE"),
    "DEADLINE_TOO_SHORT",  # the request was under way for almost all of its time
}


def _ask_refund(asked: pb.CreateRefundRequest, client: Client) -> pb.CreateRefundResponse:
    return client.refund(asked)


class Shop(threading.Thread):
    """One caller. `addresses` are the coordinators; each call goes to any of them.

    Ends after `stop`, once what it asked for was answered. `pause_s` is how long it rests between
    two things, in seconds.
    """

    def __init__(
        self,
        number: int,
        seed: int,
        addresses: Sequence[str],
        api_key: str,
        history: History,
        *,
        pause_s: float = 0.0,
    ) -> None:
        super().__init__(name=f"shop-{number}", daemon=True)
        self._name = f"{seed}-{number}"
        self._chance = random.Random(f"{seed}/{number}")  # noqa: S311 - no secret is made of it
        self._addresses = tuple(addresses)
        self._api_key = api_key
        self._history = history
        self._pause_s = pause_s
        self._stopping = threading.Event()
        self._count = 0
        self.requests: dict[str, pb.CreatePaymentRequest] = {}
        """Every creation that was answered, by the payment it made."""

    def stop(self) -> None:
        """Begins nothing new any more."""
        self._stopping.set()

    def run(self) -> None:
        """Does one thing after the other."""
        acts = (self._buy, self._buy, self._buy, self._reserve, self._look, self._again, self._pry)
        while not self._stopping.is_set():
            self._count += 1
            try:
                self._chance.choice(acts)()
            except Failure as failure:
                self._history.missed(f"{self.name}: {failure.code} {failure}")
            except Exception as error:  # noqa: BLE001 - a shop that dies would hide the rest
                self._history.missed(f"{self.name}: {type(error).__name__}: {error}")
            self._stopping.wait(self._pause_s)

    def _buy(self) -> None:
        payment = self._create(self._order(), "create")
        if state_name(payment) == "PAID" and self._one_in(3):
            self._refund(payment)

    def _reserve(self) -> None:
        request = self._order()
        request.capture = pb.CAPTURE_MODE_MANUAL
        request.reserve_for.FromTimedelta(timedelta(seconds=RESERVE_S))
        payment = self._create(request, "reserve")
        if self._one_in(2):
            key = f"{request.idempotency_key}-capture"
            asked = pb.CapturePaymentRequest(payment_id=payment.payment_id, idempotency_key=key)
            if self._one_in(2):
                asked.amount.CopyFrom(telling.yen_of(request.amount.minor_units // 2))
            self._told("capture", lambda client: client.capture(asked).payment)
        elif self._one_in(2):
            payment_id = payment.payment_id
            self._told("cancel", lambda client: client.cancel(payment_id, "no more"))
        # Otherwise it expires.

    def _look(self) -> None:
        if self.requests:
            payment_id = self._chance.choice(list(self.requests))
            self._told("get", lambda client: client.get(payment_id))

    def _again(self) -> None:
        """An old key: with its body it finds its payment, with another it is refused."""
        if not self.requests:
            return
        payment_id, request = self._chance.choice(list(self.requests.items()))
        found = self._create(request, "create again")
        if found.payment_id != payment_id:
            self._history.missed(f"S12: {payment_id} asked for again is {found.payment_id}")
        other = pb.CreatePaymentRequest()
        other.CopyFrom(request)
        other.customer_id = "somebody-else"
        began_s = self._history.elapsed_s()
        try:
            payment = self._ask(lambda client: client.create(other)).payment
        except Failure as failure:
            if failure.code != KeyReused.code:
                raise
            self._history.answered(began_s, "create otherwise", payment_id, failure.code)
        else:
            self._history.missed(f"S12: another body with {payment_id}'s key: {payment.payment_id}")

    def _pry(self) -> None:
        """A rival looks at a payment of ours, or cancels it: for the rival there is none."""
        if not self.requests:
            return
        payment_id = self._chance.choice(list(self.requests))
        began_s = self._history.elapsed_s()
        calls: tuple[Callable[[Client], pb.Payment], ...] = (
            lambda client: client.get(payment_id),
            lambda client: client.cancel(payment_id, "not mine"),
        )
        try:
            self._ask(self._chance.choice(calls), RIVAL_KEY)
        except Failure as failure:
            if failure.code != NotFound.code:
                raise
            self._history.answered(began_s, "pry", payment_id, failure.code)
        else:
            self._history.missed(f"S16: a rival was shown {payment_id}")

    def _refund(self, payment: pb.Payment) -> None:
        """Up to three refunds of one payment, which may be more than it has."""
        for number in range(self._chance.randint(1, 3)):
            asked = pb.CreateRefundRequest(
                payment_id=payment.payment_id,
                idempotency_key=f"{self._name}-{self._count}-refund-{number}",
                amount=telling.yen_of(self._chance.choice((10, 30, 60))),
            )
            began_s = self._history.elapsed_s()
            try:
                refund = self._ask(partial(_ask_refund, asked)).refund
            except Failure as failure:
                if failure.exit_code is not ExitCode.REFUSED:
                    raise
                self._history.answered(began_s, "refund", "", failure.code)
                return
            state = refund_state(refund)
            self._history.answered(began_s, "refund", refund.refund_id, state)
            self._history.told_refund(refund.refund_id, state)

    def _order(self) -> pb.CreatePaymentRequest:
        return order(self._chance, f"{self._name}-{self._count}")

    def _one_in(self, number: int) -> bool:
        return self._chance.randrange(number) == 0

    def _create(self, request: pb.CreatePaymentRequest, call: str) -> pb.Payment:
        began_s = self._history.elapsed_s()
        payment = self._ask(lambda client: client.create(request)).payment
        self.requests[payment.payment_id] = request
        self._heard(began_s, call, payment)
        return payment

    def _told(self, call: str, ask: Callable[[Client], pb.Payment]) -> None:
        """Asks, and remembers the answer; or the refusal of what came too late or cannot be."""
        began_s = self._history.elapsed_s()
        try:
            payment = self._ask(ask)
        except Failure as failure:
            if failure.exit_code is not ExitCode.REFUSED:
                raise
            self._history.answered(began_s, call, "", failure.code)
        else:
            self._heard(began_s, call, payment)

    def _heard(self, began_s: float, call: str, payment: pb.Payment) -> None:
        state = state_name(payment)
        self._history.answered(began_s, call, payment.payment_id, state)
        self._history.told(payment.payment_id, state)

    def _ask(self, call: Callable[[Client], T], api_key: str = "") -> T:
        """The answer, however often the call has to be repeated; with our own key by default."""
        while True:
            address = self._chance.choice(self._addresses)
            try:
                with Client(address, api_key or self._api_key, CALL_S) as client:
                    return call(client)
            except Failure as failure:
                if failure.exit_code not in _UNANSWERED and failure.code not in _REPEATABLE:
                    raise
            self._stopping.wait(PAUSE_S)
