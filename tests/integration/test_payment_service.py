"""PaymentService over a real socket and a real PostgreSQL."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
import sqlalchemy as sa
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from kessai.payments.v1 import payments_pb2 as pb

from coordinator.domain.decide import Call
from coordinator.domain.ids import TransactionId
from coordinator.domain.phase import Operation
from fault_injection.model_participant import Defer, Fault, LoseReply, LoseRequest, Refuse
from tests.support.service import (
    Problem,
    Service,
    create_request,
    problem_of,
    running,
    yen,
)

DEADLINE_S = 20.0


@pytest.fixture(scope="module")
def faults() -> dict[tuple[str, Operation], Fault]:
    """Faults by (phase, operation); a test puts in what it wants, for its own payments only."""
    return {}


@pytest.fixture(scope="module")
def url(new_database: Callable[[], str]) -> str:
    return new_database()


@pytest.fixture(scope="module")
def service(url: str, faults: dict[tuple[str, Operation], Fault]) -> Iterator[Service]:
    def script(_id: TransactionId, call: Call, attempt: int) -> Fault | None:
        return faults.get((call.phase.name, call.operation)) if attempt == 1 else None

    with running(url, script, lease_s=3.0) as service:
        yield service


@pytest.fixture(autouse=True)
def no_faults_left(faults: dict[tuple[str, Operation], Fault]) -> Iterator[None]:
    yield
    faults.clear()


@pytest.fixture
def key(request: pytest.FixtureRequest) -> str:
    """An idempotency key of the test's own."""
    return f"key-{abs(hash(request.node.nodeid))}"


def refused(call: Callable[[], object]) -> Problem:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return problem_of(caught.value)


def create(service: Service, request: pb.CreatePaymentRequest) -> pb.CreatePaymentResponse:
    answer: pb.CreatePaymentResponse = service.stub().CreatePayment(request, timeout=DEADLINE_S)
    return answer


def count_payments(service: Service) -> int:
    page = service.stub().ListPayments(pb.ListPaymentsRequest(page_size=500), timeout=DEADLINE_S)
    return len(page.payments)


def test_points_and_card_are_paid(service: Service, key: str) -> None:
    answer = create(service, create_request(key, order_id=key, customer_id="c-1"))
    payment = answer.payment
    assert payment.state == pb.PAYMENT_STATE_PAID
    assert not answer.replayed
    assert [step.phase for step in payment.steps] == [
        "points_reserve",
        "merchant_credit",
        "card_charge",
        "notify",
    ]
    assert {step.status for step in payment.steps} == {pb.STEP_STATUS_CONFIRMED}
    assert payment.amount == yen(1000)
    assert [(tender.method, tender.source) for tender in payment.tenders] == [
        ("points_reserve", "alice"),
        ("card_charge", ""),
    ]
    assert (payment.order_id, payment.customer_id, payment.merchant_id) == (key, "c-1", "shop-1")


def test_a_refusal_is_data_with_the_participants_reason(
    service: Service, key: str, faults: dict[Any, Fault]
) -> None:
    faults["points_reserve", Operation.TRY] = Refuse("REFUSED_BY_TEST")
    payment = create(service, create_request(key)).payment
    assert payment.state == pb.PAYMENT_STATE_FAILED
    assert payment.failure == pb.Failure(
        code="REFUSED_BY_TEST", reason="the test wants it so", phase="points_reserve"
    )


def test_a_lost_capture_reply_is_paid_and_charged_once(
    service: Service, key: str, faults: dict[Any, Fault]
) -> None:
    faults["card_charge", Operation.CONFIRM] = LoseReply()
    payment = create(service, create_request(key)).payment
    assert payment.state == pb.PAYMENT_STATE_PAID
    card = service.participants["card"]
    charged = card.effects[TransactionId(payment.payment_id), "card_charge", Operation.CONFIRM]
    assert charged == 1


def test_the_same_key_and_body_give_the_same_payment(service: Service, key: str) -> None:
    first = create(service, create_request(key))
    again = create(service, create_request(key))
    assert again.replayed
    assert again.payment == first.payment


