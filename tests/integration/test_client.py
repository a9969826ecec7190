"""Both clients against a real server over a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import kessai
import pytest
from kessai.payments.v1 import payments_pb2 as pb

from coordinator.domain.decide import Call
from coordinator.domain.ids import TransactionId
from coordinator.domain.phase import Operation
from fault_injection.model_participant import Defer, Fault, LoseRequest, Refuse
from tests.support.client_driven import Driven
from tests.support.service import Service, running


@pytest.fixture(scope="module")
def faults() -> dict[tuple[str, Operation], Fault]:
    """Faults by (phase, operation); a test puts in what it wants, for its own payments only."""
    return {}


@pytest.fixture(scope="module")
def service(
    new_database: Callable[[], str], faults: dict[tuple[str, Operation], Fault]
) -> Iterator[Service]:
    def script(_id: TransactionId, call: Call, attempt: int) -> Fault | None:
        return faults.get((call.phase.name, call.operation)) if attempt == 1 else None

    with running(new_database(), script, lease_s=3.0) as service:
        yield service


@pytest.fixture(params=["sync", "async"])
def client(
    request: pytest.FixtureRequest, service: Service, faults: dict[tuple[str, Operation], Fault]
) -> Iterator[Driven]:
    driven = Driven(request.param, service.address)
    driven.open(api_key="shop-key")
    yield driven
    driven.end()
    faults.clear()


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """An order or customer of the test's own."""
    return f"test-{abs(hash(request.node.nodeid))}"


def create(client: Driven, **values: Any) -> pb.Payment:
    asked: dict[str, Any] = {
        "flow": "points_and_card",
        "amount": kessai.yen(1000),
        "tenders": [
            kessai.tender("points_reserve", "alice", kessai.yen(600)),
            kessai.tender("card_charge", "tok_ok", kessai.yen(400)),
        ],
        "merchant_id": "shop-1",
    }
    made: pb.Payment = client.create_payment(**(asked | values))
    return made


def test_a_payment_is_created_read_listed_and_has_a_journal(client: Driven, name: str) -> None:
    made = create(client, customer_id=name)
    assert made.state == pb.PAYMENT_STATE_PAID
    assert client.get_payment(made.payment_id) == made
    second = create(client, customer_id=name)
    assert client.list_payments(customer_id=name, page_size=1) == [second, made]
    entries = client.list_journal(made.payment_id, page_size=3)
    assert [entry.sequence for entry in entries] == list(range(1, len(entries) + 1))
    assert entries[-1].event == "pay"


def test_the_same_key_is_the_same_payment_and_another_body_is_refused(
    client: Driven, name: str
) -> None:
    made = create(client, idempotency_key=name)
    assert create(client, idempotency_key=name) == made
    with pytest.raises(kessai.KeyReused) as caught:
        create(client, idempotency_key=name, merchant_id="shop-2")
    assert caught.value.facts == {"payment_id": made.payment_id, "fields": "merchant_id"}


def test_a_refusal_is_data(client: Driven, faults: dict[Any, Fault]) -> None:
    faults["points_reserve", Operation.TRY] = Refuse("REFUSED_BY_TEST")
    failed = create(client)
    assert kessai.state_name(failed) == "FAILED"
    assert failed.failure.code == "REFUSED_BY_TEST"


def test_a_payment_outlasts_its_call_and_is_watched_to_its_end(
    client: Driven, faults: dict[Any, Fault]
) -> None:
    faults["points_reserve", Operation.TRY] = LoseRequest()
    waiting = create(client, timeout_s=0.5)
    assert not kessai.is_settled(waiting)
    seen = client.watch_payment(waiting.payment_id, timeout_s=20)
    assert kessai.state_name(seen[-1]) == "PAID"
    assert client.wait_payment(waiting.payment_id, timeout_s=20) == seen[-1]


def test_a_wait_can_run_out_and_a_cancel_ends_the_payment(
    client: Driven, faults: dict[Any, Fault]
) -> None:
    faults["card_charge", Operation.TRY] = Defer(3600.0)
    waiting = create(client, timeout_s=0.5)
    with pytest.raises(kessai.NotSettledYet) as caught:
        client.wait_payment(waiting.payment_id, timeout_s=0.5)
    assert caught.value.last.payment_id == waiting.payment_id
    cancelled = client.cancel_payment(waiting.payment_id, reason="changed their mind")
    assert cancelled.failure.code == "CANCELLED_BY_CALLER"
    assert client.cancel_payment(waiting.payment_id) == cancelled


def test_errors_of_the_real_server_have_their_classes(client: Driven, name: str) -> None:
    made = create(client, order_id=name)
    with pytest.raises(kessai.OrderHasPayment) as has_one:
        create(client, order_id=name)
    assert has_one.value.facts == {
        "order_id": name,
        "payment_id": made.payment_id,
        "state": "PAID",
    }
    with pytest.raises(kessai.WrongState):
        client.cancel_payment(made.payment_id)
    with pytest.raises(kessai.InvalidRequest) as invalid:
        create(client, amount=kessai.yen(999))
    assert [(found.field, found.code) for found in invalid.value.violations] == [
        ("tenders", "TENDERS_DO_NOT_ADD_UP")
    ]
    with pytest.raises(kessai.NotFound):
        client.get_payment("019aa5f0-6c1e-7c1a-9d57-1d1b0f2a6c11")
    with pytest.raises(kessai.NotFound):
        client.watch_payment("019aa5f0-6c1e-7c1a-9d57-1d1b0f2a6c11")
    client.open(api_key="not-a-key")
    with pytest.raises(kessai.Unauthenticated):
        client.get_payment(made.payment_id)


def test_a_deadline_that_is_too_near_says_that_nothing_was_written(
    client: Driven, name: str
) -> None:
    with pytest.raises(kessai.DeadlineExceeded) as caught:
        create(client, idempotency_key=name, timeout_s=0.05)
    assert caught.value.idempotency_key == name


def test_a_held_payment_is_waited_for_captured_in_part_and_refunded(client: Driven) -> None:
    held = create(client, capture=pb.CAPTURE_MODE_MANUAL)
    assert kessai.waits_for_somebody(client.wait_payment(held.payment_id, timeout_s=20))
    paid = client.capture_payment(held.payment_id, amount=kessai.yen(700))
    assert (kessai.state_name(paid), paid.captured_amount) == ("PAID", kessai.yen(700))
    with pytest.raises(kessai.AlreadyCaptured):
        client.capture_payment(held.payment_id)
    back = client.create_refund(
        held.payment_id, amount=kessai.yen(100), split=kessai.in_order("card_charge")
    )
    assert client.wait_refund(back.refund_id, timeout_s=20) == client.get_refund(back.refund_id)
    assert client.watch_refund(back.refund_id)[-1].state == pb.REFUND_STATE_SUCCEEDED
    assert [found.refund_id for found in client.list_refunds(held.payment_id)] == [back.refund_id]
    with pytest.raises(kessai.RefundExceedsPayment) as caught:
        client.create_refund(held.payment_id, amount=kessai.yen(601))
    assert caught.value.facts["refundable_minor"] == "600"
