"""Watching and waiting, by both clients, over a real socket."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import kessai
import pytest
from kessai.client import calls
from kessai.payments.v1 import payments_pb2 as pb

from tests.support.client_driven import PAYMENT_ID, QUICK, UNAVAILABLE, Driven, payment
from tests.support.client_stub import Refusal, Silence, Stub, stub_server


@pytest.fixture
def stub() -> Iterator[Stub]:
    with stub_server() as served:
        yield served


@pytest.fixture(params=["sync", "async"])
def client(request: pytest.FixtureRequest, stub: Stub) -> Iterator[Driven]:
    driven = Driven(request.param, stub.address)
    yield driven
    driven.end()


def told(version: int, state: str = "CREATED", **values: Any) -> pb.WatchPaymentResponse:
    return pb.WatchPaymentResponse(payment=payment(version, state, **values))


def versions(payments: list[pb.Payment]) -> list[int]:
    return [found.version for found in payments]


def test_a_watch_ends_when_the_payment_is_settled(stub: Stub, client: Driven) -> None:
    stub.says("WatchPayment", [told(1), told(4), told(5, "PAID"), Silence()])
    assert versions(client.watch_payment(PAYMENT_ID)) == [1, 4, 5]
    assert stub.requests("WatchPayment") == [pb.WatchPaymentRequest(payment_id=PAYMENT_ID)]
    assert stub.asked[0].metadata["authorization"] == "Bearer k1"


def test_a_broken_watch_is_taken_up_and_repeats_nothing(stub: Stub, client: Driven) -> None:
    stub.says(
        "WatchPayment",
        [told(1), told(2), UNAVAILABLE],
        [UNAVAILABLE],
        [told(2), UNAVAILABLE],
        [told(3, "RESERVED"), told(5, "PAID")],
    )
    assert versions(client.watch_payment(PAYMENT_ID)) == [1, 2, 3, 5]
    assert len(stub.asked) == 4


def test_a_watch_that_its_server_ends_too_early_is_taken_up(stub: Stub, client: Driven) -> None:
    stub.says("WatchPayment", [told(1)], [], [told(1), told(2, "FAILED")])
    assert versions(client.watch_payment(PAYMENT_ID)) == [1, 2]


def test_a_watch_that_only_reached_its_streams_limit_is_taken_up(
    stub: Stub, client: Driven, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "STREAM_S", 0.3)
    stub.says("WatchPayment", [told(1), Silence()], [told(1), told(2, "PAID")])
    assert versions(client.watch_payment(PAYMENT_ID)) == [1, 2]


@pytest.mark.parametrize("status", ["NOT_FOUND", "INTERNAL", "UNAUTHENTICATED", "CANCELLED"])
def test_a_watch_is_not_taken_up_after_another_error(
    stub: Stub, client: Driven, status: str
) -> None:
    stub.says("WatchPayment", [told(1), Refusal(grpc.StatusCode[status])])
    with pytest.raises(kessai.KessaiError) as caught:
        client.watch_payment(PAYMENT_ID)
    assert caught.value.code == status
    assert len(stub.asked) == 1


def test_a_watch_gives_up_after_so_many_failures_in_a_row(stub: Stub, client: Driven) -> None:
    stub.says("WatchPayment", [told(1), UNAVAILABLE], [UNAVAILABLE])
    with pytest.raises(kessai.Unavailable):
        client.watch_payment(PAYMENT_ID)
    assert len(stub.asked) == QUICK.max_attempts


def test_a_watch_has_a_deadline_if_it_is_given_one(stub: Stub, client: Driven) -> None:
    stub.says("WatchPayment", [told(1), Silence()])
    with pytest.raises(kessai.DeadlineExceeded):
        client.watch_payment(PAYMENT_ID, timeout_s=0.3)
    assert len(stub.asked) == 1


def test_leaving_a_watch_ends_the_call(stub: Stub, client: Driven) -> None:
    stub.says("WatchPayment", [told(1), Silence()])
    assert client.first("watch_payment", PAYMENT_ID).version == 1
    assert stub.stream_ended.wait(10)


def test_waiting_ends_with_the_settled_payment(stub: Stub, client: Driven) -> None:
    stub.says("WatchPayment", [told(1), UNAVAILABLE], [told(3, "FAILED"), Silence()])
    assert client.wait_payment(PAYMENT_ID, timeout_s=10).version == 3


def test_waiting_ends_when_the_payment_waits_for_its_capture(stub: Stub, client: Driven) -> None:
    held = told(2, "RESERVED", capture=pb.CAPTURE_MODE_MANUAL)
    stub.says("WatchPayment", [told(1), held, Silence()])
    assert client.wait_payment(PAYMENT_ID, timeout_s=10) == held.payment
    assert stub.stream_ended.wait(10)


def test_waiting_ends_when_the_customer_has_to_act(stub: Stub, client: Driven) -> None:
    action = pb.NextAction(kind="redirect", url="https://bank.example/3ds")
    step = pb.Step(phase="card_charge", next_action=action)
    stub.says("WatchPayment", [told(1), told(2, steps=[step]), Silence()])
    waiting = client.wait_payment(PAYMENT_ID, timeout_s=10)
    assert kessai.next_actions(waiting) == [action]


def test_a_wait_whose_time_is_over_tells_how_it_was_last_seen(stub: Stub, client: Driven) -> None:
    stub.says("WatchPayment", [told(1), told(2), Silence()])
    with pytest.raises(kessai.NotSettledYet, match="goes on by itself") as caught:
        client.wait_payment(PAYMENT_ID, timeout_s=0.3)
    assert caught.value.last == payment(2, "CREATED")
    assert isinstance(caught.value, kessai.DeadlineExceeded)


def test_a_wait_for_what_does_not_exist_says_so(stub: Stub, client: Driven) -> None:
    stub.says("WatchPayment", [Refusal(grpc.StatusCode.NOT_FOUND, "PAYMENT_NOT_FOUND")])
    with pytest.raises(kessai.NotFound):
        client.wait_payment(PAYMENT_ID, timeout_s=10)


def refund(version: int, state: str) -> pb.WatchRefundResponse:
    made = pb.Refund(refund_id="r-1", version=version, state=f"REFUND_STATE_{state}")
    return pb.WatchRefundResponse(refund=made)


def test_refunds_are_watched_and_waited_for_alike(stub: Stub, client: Driven) -> None:
    stub.says(
        "WatchRefund",
        [refund(1, "CREATED"), UNAVAILABLE],
        [refund(2, "SETTLING"), refund(3, "SUCCEEDED"), Silence()],
    )
    assert [found.version for found in client.watch_refund("r-1")] == [1, 2, 3]
    assert client.wait_refund("r-1", timeout_s=10).version == 3
    assert stub.requests("WatchRefund")[0] == pb.WatchRefundRequest(refund_id="r-1")
