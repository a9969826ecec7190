"""The clients over a real socket, against a service that says what a test wants.

Every test runs over both clients.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import kessai
import pytest
from google.protobuf.message import Message
from kessai.client import calls, machine
from kessai.payments.v1 import payments_pb2 as pb

from tests.support.client_driven import PAYMENT_ID, QUICK, UNAVAILABLE, Driven, payment
from tests.support.client_stub import Refusal, Silence, Stub, stub_server

ROUNDED_S = 1.0
"""gRPC rounds timeouts up on the wire, by less than this."""


@pytest.fixture
def stub() -> Iterator[Stub]:
    with stub_server() as served:
        yield served


@pytest.fixture(params=["sync", "async"])
def client(request: pytest.FixtureRequest, stub: Stub) -> Iterator[Driven]:
    driven = Driven(request.param, stub.address)
    yield driven
    driven.end()


def create(client: Driven, **values: Any) -> pb.Payment:
    made: pb.Payment = client.create_payment(
        flow="points_only",
        amount=kessai.yen(10),
        tenders=[kessai.tender("points_reserve", "alice", kessai.yen(10))],
        merchant_id="shop-1",
        **values,
    )
    return made


def paid(stub: Stub, *before: Any) -> None:
    stub.says("CreatePayment", *before, pb.CreatePaymentResponse(payment=payment()))


# --- what is sent --------------------------------------------------------------------------


def test_create_sends_every_field_the_api_key_and_a_deadline(stub: Stub, client: Driven) -> None:
    paid(stub)
    made = create(
        client,
        order_id="o-1",
        order_conflict=pb.ORDER_CONFLICT_CANCEL_PREVIOUS,
        customer_id="c-1",
        capture=pb.CAPTURE_MODE_MANUAL,
        reserve_for=timedelta(seconds=90),
        items=[kessai.item("stock_reserve", "sku")],
        idempotency_key="mine",
        timeout_s=7,
    )
    assert made == payment()
    [asked] = stub.asked
    expected = pb.CreatePaymentRequest(
        idempotency_key="mine",
        flow="points_only",
        amount=kessai.yen(10),
        tenders=[kessai.tender("points_reserve", "alice", kessai.yen(10))],
        merchant_id="shop-1",
        order_id="o-1",
        order_conflict=pb.ORDER_CONFLICT_CANCEL_PREVIOUS,
        customer_id="c-1",
        capture=pb.CAPTURE_MODE_MANUAL,
        items=[kessai.item("stock_reserve", "sku")],
    )
    expected.reserve_for.FromSeconds(90)
    assert asked.request == expected
    assert asked.metadata["authorization"] == "Bearer k1"
    assert 0 < asked.remaining_s < 7 + ROUNDED_S


def test_without_a_timeout_the_clients_own_is_the_deadline(stub: Stub, client: Driven) -> None:
    paid(stub)
    create(client)
    client.open(timeout_s=60.0)
    create(client)
    default, chosen = (asked.remaining_s for asked in stub.asked)
    assert 5 < default < calls.DEFAULT_TIMEOUT_S + ROUNDED_S
    assert 50 < chosen < 60 + ROUNDED_S


def test_without_a_key_every_call_gets_a_fresh_one(stub: Stub, client: Driven) -> None:
    paid(stub)
    create(client)
    create(client)
    first, second = (request.idempotency_key for request in stub.requests("CreatePayment"))
    assert first
    assert second not in {"", first}


@pytest.mark.parametrize(
    ("method", "call", "told"),
    [
        (
            "CapturePayment",
            lambda client: client.capture_payment(
                PAYMENT_ID, amount=kessai.yen(7), split=kessai.pro_rata(), idempotency_key="c"
            ),
            (
                pb.CapturePaymentResponse(payment=payment()),
                pb.CapturePaymentRequest(
                    payment_id=PAYMENT_ID,
                    idempotency_key="c",
                    amount=kessai.yen(7),
                    split=kessai.pro_rata(),
                ),
            ),
        ),
        (
            "CancelPayment",
            lambda client: client.cancel_payment(PAYMENT_ID, reason="no"),
            (
                pb.CancelPaymentResponse(payment=payment()),
                pb.CancelPaymentRequest(payment_id=PAYMENT_ID, reason="no"),
            ),
        ),
        (
            "CreateRefund",
            lambda client: client.create_refund(PAYMENT_ID, idempotency_key="r"),
            (
                pb.CreateRefundResponse(refund=pb.Refund(refund_id="r-1")),
                pb.CreateRefundRequest(payment_id=PAYMENT_ID, idempotency_key="r"),
            ),
        ),
        (
            "GetPayment",
            lambda client: client.get_payment(PAYMENT_ID),
            (pb.GetPaymentResponse(payment=payment()), pb.GetPaymentRequest(payment_id=PAYMENT_ID)),
        ),
        (
            "GetRefund",
            lambda client: client.get_refund("r-1"),
            (
                pb.GetRefundResponse(refund=pb.Refund(refund_id="r-1")),
                pb.GetRefundRequest(refund_id="r-1"),
            ),
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_call_sends_its_fields_and_returns_the_thing_itself(
    stub: Stub, client: Driven, method: str, call: Any, told: tuple[Any, Message]
) -> None:
    answer, expected = told
    stub.says(method, answer)
    got = call(client)
    assert got == (
        answer.payment if "payment" in answer.DESCRIPTOR.fields_by_name else answer.refund
    )
    assert stub.requests(method) == [expected]


# --- retries -------------------------------------------------------------------------------


def test_unavailable_is_repeated_with_the_same_key_and_the_same_body(
    stub: Stub, client: Driven
) -> None:
    paid(stub, UNAVAILABLE, Refusal(grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE"))
    assert create(client) == payment()
    first, second, third = stub.requests("CreatePayment")
    assert first.idempotency_key
    assert first == second == third


@pytest.mark.parametrize("method", ["CapturePayment", "CreateRefund"])
def test_captures_and_refunds_keep_their_key_over_retries(
    stub: Stub, client: Driven, method: str
) -> None:
    stub.says("CapturePayment", UNAVAILABLE, pb.CapturePaymentResponse(payment=payment()))
    stub.says("CreateRefund", UNAVAILABLE, pb.CreateRefundResponse(refund=pb.Refund()))
    (client.capture_payment if method == "CapturePayment" else client.create_refund)(PAYMENT_ID)
    first, second = stub.requests(method)
    assert first.idempotency_key
    assert first == second


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ("ABORTED", "LOST_RACE"),
        ("RESOURCE_EXHAUSTED", "RATE_LIMITED"),
        ("RESOURCE_EXHAUSTED", "TOO_MANY_IN_FLIGHT"),
    ],
)
def test_what_carries_retry_info_is_repeated_not_before_its_delay(
    stub: Stub, client: Driven, status: str, reason: str
) -> None:
    paid(stub, Refusal(grpc.StatusCode[status], reason, retry_after_s=0.2))
    start = machine.now_s()
    assert create(client) == payment()
    assert machine.now_s() - start >= 0.2
    assert len(stub.asked) == 2


@pytest.mark.parametrize(
    "status", [status for status in grpc.StatusCode if status.name not in {"OK", "UNAVAILABLE"}]
)
def test_no_other_error_is_repeated(stub: Stub, client: Driven, status: grpc.StatusCode) -> None:
    paid(stub, Refusal(status))
    with pytest.raises(kessai.KessaiError) as caught:
        create(client, idempotency_key="mine")
    assert caught.value.status is status
    assert caught.value.idempotency_key == "mine"
    assert not caught.value.retryable
    assert len(stub.asked) == 1


def test_a_server_that_stays_away_is_asked_so_often_and_no_more(stub: Stub, client: Driven) -> None:
    stub.says("CreatePayment", UNAVAILABLE)
    with pytest.raises(kessai.Unavailable) as caught:
        create(client, idempotency_key="mine")
    assert len(stub.asked) == QUICK.max_attempts
    assert (caught.value.code, caught.value.idempotency_key) == ("UNAVAILABLE", "mine")
    assert caught.value.retryable


def test_a_delay_longer_than_the_call_is_not_waited_for(stub: Stub, client: Driven) -> None:
    paid(stub, Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMITED", retry_after_s=30.0))
    start = machine.now_s()
    with pytest.raises(kessai.RateLimited) as caught:
        create(client, timeout_s=5)
    assert machine.now_s() - start < 5
    assert (caught.value.retry_after_s, caught.value.retryable) == (30.0, True)
    assert len(stub.asked) == 1


def test_an_answer_that_never_comes_is_not_repeated_and_leaves_the_key(
    stub: Stub, client: Driven
) -> None:
    paid(stub, Silence())
    with pytest.raises(kessai.DeadlineExceeded, match="same key") as caught:
        create(client, timeout_s=0.3)
    [request] = stub.requests("CreatePayment")
    assert caught.value.idempotency_key == request.idempotency_key
    assert not caught.value.retryable
    create(client, idempotency_key=caught.value.idempotency_key)
    first, again = stub.requests("CreatePayment")
    assert first == again


def test_no_server_at_all_is_unavailable_within_the_calls_time(client: Driven, stub: Stub) -> None:
    del stub
    client._address = "127.0.0.1:1"
    client.open(retry=kessai.RetryPolicy())
    start = machine.now_s()
    with pytest.raises(kessai.KessaiError) as caught:
        create(client, timeout_s=1.0)
    assert isinstance(caught.value, kessai.Unavailable | kessai.DeadlineExceeded)
    assert caught.value.idempotency_key
    assert machine.now_s() - start < 3


# --- errors --------------------------------------------------------------------------------


def test_an_invalid_request_names_its_violations(stub: Stub, client: Driven) -> None:
    refusal = Refusal(
        grpc.StatusCode.INVALID_ARGUMENT,
        "INVALID_REQUEST",
        "amount: too small",
        violations=(("amount", "OUT_OF_RANGE", "too small"), ("flow", "UNKNOWN_FLOW", "none")),
    )
    paid(stub, refusal)
    with pytest.raises(kessai.InvalidRequest) as caught:
        create(client)
    assert caught.value.violations == (
        kessai.Violation("amount", "OUT_OF_RANGE", "too small"),
        kessai.Violation("flow", "UNKNOWN_FLOW", "none"),
    )
    assert str(caught.value) == "INVALID_REQUEST: amount: too small"


def test_an_error_has_its_facts_and_its_own_class(stub: Stub, client: Driven) -> None:
    facts = {"payment_id": "p-1", "state": "PAID"}
    paid(
        stub,
        Refusal(
            grpc.StatusCode.FAILED_PRECONDITION, "ORDER_HAS_PAYMENT", facts=tuple(facts.items())
        ),
    )
    with pytest.raises(kessai.OrderHasPayment) as caught:
        create(client)
    assert caught.value.code == "ORDER_HAS_PAYMENT"
    assert caught.value.facts == facts
    assert isinstance(caught.value, kessai.NotPossible)
    assert isinstance(caught.value.__cause__, grpc.RpcError)


@pytest.mark.parametrize(
    "refusal",
    [
        Refusal(grpc.StatusCode.FAILED_PRECONDITION, "OF_A_NEWER_SERVER"),
        Refusal(grpc.StatusCode.FAILED_PRECONDITION, "WRONG_STATE", domain="proxy.example"),
        Refusal(grpc.StatusCode.FAILED_PRECONDITION, "PAYMENT_NOT_FOUND"),
    ],
    ids=["unknown", "foreign", "contradictory"],
)
def test_a_reason_that_cannot_be_trusted_comes_out_as_its_statuss_class(
    stub: Stub, client: Driven, refusal: Refusal
) -> None:
    stub.says("GetPayment", refusal)
    with pytest.raises(kessai.KessaiError) as caught:
        client.get_payment(PAYMENT_ID)
    assert type(caught.value) is kessai.NotPossible
    foreign = refusal.domain != "kessai"
    assert caught.value.code == ("FAILED_PRECONDITION" if foreign else refusal.reason)


# --- pages ---------------------------------------------------------------------------------


def test_a_list_goes_over_all_pages_with_the_same_filters(stub: Stub, client: Driven) -> None:
    stub.says(
        "ListPayments",
        pb.ListPaymentsResponse(payments=[payment(3), payment(2)], next_page_token="t1"),
        UNAVAILABLE,
        pb.ListPaymentsResponse(next_page_token="t2"),
        pb.ListPaymentsResponse(payments=[payment(1)]),
    )
    day = datetime(2026, 11, 21, tzinfo=UTC)
    listed = client.list_payments(
        states=[pb.PAYMENT_STATE_PAID],
        order_id="o",
        customer_id="c",
        merchant_id="m",
        created_from=day,
        created_to=day + timedelta(days=1),
        page_size=2,
    )
    assert [found.version for found in listed] == [3, 2, 1]
    requests = stub.requests("ListPayments")
    assert [request.page_token for request in requests] == ["", "t1", "t1", "t2"]
    for request in requests:
        request.page_token = ""
        assert request == requests[0]
    assert requests[0].create_time_from.ToDatetime(UTC) == day
    assert (requests[0].states, requests[0].page_size) == ([pb.PAYMENT_STATE_PAID], 2)


def test_a_list_that_is_left_early_asks_for_no_more_pages(stub: Stub, client: Driven) -> None:
    stub.says("ListPayments", pb.ListPaymentsResponse(payments=[payment()], next_page_token="t"))
    assert client.first("list_payments") == payment()
    assert len(stub.asked) == 1


def test_a_time_without_a_zone_is_refused(stub: Stub, client: Driven) -> None:
    with pytest.raises(ValueError, match="zone"):
        client.list_payments(created_from=datetime(2026, 11, 21))  # noqa: DTZ001 - the point
    assert stub.asked == []


def test_refunds_and_the_journal_come_in_pages_too(stub: Stub, client: Driven) -> None:
    refunds = [pb.Refund(ordinal=n) for n in (1, 2)]
    stub.says(
        "ListRefunds",
        pb.ListRefundsResponse(refunds=refunds[:1], next_page_token="t"),
        pb.ListRefundsResponse(refunds=refunds[1:]),
    )
    entries = [pb.JournalEntry(sequence=n) for n in (1, 2)]
    stub.says(
        "ListJournal",
        pb.ListJournalResponse(entries=entries[:1], next_page_token="t"),
        pb.ListJournalResponse(entries=entries[1:]),
    )
    assert client.list_refunds(PAYMENT_ID, page_size=1) == refunds
    assert client.list_journal(PAYMENT_ID, page_size=1) == entries


# --- channels ------------------------------------------------------------------------------


def test_a_channel_of_ones_own_is_used_and_left_open(stub: Stub) -> None:
    stub.says("GetPayment", pb.GetPaymentResponse(payment=payment()))
    with grpc.insecure_channel(stub.address) as channel:
        with kessai.Client(channel=channel) as client:
            assert client.get_payment(PAYMENT_ID) == payment()
        with kessai.Client(channel=channel) as client:
            assert client.get_payment(PAYMENT_ID) == payment()
    assert "authorization" not in stub.asked[0].metadata


def test_a_channel_of_ones_own_is_used_and_left_open_by_asyncio_too(stub: Stub) -> None:
    stub.says("GetPayment", pb.GetPaymentResponse(payment=payment()))

    async def twice() -> None:
        async with grpc.aio.insecure_channel(stub.address) as channel:
            for _ in range(2):
                async with kessai.AsyncClient(channel=channel) as client:
                    assert await client.get_payment(PAYMENT_ID) == payment()

    asyncio.run(twice())


def test_a_client_closes_the_channel_that_it_made(stub: Stub) -> None:
    stub.says("GetPayment", pb.GetPaymentResponse(payment=payment()))
    with kessai.Client(stub.address) as client:
        client.get_payment(PAYMENT_ID)
    with pytest.raises(ValueError, match="closed"):
        client.get_payment(PAYMENT_ID)
    assert len(stub.asked) == 1


def test_a_task_that_is_cancelled_ends_its_call_and_is_not_retried(stub: Stub) -> None:
    stub.says("GetPayment", Silence())

    async def cancelled() -> None:
        async with kessai.AsyncClient(stub.address) as client:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.get_payment(PAYMENT_ID), 0.3)

    asyncio.run(cancelled())
    assert len(stub.asked) == 1