def test_the_same_key_at_once_makes_one_payment(service: Service, key: str) -> None:
    found: list[str] = []
    threads = [
        threading.Thread(
            target=lambda: found.append(create(service, create_request(key)).payment.payment_id)
        )
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


@pytest.mark.parametrize(
    ("change", "fields"),
    [
        ({"merchant_id": "shop-2"}, "merchant_id"),
        ({"order_conflict": pb.ORDER_CONFLICT_CANCEL_PREVIOUS}, "order_conflict"),
        (
            {
                "tenders": [
                    pb.Tender(method="points_reserve", source="alice", amount=yen(600)),
                    pb.Tender(method="card_charge", source="tok_other", amount=yen(400)),
                ]
            },
            "tenders[1].source",
        ),
        (
            {
                "amount": yen(1001),
                "tenders": [
                    pb.Tender(method="points_reserve", source="alice", amount=yen(601)),
                    pb.Tender(method="card_charge", source="tok_ok", amount=yen(400)),
                ],
            },
            "amount.minor_units,tenders[0].amount.minor_units",
        ),
    ],
)
def test_the_same_key_with_another_body_is_refused_naming_the_fields(
    service: Service, key: str, change: dict[str, Any], fields: str
) -> None:
    first = create(service, create_request(key))
    problem = refused(lambda: create(service, create_request(key, **change)))
    assert problem.status is grpc.StatusCode.ALREADY_EXISTS
    assert problem.reason == "IDEMPOTENCY_KEY_REUSED"
    assert problem.facts == {"payment_id": first.payment.payment_id, "fields": fields}
    assert "tok_" not in problem.message


def test_two_payments_for_one_order_at_once_make_one(service: Service, key: str) -> None:
    outcomes: list[str] = []

    def till(number: int) -> None:
        try:
            answer = create(service, create_request(f"{key}-{number}", order_id=f"order-{key}"))
            outcomes.append(pb.PaymentState.Name(answer.payment.state))
        except grpc.RpcError as error:
            outcomes.append(problem_of(error).reason)

    threads = [threading.Thread(target=till, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["ORDER_HAS_PAYMENT"] * 3 + ["PAYMENT_STATE_PAID"]


def test_a_failed_payment_frees_its_order(
    service: Service, key: str, faults: dict[Any, Fault]
) -> None:
    faults["points_reserve", Operation.TRY] = Refuse()
    first = create(service, create_request(f"{key}-1", order_id=key))
    faults.clear()
    second = create(service, create_request(f"{key}-2", order_id=key))
    assert first.payment.state == pb.PAYMENT_STATE_FAILED
    assert second.payment.state == pb.PAYMENT_STATE_PAID


def test_cancel_previous_replaces_an_undecided_payment(
    service: Service, key: str, faults: dict[Any, Fault]
) -> None:
    faults["card_charge", Operation.TRY] = Defer(3600.0)
    waiting = create_with_deadline(service, create_request(f"{key}-1", order_id=key), 0.5)
    assert waiting.payment.state == pb.PAYMENT_STATE_CREATED
    faults.clear()
    second = create(
        service,
        create_request(f"{key}-2", order_id=key, order_conflict=pb.ORDER_CONFLICT_CANCEL_PREVIOUS),
    )
    assert second.payment.state == pb.PAYMENT_STATE_PAID
    first = get(service, waiting.payment.payment_id)
    assert first.state == pb.PAYMENT_STATE_FAILED
    assert first.failure.code == "ORDER_SUPERSEDED"


def test_cancel_previous_does_not_touch_a_paid_payment(service: Service, key: str) -> None:
    paid = create(service, create_request(f"{key}-1", order_id=key))
    again = create_request(
        f"{key}-2", order_id=key, order_conflict=pb.ORDER_CONFLICT_CANCEL_PREVIOUS
    )
    problem = refused(lambda: create(service, again))
    assert problem.reason == "ORDER_HAS_PAYMENT"
    assert problem.facts["payment_id"] == paid.payment.payment_id
    assert get(service, paid.payment.payment_id).state == pb.PAYMENT_STATE_PAID


def create_with_deadline(
    service: Service, request: pb.CreatePaymentRequest, seconds: float
) -> pb.CreatePaymentResponse:
    answer: pb.CreatePaymentResponse = service.stub().CreatePayment(request, timeout=seconds)
    return answer


def get(service: Service, payment_id: str, caller: str = "shop") -> pb.Payment:
    request = pb.GetPaymentRequest(payment_id=payment_id)
    payment: pb.Payment = service.stub(caller).GetPayment(request, timeout=DEADLINE_S).payment
    return payment


def watched_to_the_end(service: Service, payment_id: str) -> list[pb.Payment]:
    request = pb.WatchPaymentRequest(payment_id=payment_id)
    return [item.payment for item in service.stub().WatchPayment(request, timeout=DEADLINE_S)]


def test_near_the_deadline_the_answer_is_the_payment_as_it_stands_and_it_goes_on(
    service: Service, key: str, faults: dict[Any, Fault]
) -> None:
    faults["points_reserve", Operation.TRY] = LoseRequest()
    answer = create_with_deadline(service, create_request(key), 1.0)
    assert answer.payment.state == pb.PAYMENT_STATE_CREATED
    last = watched_to_the_end(service, answer.payment.payment_id)[-1]
    assert last.state == pb.PAYMENT_STATE_PAID


def test_a_payment_outlives_the_callers_disconnect(
    service: Service, key: str, faults: dict[Any, Fault]
) -> None:
    faults["points_reserve", Operation.TRY] = LoseRequest()
    call = service.stub().CreatePayment.future(create_request(key), timeout=DEADLINE_S)
    while not (mine := find(service, key)):
        time.sleep(0.02)  # polls for the row, bounded by the test's time limit
    call.cancel()
    assert watched_to_the_end(service, mine[0].payment_id)[-1].state == pb.PAYMENT_STATE_PAID


def find(service: Service, key: str) -> list[pb.Payment]:
    page = service.stub().ListPayments(pb.ListPaymentsRequest(page_size=500), timeout=DEADLINE_S)
    return [payment for payment in page.payments if payment.idempotency_key == key]


def test_watch_sends_growing_versions_and_ends_when_settled(
    service: Service, key: str, faults: dict[Any, Fault]
) -> None:
    faults["card_charge", Operation.TRY] = LoseRequest()
    answer = create_with_deadline(service, create_request(key), 0.5)
    seen = watched_to_the_end(service, answer.payment.payment_id)
    versions = [payment.version for payment in seen]
    assert versions == sorted(set(versions))
    assert seen[-1].state == pb.PAYMENT_STATE_PAID
    assert watched_to_the_end(service, answer.payment.payment_id) == [seen[-1]]


def test_cancel_releases_an_undecided_payment_and_may_be_repeated(
    service: Service, key: str, faults: dict[Any, Fault]
) -> None:
    faults["card_charge", Operation.TRY] = Defer(3600.0)
    answer = create_with_deadline(service, create_request(key), 0.5)
    cancel = pb.CancelPaymentRequest(
        payment_id=answer.payment.payment_id, reason="changed their mind"
    )
    cancelled = service.stub().CancelPayment(cancel, timeout=DEADLINE_S).payment
    assert cancelled.state == pb.PAYMENT_STATE_FAILED
    assert (cancelled.failure.code, cancelled.failure.reason) == (
        "CANCELLED_BY_CALLER",
        "changed their mind",
    )
    assert service.stub().CancelPayment(cancel, timeout=DEADLINE_S).payment == cancelled


def test_cancel_of_a_paid_payment_is_refused(service: Service, key: str) -> None:
    paid = create(service, create_request(key)).payment
    request = pb.CancelPaymentRequest(payment_id=paid.payment_id)
    problem = refused(lambda: service.stub().CancelPayment(request, timeout=DEADLINE_S))
    assert (problem.status, problem.reason) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "WRONG_STATE",
    )
    assert problem.facts == {"payment_id": paid.payment_id, "state": "PAID"}


def test_the_journal_tells_the_story_in_pages(service: Service, key: str) -> None:
    payment_id = create(service, create_request(key)).payment.payment_id
    entries: list[pb.JournalEntry] = []
    token = ""
    while True:
        page = service.stub().ListJournal(
            pb.ListJournalRequest(payment_id=payment_id, page_size=4, page_token=token),
            timeout=DEADLINE_S,
        )
        entries += page.entries
        token = page.next_page_token
        if not token:
            break
    assert [entry.sequence for entry in entries] == list(range(1, len(entries) + 1))
    events = [entry.event for entry in entries if entry.kind == "transition"]
    assert events == ["create", "hold", "capture", "settle", "pay"]
    attempts = [(entry.phase, entry.operation) for entry in entries if entry.kind == "attempt"]
    assert len(attempts) == 6
    assert attempts[2:4] == [("card_charge", "try"), ("card_charge", "confirm")]


def test_lists_filter_and_page_without_gaps_or_repeats(service: Service, key: str) -> None:
    customer = f"customer-{key}"
    made = [
        create(service, create_request(f"{key}-{n}", customer_id=customer)).payment.payment_id
        for n in range(7)
    ]
    listed: list[str] = []
    token = ""
    while True:
        request = pb.ListPaymentsRequest(
            customer_id=customer,
            states=[pb.PAYMENT_STATE_PAID],
            page_size=3,
            page_token=token,
        )
        page = service.stub().ListPayments(request, timeout=DEADLINE_S)
        listed += [payment.payment_id for payment in page.payments]
        token = page.next_page_token
        if not token:
            break
    assert listed == list(reversed(made))


def test_lists_filter_by_order_merchant_and_time(service: Service, key: str) -> None:
    payment = create(service, create_request(key, order_id=key, merchant_id=f"m-{key}")).payment
    after = Timestamp(seconds=payment.create_time.seconds + 1)

    def listed(**filters: Any) -> list[str]:
        request = pb.ListPaymentsRequest(**filters)
        page = service.stub().ListPayments(request, timeout=DEADLINE_S)
        return [found.payment_id for found in page.payments]

    assert listed(order_id=key) == [payment.payment_id]
    assert listed(merchant_id=f"m-{key}") == [payment.payment_id]
    assert listed(order_id=key, create_time_from=payment.create_time) == [payment.payment_id]
    assert listed(order_id=key, create_time_to=payment.create_time) == []
    assert listed(order_id=key, create_time_from=after) == []
    assert listed(order_id=key, states=[pb.PAYMENT_STATE_FAILED]) == []


@pytest.mark.parametrize("token", ["x", "AAAA", "bm90IGEgdG9rZW4=", "é"])
def test_a_bad_page_token_is_refused(service: Service, token: str) -> None:
    request = pb.ListPaymentsRequest(page_token=token)
    problem = refused(lambda: service.stub().ListPayments(request, timeout=DEADLINE_S))
    assert problem.fields == {"page_token": "BAD_PAGE_TOKEN"}


def test_a_page_token_goes_with_its_filters(service: Service, key: str) -> None:
    for number in range(2):
        create(service, create_request(f"{key}-{number}", customer_id=key))
    first = pb.ListPaymentsRequest(customer_id=key, page_size=1)
    token = service.stub().ListPayments(first, timeout=DEADLINE_S).next_page_token
    other = pb.ListPaymentsRequest(customer_id="other", page_size=1, page_token=token)
    problem = refused(lambda: service.stub().ListPayments(other, timeout=DEADLINE_S))
    assert problem.fields == {"page_token": "BAD_PAGE_TOKEN"}


def test_another_callers_payment_does_not_exist(service: Service, key: str) -> None:
    payment_id = create(service, create_request(key)).payment.payment_id
    rival = service.stub("rival")
    calls: list[Callable[[], object]] = [
        lambda: rival.GetPayment(pb.GetPaymentRequest(payment_id=payment_id), timeout=5),
        lambda: rival.CancelPayment(pb.CancelPaymentRequest(payment_id=payment_id), timeout=5),
        lambda: rival.ListJournal(pb.ListJournalRequest(payment_id=payment_id), timeout=5),
        lambda: list(rival.WatchPayment(pb.WatchPaymentRequest(payment_id=payment_id), timeout=5)),
    ]
    for call in calls:
        problem = refused(call)
        assert (problem.status, problem.reason) == (
            grpc.StatusCode.NOT_FOUND,
            "PAYMENT_NOT_FOUND",
        )
    page = rival.ListPayments(pb.ListPaymentsRequest(page_size=500), timeout=5)
    assert payment_id not in {payment.payment_id for payment in page.payments}


def test_two_callers_may_use_the_same_key(service: Service, key: str) -> None:
    mine = create(service, create_request(key))
    theirs = service.stub("rival").CreatePayment(create_request(key), timeout=DEADLINE_S)
    assert theirs.payment.payment_id != mine.payment.payment_id
    assert not theirs.replayed


@pytest.mark.parametrize("caller", ["", "not-a-key"])
def test_a_missing_or_unknown_key_is_refused(service: Service, caller: str, key: str) -> None:
    stub = service.stub(caller)
    problem = refused(lambda: stub.CreatePayment(create_request(key), timeout=DEADLINE_S))
    assert (problem.status, problem.reason) == (
        grpc.StatusCode.UNAUTHENTICATED,
        "UNAUTHENTICATED",
    )


def test_no_deadline_is_refused_and_nothing_is_written(service: Service, key: str) -> None:
    problem = refused(lambda: service.stub().CreatePayment(create_request(key)))
    assert problem.reason == "DEADLINE_REQUIRED"
    assert find(service, key) == []


def test_a_deadline_that_is_too_near_writes_nothing(service: Service, key: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        create_with_deadline(service, create_request(key), 0.05)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert find(service, key) == []


def tender(method: str = "points_reserve", source: str = "alice", units: int = 1000) -> pb.Tender:
    return pb.Tender(method=method, source=source, amount=yen(units))


def money(units: int, currency: str = "JPY") -> pb.Money:
    return pb.Money(currency_code=currency, minor_units=units)


POINTS = {"flow": "points_only", "tenders": [tender()]}
BAD_INPUT: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "amount zero": (
        {"amount": money(0)},
        {"amount.minor_units": "OUT_OF_RANGE"},
    ),
    "amount negative": (
        {"amount": money(-5)},
        {"amount.minor_units": "OUT_OF_RANGE"},
    ),
    "amount over the field's limit": (
        {"amount": money(10**12 + 1)},
        {"amount.minor_units": "OUT_OF_RANGE"},
    ),
    "amount over the server's limit": (
        POINTS | {"amount": money(10**11), "tenders": [tender(units=10**11)]},
        {"amount.minor_units": "AMOUNT_OVER_LIMIT"},
    ),
    "no amount": ({"amount": None}, {"amount": "FIELD_REQUIRED"}),
    "tenders that do not add up": (
        POINTS | {"tenders": [tender(units=999)]},
        {"tenders": "TENDERS_DO_NOT_ADD_UP"},
    ),
    "no tenders": ({"tenders": []}, {"tenders": "TOO_FEW"}),
    "a method the flow does not take": (
        POINTS | {"tenders": [tender("card_charge", "tok_ok")]},
        {"tenders[0].method": "UNKNOWN_METHOD", "tenders": "MISSING_TENDER"},
    ),
    "a method twice": (
        POINTS | {"tenders": [tender(units=500), tender(units=500)]},
        {"tenders[1].method": "DUPLICATE_METHOD"},
    ),
    "unknown currency": (
        POINTS
        | {
            "amount": money(1000, "XQX"),
            "tenders": [
                pb.Tender(method="points_reserve", source="alice", amount=money(1000, "XQX"))
            ],
        },
        {
            "amount.currency_code": "UNKNOWN_CURRENCY",
            "tenders[0].amount.currency_code": "UNKNOWN_CURRENCY",
        },
    ),
    "currency in lower case": (
        {"amount": money(1000, "jpy")},
        {"amount.currency_code": "BAD_FORMAT"},
    ),
    "mixed currencies": (
        POINTS
        | {
            "tenders": [
                pb.Tender(method="points_reserve", source="alice", amount=money(1000, "USD"))
            ]
        },
        {"tenders[0].amount.currency_code": "MIXED_CURRENCIES"},
    ),
    "missing key": ({"idempotency_key": ""}, {"idempotency_key": "FIELD_REQUIRED"}),
    "10 kB key": ({"idempotency_key": "k" * 10_240}, {"idempotency_key": "TOO_LONG"}),
    "10 kB order": ({"order_id": "o" * 10_240}, {"order_id": "TOO_LONG"}),
    "10 kB merchant": ({"merchant_id": "m" * 10_240}, {"merchant_id": "TOO_LONG"}),
    "control characters": ({"order_id": "a\x00b"}, {"order_id": "BAD_FORMAT"}),
    "a line break": ({"customer_id": "a\nb"}, {"customer_id": "BAD_FORMAT"}),
    "missing merchant": ({"merchant_id": ""}, {"merchant_id": "FIELD_REQUIRED"}),
    "missing flow": ({"flow": ""}, {"flow": "FIELD_REQUIRED"}),
    "10 kB flow": ({"flow": "f" * 10_240}, {"flow": "TOO_LONG"}),
    "missing currency": (
        {"amount": money(1000, "")},
        {"amount.currency_code": "FIELD_REQUIRED"},
    ),
    "unknown flow": ({"flow": "barter"}, {"flow": "UNKNOWN_FLOW"}),
    "card number": (
        {
            "tenders": [
                tender(units=600),
                tender("card_charge", "4242-4242-4242-4242", 400),
            ]
        },
        {"tenders[1].source": "CARD_NUMBER"},
    ),
    "unknown order conflict": ({"order_conflict": 9}, {"order_conflict": "UNKNOWN_VALUE"}),
    "larger than 64 KiB": (
        {"tenders": [tender(source="s" * 128) for _ in range(500)]},
        {"request": "REQUEST_TOO_LARGE"},
    ),
}


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_names_the_field_and_writes_nothing(
    service: Service, key: str, case: str
) -> None:
    change, fields = BAD_INPUT[case]
    before = count_payments(service)
    problem = refused(lambda: create(service, create_request(**({"key": key} | change))))
    assert (problem.status, problem.reason) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "INVALID_REQUEST",
    )
    assert problem.fields == fields
    assert "4242" not in problem.message
    assert len(problem.message) < 2000
    assert count_payments(service) == before


@pytest.mark.parametrize("count", [8, 16, 20, 1000, 30_000])
def test_however_much_is_wrong_the_refusal_arrives(service: Service, count: int) -> None:
    bad = create_request("key", tenders=[pb.Tender()] * count, items=[pb.Item()] * min(count, 16))
    problem = refused(lambda: service.stub().CreatePayment(bad, timeout=DEADLINE_S))
    assert (problem.status, problem.reason) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "INVALID_REQUEST",
    )
    assert any(field.startswith("tenders") for field in problem.fields)


