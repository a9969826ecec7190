"""Shops: callers that buy, capture, cancel, refund and look, and repeat what was not answered."""

from __future__ import annotations

import random  # noqa: TID251 - seeded: what a shop does is part of the run's seed
import threading
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TypeVar

from kessai.payments.v1 import payments_pb2 as pb

from coordinator.cli import telling
from coordinator.cli.client import Client
from coordinator.cli.failures import ExitCode, Failure
from coordinator.cli.show import state_name
from fault_injection.chaos.history import History

T = TypeVar("T")

CALL_S = 10.0
"""How long one call may take, in seconds; less than an outage may last."""
PAUSE_S = 0.05
"""Before a call that was not answered is repeated, in seconds."""
RESERVE_S = 20.0
CARDS = ("tok_ok", "tok_ok", "tok_declined", "tok_capture_declined", "tok_timeout_after_capture")
_UNANSWERED = {ExitCode.UNREACHABLE, ExitCode.UNSETTLED, ExitCode.FAILED}
_REPEATABLE = {"LOST_RACE", "TOO_MANY_IN_FLIGHT", "FLOW_PAUSED", "STORE_UNAVAILABLE"}


class Shop(threading.Thread):
    """One caller. `addresses` are the coordinators; each call goes to any of them.

    Ends after `stop`, once what it asked for was answered.
    """

    def __init__(
        self, number: int, seed: int, addresses: Sequence[str], api_key: str, history: History
    ) -> None:
        super().__init__(name=f"shop-{number}", daemon=True)
        self._name = f"{seed}-{number}"
        self._chance = random.Random(f"{seed}/{number}")  # noqa: S311 - no secret is made of it
        self._addresses = tuple(addresses)
        self._api_key = api_key
        self._history = history
        self._stopping = threading.Event()
        self._count = 0
        self.requests: dict[str, pb.CreatePaymentRequest] = {}
        """Every creation that was answered, by the payment it made."""

    def stop(self) -> None:
        """Begins nothing new any more."""
        self._stopping.set()

    def run(self) -> None:
        """Does one thing after the other."""
        acts = (self._buy, self._buy, self._buy, self._reserve, self._look)
        while not self._stopping.is_set():
            self._count += 1
            try:
                self._chance.choice(acts)()
            except Failure as failure:
                self._history.missed(f"{self.name}: {failure.code} {failure}")
            except Exception as error:  # noqa: BLE001 - a shop that dies would hide the rest
                self._history.missed(f"{self.name}: {type(error).__name__}: {error}")

    def _buy(self) -> None:
        request = telling.request(
            f"{self._name}-{self._count}",
            points=self._chance.choice((60, 600)),
            card=self._chance.choice(CARDS),
            yen=self._chance.choice((0, 40)),
        )
        payment = self._create(request)
        if state_name(payment) == "PAID" and self._one_in(3):
            self._refund(payment)

    def _reserve(self) -> None:
        request = telling.request(f"{self._name}-{self._count}", points=60, card="tok_ok", yen=40)
        request.capture = pb.CAPTURE_MODE_MANUAL
        request.reserve_for.FromTimedelta(timedelta(seconds=RESERVE_S))
        payment = self._create(request)
        if self._one_in(2):
            key = f"{request.idempotency_key}-capture"
            asked = pb.CapturePaymentRequest(payment_id=payment.payment_id, idempotency_key=key)
            self._told(self._unless_refused(lambda client: client.capture(asked).payment))
        elif self._one_in(2):
            payment_id = payment.payment_id
            self._told(self._unless_refused(lambda client: client.cancel(payment_id, "no more")))
        # Otherwise it expires.

    def _look(self) -> None:
        if self.requests:
            payment_id = self._chance.choice(list(self.requests))
            self._told(self._ask(lambda client: client.get(payment_id)))

    def _refund(self, payment: pb.Payment) -> None:
        asked = pb.CreateRefundRequest(
            payment_id=payment.payment_id,
            idempotency_key=f"{self._name}-{self._count}-refund",
            amount=telling.yen_of(self._chance.choice((10, 30, 60))),
        )
        self._unless_refused(lambda client: client.refund(asked))

    def _one_in(self, number: int) -> bool:
        return self._chance.randrange(number) == 0

    def _create(self, request: pb.CreatePaymentRequest) -> pb.Payment:
        payment = self._ask(lambda client: client.create(request)).payment
        self.requests[payment.payment_id] = request
        self._told(payment)
        return payment

    def _told(self, payment: pb.Payment | None) -> None:
        if payment is not None:
            self._history.told(payment.payment_id, state_name(payment))

    def _unless_refused(self, call: Callable[[Client], T]) -> T | None:
        """The answer; None when what it asks for came too late or cannot be."""
        try:
            return self._ask(call)
        except Failure as failure:
            if failure.exit_code is ExitCode.REFUSED:
                return None
            raise

    def _ask(self, call: Callable[[Client], T]) -> T:
        """The answer, however often the call has to be repeated."""
        while True:
            address = self._chance.choice(self._addresses)
            try:
                with Client(address, self._api_key, CALL_S) as client:
                    return call(client)
            except Failure as failure:
                if failure.exit_code not in _UNANSWERED and failure.code not in _REPEATABLE:
                    raise
            self._stopping.wait(PAUSE_S)
