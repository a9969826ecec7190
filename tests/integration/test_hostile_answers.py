"""A participant that begins to answer what no participant may, under a coordinator and a payment.

Nothing that it says is taken for done or refused; a person is told where it said something; and
once it answers truly again, the payment ends as it was decided, with every effect once.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from kessai.payments.v1 import payments_pb2 as pb

from adapters.participant_grpc import GrpcParticipant
from coordinator.cli.ledgers import Effect, Ledgers
from fault_injection.network.answers import Fate, Manners
from fault_injection.network.control import Network
from participants.serve import running as participant_running
from tests.support.service import Models, Service, create_request, running

SEEDS = {"points": {"alice": 10_000}, "card": {}, "merchant": {"shop-1": 0}}
TIMEOUT_S = 10.0


@dataclass
class Shop:
    """A shop, the coordinator that it calls, and the network behind that."""

    service: Service
    network: Network
    ledgers: Ledgers
    payments: Iterator[int] = field(default_factory=itertools.count)

    def reserve(self) -> pb.Payment:
        self.network.heal()  # a test that failed may have left something
        request = create_request(f"key-{next(self.payments)}", capture=pb.CAPTURE_MODE_MANUAL)
        payment = self.service.stub().CreatePayment(request, timeout=TIMEOUT_S).payment
        assert payment.state == pb.PAYMENT_STATE_RESERVED
        return cast("pb.Payment", payment)

    def ask(self, call: str, **fields: Any) -> None:
        """Asks for something, without waiting for how it ends."""
        message = getattr(pb, f"{call}Request")(**fields)
        getattr(self.service.stub(), call)(message, timeout=1.0)

    def capture(self, payment: pb.Payment) -> None:
        key = f"{payment.idempotency_key}-capture"
        self.ask("CapturePayment", payment_id=payment.payment_id, idempotency_key=key)

    def until(self, payment_id: str, holds: Callable[[pb.Payment], bool]) -> pb.Payment:
        while True:
            request = pb.GetPaymentRequest(payment_id=payment_id)
            payment = self.service.stub().GetPayment(request, timeout=TIMEOUT_S).payment
            if holds(payment):
                return cast("pb.Payment", payment)
            threading.Event().wait(0.05)  # polls; bounded by the test's time limit

    def effects(self, payment_id: str) -> dict[str, Effect]:
        return {name: self.ledgers.effect(name, payment_id) for name in SEEDS}


@pytest.fixture(scope="module")
def shop(
    new_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shop]:
    with ExitStack() as parts:
        log = tmp_path_factory.mktemp("network") / "log"
        network = parts.enter_context(Network(1, log))
        urls = {name: new_database() for name in SEEDS}
        models = {}
        for name, seeds in SEEDS.items():
            address = parts.enter_context(
                participant_running(name, database_url=urls[name], seeds=seeds)
            )
            models[name] = GrpcParticipant(network.front(name, address))
        flows = ("points_and_card",)
        # Its calls time out soon, so that one which is never answered is not waited for long.
        limits = {"*": {"timeout_s": 0.5}}
        service = parts.enter_context(
            running(
                new_database(),
                models=cast("Models", models),
                flows=flows,
                participant_limits=limits,
            )
        )
        for participant in models.values():
            parts.callback(_close, service, participant)
        yield Shop(service, network, parts.enter_context(Ledgers(urls)))


def _close(service: Service, participant: GrpcParticipant) -> None:
    asyncio.run_coroutine_threadsafe(participant.close(), service.loop).result(TIMEOUT_S)


def _state(name: str) -> Callable[[pb.Payment], bool]:
    return lambda payment: pb.PaymentState.Name(payment.state) == f"PAYMENT_STATE_{name}"


TOLD = [Fate.OTHER_TRANSACTION, Fate.OTHER_CURRENCY, Fate.OTHER_OPERATION, Fate.GARBAGE]


@pytest.mark.parametrize("fate", TOLD)
@pytest.mark.parametrize("participant", ["card", "merchant"])
def test_a_capture_that_is_answered_by_somebody_hostile_is_told_and_ends_paid_once(
    shop: Shop, participant: str, fate: Fate
) -> None:
    payment = shop.reserve()
    shop.network.behave(participant, Manners(1.0, (fate,)))
    shop.capture(payment)
    told = shop.until(payment.payment_id, lambda each: each.HasField("attention"))
    assert _state("CAPTURING" if participant == "card" else "SETTLING")(told)
    shop.network.heal()
    ended = shop.until(payment.payment_id, _state("PAID"))
    assert not ended.HasField("attention")
    effects = shop.effects(payment.payment_id)
    assert {name: each.confirms for name, each in effects.items()} == dict.fromkeys(SEEDS, 1)
    assert [each.holds_open for each in effects.values()] == [0, 0, 0]
    assert effects["merchant"].confirmed_minor == 1000


@pytest.mark.parametrize("fate", [Fate.OTHER_AMOUNT, Fate.OTHER_STATE, Fate.EMPTY])
def test_a_cancel_that_is_answered_by_somebody_hostile_is_told_and_ends_undone(
    shop: Shop, fate: Fate
) -> None:
    payment = shop.reserve()
    shop.network.behave("points", Manners(1.0, (fate,)))
    shop.ask("CancelPayment", payment_id=payment.payment_id, reason="no more")
    told = shop.until(payment.payment_id, lambda each: each.HasField("attention"))
    assert _state("CANCELLING")(told)
    shop.network.heal()
    shop.until(payment.payment_id, _state("FAILED"))
    effects = shop.effects(payment.payment_id).values()
    assert [(each.confirms, each.holds_open) for each in effects] == [(0, 0)] * 3


@pytest.mark.parametrize("fate", [Fate.OVERSIZED, Fate.ENDLESS, Fate.SILENT])
def test_what_could_not_be_read_needs_nobody_at_once_and_ends_paid_once(
    shop: Shop, fate: Fate
) -> None:
    payment = shop.reserve()
    shop.network.behave("card", Manners(1.0, (fate,)))
    shop.capture(payment)
    told = shop.until(payment.payment_id, lambda each: bool(each.steps[-2].last_error))
    assert _state("CAPTURING")(told)
    assert not told.HasField("attention")
    shop.network.heal()
    shop.until(payment.payment_id, _state("PAID"))
    effects = shop.effects(payment.payment_id)
    assert {name: each.confirms for name, each in effects.items()} == dict.fromkeys(SEEDS, 1)