@pytest.mark.parametrize("payment_id", ["", "x", "a" * 10_240])
def test_a_payment_id_that_is_not_one_is_refused(service: Service, payment_id: str) -> None:
    problem = refused(lambda: get(service, payment_id))
    assert problem.fields.keys() == {"payment_id"}


@pytest.mark.parametrize(
    "data",
    [b"\xff\xff\xff\xff", b"\x0a\xff", b"\x0a\x02\xc3\x28", b"\x0a\x03\xed\xa0\x80"],
    ids=["garbage", "truncated", "not UTF-8", "a lone surrogate"],
)
def test_malformed_bytes_are_refused_with_a_reason_after_the_credentials(
    service: Service, data: bytes
) -> None:
    with grpc.insecure_channel(service.address) as channel:
        call = channel.unary_unary("/kessai.payments.v1.PaymentService/CreatePayment", None, None)
        problem = refused(lambda: call(data, timeout=5))
        assert problem.reason == "UNAUTHENTICATED"
        known = (("authorization", "Bearer shop-key"),)
        problem = refused(lambda: call(data, timeout=5, metadata=known))
    assert problem.status is grpc.StatusCode.INVALID_ARGUMENT
    assert problem.fields == {"request": "MALFORMED"}


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("a\u2028b", "BAD_FORMAT"),
        ("a\u202eb", "BAD_FORMAT"),
        ("4111 1111 1111 1111", "CARD_NUMBER"),
    ],
)
def test_a_cancel_reason_is_one_plain_line(service: Service, reason: str, code: str) -> None:
    request = pb.CancelPaymentRequest(
        payment_id="019a0000-0000-7000-8000-000000000000", reason=reason
    )
    problem = refused(lambda: service.stub().CancelPayment(request, timeout=5))
    assert problem.fields == {"reason": code}
    assert "4111" not in problem.message


def test_secrets_in_requests_are_found_nowhere(
    service: Service, key: str, url: str, faults: dict[Any, Fault]
) -> None:
    secret = "tok_planted-secret-8731"
    request = create_request(
        key,
        tenders=[tender(units=600), tender("card_charge", secret, 400)],
    )
    # While the card's Try is under way the token is needed, so it is in the database, sealed.
    faults["card_charge", Operation.TRY] = LoseRequest()
    create_with_deadline(service, request, 0.5)
    engine = sa.create_engine(url)
    try:
        with engine.connect() as connection:
            for table in ("transactions", "steps", "journal", "outbox"):
                rows = connection.execute(sa.text(f"SELECT * FROM {table}")).all()
                assert rows or table == "outbox"
                assert secret not in repr([tuple(map(readable, row)) for row in rows])
    finally:
        engine.dispose()
    paid = watched_to_the_end(service, find(service, key)[0].payment_id)[-1]
    assert paid.state == pb.PAYMENT_STATE_PAID
    assert secret not in str(paid)
    assert secret not in repr(service.observer.troubles)


def readable(value: object) -> object:
    return bytes(value) if isinstance(value, memoryview) else value


def test_health_and_reflection_are_served(service: Service) -> None:
    with grpc.insecure_channel(service.address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for name in ("", "kessai.payments.v1.PaymentService"):
            answer = health.Check(health_pb2.HealthCheckRequest(service=name), timeout=5)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        database = ProtoReflectionDescriptorDatabase(channel)
        assert "kessai.payments.v1.PaymentService" in database.get_services()


def test_more_calls_than_the_limit_are_refused_with_a_reason(
    new_database: Callable[[], str],
) -> None:
    def script(_id: TransactionId, _call: Call, attempt: int) -> Fault | None:
        return LoseRequest() if attempt == 1 else None

    with running(new_database(), script, max_in_flight=2) as service:
        first = [
            service.stub().CreatePayment.future(create_request(f"key-{n}"), timeout=DEADLINE_S)
            for n in range(2)
        ]
        while service.on_loop(lambda: service.coordinator.driver.in_flight) < 2:
            time.sleep(0.01)  # polls, bounded by the test's time limit
        problem = refused(lambda: create(service, create_request("key-3")))
        assert (problem.status, problem.reason, problem.retry) == (
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "TOO_MANY_IN_FLIGHT",
            True,
        )
        assert {call.result().payment.state for call in first} == {pb.PAYMENT_STATE_PAID}


def test_a_payment_left_by_a_dead_process_is_finished_by_the_next(
    new_database: Callable[[], str],
) -> None:
    url = new_database()

    def stuck(_id: TransactionId, call: Call, _attempt: int) -> Fault | None:
        return LoseReply() if call.operation is Operation.CONFIRM else None

    with running(url, stuck, lease_s=2.5) as service:
        request = create_request("key-1")
        waiting = create_with_deadline(service, request, 1.0)
        assert waiting.payment.state == pb.PAYMENT_STATE_CAPTURING
        before = dict(service.participants)
    with running(url, lease_s=2.5) as service:
        for name, model in before.items():
            service.participants[name].records = model.records
            service.participants[name].amounts = model.amounts
        last = watched_to_the_end(service, waiting.payment.payment_id)[-1]
        assert last.state == pb.PAYMENT_STATE_PAID
        assert create(service, request).payment == last
