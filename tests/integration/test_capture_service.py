"""Manual capture over a real socket and a real PostgreSQL: what callers can do, and do wrong."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from kessai.payments.v1 import payments_pb2 as pb

from coordinator.domain.phase import Operation
from fault_injection.model_participant import Defer, Refuse
from tests.support.operations import (
    CARD,
    DEADLINE_S,
    MERCHANT,
    POINTS,
    Faults,
    cancel,
    capture,
    confirmed_of,
    create,
    exact,
    finals_of,
    first_attempt,
    get,
    in_order,
    left_alone,
    money,
    refused,
    reserve,
    seconds,
    watched,
)
from tests.support.service import Service, create_request, problem_of, running, yen

FAILED_PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION
NOBODYS = "0197f2a0-0000-7000-8000-00000000dead"


@pytest.fixture(scope="module")
def faults() -> Faults:
    return {}


@pytest.fixture(scope="module")
def service(new_database: Callable[[], str], faults: Faults) -> Iterator[Service]:
    script = first_attempt(faults, refunds=False)
    with running(new_database(), script) as service:
        yield service


@pytest.fixture(autouse=True)
def no_faults_left(faults: Faults) -> Iterator[None]:
    yield
    faults.clear()


@pytest.fixture
def key(request: pytest.FixtureRequest) -> str:
    """An idempotency key of the test's own."""
    return f"key-{abs(hash(request.node.nodeid))}"


def test_a_reserved_payment_is_held_everywhere_and_taken_nowhere(
    service: Service, key: str
) -> None:
    payment = reserve(service, key)
    assert payment.capture == pb.CAPTURE_MODE_MANUAL
    called = [step for step in payment.steps if step.phase != "notify"]
    assert {step.status for step in called} == {pb.STEP_STATUS_HELD}
    assert not payment.HasField("captured_amount")
    assert confirmed_of(service, payment.payment_id) == {}


def test_a_capture_without_an_amount_takes_all_of_it(service: Service, key: str) -> None:
    payment_id = reserve(service, key).payment_id
    answer = capture(service, payment_id)
    assert answer.payment.state == pb.PAYMENT_STATE_PAID
    assert not answer.replayed
    assert answer.payment.captured_amount == yen(1000)
    assert confirmed_of(service, payment_id) == {POINTS: 600, CARD: 400, MERCHANT: 1000}


PARTS: dict[str, tuple[dict[str, Any], dict[str, int]]] = {
    "pro rata is the default": ({"amount": yen(500)}, {POINTS: 300, CARD: 200}),
    "pro rata": (
        {"amount": yen(501), "split": pb.Split(pro_rata=pb.Split.ProRata())},
        {POINTS: 301, CARD: 200},
    ),
    "in order": ({"amount": yen(450), "split": in_order(CARD)}, {POINTS: 50, CARD: 400}),
    "exactly so": (
        {"amount": yen(300), "split": exact(points_reserve=1, card_charge=299)},
        {POINTS: 1, CARD: 299},
    ),
    "shares for an amount": ({"split": exact(card_charge=7)}, {POINTS: 0, CARD: 7}),
    "one minor unit": ({"amount": yen(1)}, {POINTS: 1, CARD: 0}),
}


@pytest.mark.parametrize("case", PARTS)
def test_a_part_is_taken_as_it_is_divided_and_the_rest_given_back(
    service: Service, key: str, case: str
) -> None:
    fields, shares = PARTS[case]
    payment_id = reserve(service, key).payment_id
    payment = capture(service, payment_id, **fields).payment
    assert payment.state == pb.PAYMENT_STATE_PAID
    assert payment.captured_amount == yen(sum(shares.values()))
    assert finals_of(payment) == shares | {MERCHANT: sum(shares.values())}
    final = {phase: minor for phase, minor in finals_of(payment).items() if minor}
    assert confirmed_of(service, payment_id) == final


def test_a_tender_of_which_nothing_is_taken_is_cancelled(service: Service, key: str) -> None:
    payment_id = reserve(service, key).payment_id
    payment = capture(service, payment_id, split=exact(points_reserve=600)).payment
    statuses = {step.phase: step.status for step in payment.steps}
    assert statuses[CARD] == pb.STEP_STATUS_CANCELLED
    assert service.participants["card"].records[payment_id, CARD] == "CANCELLED"  # type: ignore[index]


def test_a_capture_that_the_card_refuses_undoes_the_payment(
    service: Service, key: str, faults: Faults
) -> None:
    payment_id = reserve(service, key).payment_id
    faults[CARD, Operation.CONFIRM] = Refuse("CARD_EXPIRED")
    payment = capture(service, payment_id).payment
    assert (payment.state, payment.failure.code) == (pb.PAYMENT_STATE_FAILED, "CARD_EXPIRED")
    assert not payment.HasField("captured_amount")
    assert confirmed_of(service, payment_id) == {}


def test_a_capture_may_be_repeated_with_its_key(service: Service, key: str) -> None:
    payment_id = reserve(service, key).payment_id
    first = capture(service, payment_id, amount=yen(700))
    again = capture(service, payment_id, amount=yen(700))
    assert again.replayed
    assert again.payment == first.payment


def test_a_repeated_exact_split_may_name_its_shares_in_another_order(
    service: Service, key: str
) -> None:
    payment_id = reserve(service, key).payment_id
    capture(service, payment_id, split=exact(points_reserve=2, card_charge=1))
    assert capture(service, payment_id, split=exact(card_charge=1, points_reserve=2)).replayed


def test_a_second_capture_with_another_key_is_refused(service: Service, key: str) -> None:
    payment_id = reserve(service, key).payment_id
    before = capture(service, payment_id).payment
    problem = refused(lambda: capture(service, payment_id, "another"))
    assert (problem.status, problem.reason) == (FAILED_PRECONDITION, "ALREADY_CAPTURED")
    assert problem.facts["payment_id"] == payment_id
    assert get(service, payment_id) == before


OTHER_BODIES: dict[str, tuple[dict[str, Any], str]] = {
    "amount": ({"amount": yen(701)}, "amount.minor_units"),
    "split": ({"amount": yen(700), "split": in_order(CARD)}, "split"),
    "no amount": ({}, "amount.currency_code,amount.minor_units"),
}


@pytest.mark.parametrize("case", OTHER_BODIES)
def test_the_same_key_with_another_body_is_refused_naming_the_fields(
    service: Service, key: str, case: str
) -> None:
    fields, named = OTHER_BODIES[case]
    payment_id = reserve(service, key).payment_id
    before = capture(service, payment_id, amount=yen(700)).payment
    problem = refused(lambda: capture(service, payment_id, **fields))
    assert problem.status is grpc.StatusCode.ALREADY_EXISTS
    assert problem.reason == "IDEMPOTENCY_KEY_REUSED"
    assert sorted(problem.facts["fields"].split(",")) == named.split(",")
    assert get(service, payment_id) == before


def test_a_capture_after_a_cancel_is_refused(service: Service, key: str) -> None:
    payment_id = reserve(service, key).payment_id
    before = cancel(service, payment_id)
    problem = refused(lambda: capture(service, payment_id))
    assert (problem.status, problem.reason) == (FAILED_PRECONDITION, "PAYMENT_RELEASED")
    assert problem.facts["state"] == "FAILED"
    assert problem.facts["failure_code"] == "CANCELLED_BY_CALLER"
    assert get(service, payment_id) == before


def test_a_capture_of_a_payment_that_was_refused_is_refused(
    service: Service, key: str, faults: Faults
) -> None:
    faults[POINTS, Operation.TRY] = Refuse()
    before = create(service, key, capture=pb.CAPTURE_MODE_MANUAL)
    problem = refused(lambda: capture(service, before.payment_id))
    assert problem.reason == "PAYMENT_RELEASED"
    assert problem.facts["failure_code"] == "REFUSED_BY_TEST"
    assert get(service, before.payment_id) == before


def test_a_capture_after_the_reservation_was_released_is_refused(
    service: Service, key: str
) -> None:
    payment_id = reserve(service, key, reserve_for=seconds(1)).payment_id
    before = watched(service, payment_id)[-1]
    assert (before.state, before.failure.code) == (pb.PAYMENT_STATE_FAILED, "RESERVATION_EXPIRED")
    problem = refused(lambda: capture(service, payment_id))
    assert (problem.status, problem.reason) == (FAILED_PRECONDITION, "PAYMENT_RELEASED")
    assert problem.facts["failure_code"] == "RESERVATION_EXPIRED"
    assert get(service, payment_id) == before


def test_a_capture_after_the_reservations_time_is_refused_before_it_is_released(
    new_database: Callable[[], str], key: str
) -> None:
    # Nobody looks after the payment here, so that it stays RESERVED for ever.
    with running(new_database(), patience_s=0.0, recover_interval_s=3600.0) as service:
        before = reserve(service, key, reserve_for=seconds(1))
        done = threading.Event()
        now = service.coordinator.servicer._capture._clock.now
        until = before.reserve_until.ToDatetime(tzinfo=now().tzinfo)
        while service.on_loop(now) < until:
            done.wait(0.02)  # polls the service's clock, bounded by the test's time limit
        problem = refused(lambda: capture(service, before.payment_id))
        assert (problem.status, problem.reason) == (FAILED_PRECONDITION, "RESERVATION_EXPIRED")
        assert problem.facts["reserve_until"].startswith(until.isoformat()[:19])
        assert get(service, before.payment_id) == before


def test_a_capture_of_an_automatic_payment_is_refused(service: Service, key: str) -> None:
    before = create(service, key)
    problem = refused(lambda: capture(service, before.payment_id))
    assert (problem.status, problem.reason) == (FAILED_PRECONDITION, "WRONG_STATE")
    assert get(service, before.payment_id) == before


def test_a_capture_of_a_payment_that_is_not_reserved_yet_is_refused(
    service: Service, key: str, faults: Faults
) -> None:
    faults[CARD, Operation.TRY] = Defer(3600.0)
    waiting = create(service, key, 1.0, capture=pb.CAPTURE_MODE_MANUAL)
    assert waiting.state == pb.PAYMENT_STATE_CREATED
    before = left_alone(service, waiting.payment_id)
    problem = refused(lambda: capture(service, before.payment_id))
    assert (problem.reason, problem.facts["state"]) == ("WRONG_STATE", "CREATED")
    assert get(service, before.payment_id) == before
    cancel(service, before.payment_id)


def test_a_capture_of_a_payment_that_nobody_made_is_refused(service: Service) -> None:
    problem = refused(lambda: capture(service, NOBODYS))
    assert (problem.status, problem.reason) == (grpc.StatusCode.NOT_FOUND, "PAYMENT_NOT_FOUND")


def test_a_capture_of_another_callers_payment_is_refused(service: Service, key: str) -> None:
    before = reserve(service, key)
    problem = refused(lambda: capture(service, before.payment_id, caller="rival"))
    assert (problem.status, problem.reason) == (grpc.StatusCode.NOT_FOUND, "PAYMENT_NOT_FOUND")
    assert get(service, before.payment_id) == before


def test_a_capture_without_a_deadline_is_refused(service: Service, key: str) -> None:
    before = reserve(service, key)
    request = pb.CapturePaymentRequest(payment_id=before.payment_id, idempotency_key="c")
    problem = refused(lambda: service.stub().CapturePayment(request))
    assert problem.reason == "DEADLINE_REQUIRED"
    assert get(service, before.payment_id) == before


def twice(method: str) -> pb.Split:
    shares = [pb.Share(method=method, amount=yen(1)), pb.Share(method=method, amount=yen(2))]
    return pb.Split(exact=pb.Split.Exact(shares=shares))


def dollars(method: str) -> pb.Split:
    shares = [pb.Share(method=method, amount=money(5, "USD"))]
    return pb.Split(exact=pb.Split.Exact(shares=shares))


BAD_PARTS: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "more than is held": (
        {"amount": yen(1001)},
        {"amount.minor_units": "AMOUNT_OVER_RESERVED"},
    ),
    "a share above its hold": (
        {"split": exact(points_reserve=1, card_charge=401)},
        {"split.exact.shares": "AMOUNT_OVER_RESERVED"},
    ),
    "an amount and a share above the hold": (
        {"amount": yen(1001), "split": exact(card_charge=1001)},
        {
            "amount.minor_units": "AMOUNT_OVER_RESERVED",
            "split.exact.shares": "AMOUNT_OVER_RESERVED",
        },
    ),
    "another currency": (
        {"amount": money(500, "USD")},
        {"amount.currency_code": "MIXED_CURRENCIES"},
    ),
    "a share in another currency": (
        {"split": dollars(CARD)},
        {"split.exact.shares[0].amount.currency_code": "MIXED_CURRENCIES"},
    ),
    "an unknown currency": (
        {"amount": money(500, "XQX")},
        {"amount.currency_code": "MIXED_CURRENCIES"},
    ),
    "an unknown method in exact shares": (
        {"split": exact(barter=5)},
        {"split.exact.shares": "UNKNOWN_METHOD"},
    ),
    "an unknown method in order": (
        {"split": in_order(CARD, "barter")},
        {"split.in_order.methods": "UNKNOWN_METHOD"},
    ),
    "the merchant as a method": (
        {"split": exact(merchant_credit=5)},
        {"split.exact.shares": "UNKNOWN_METHOD"},
    ),
    "a method twice in exact shares": (
        {"split": twice(CARD)},
        {"split.exact.shares": "DUPLICATE_METHOD"},
    ),
    "a method twice in order": (
        {"split": in_order(CARD, CARD)},
        {"split.in_order.methods": "DUPLICATE_METHOD"},
    ),
    "shares that do not add up": (
        {"amount": yen(500), "split": exact(points_reserve=300, card_charge=199)},
        {"split.exact.shares": "SHARES_DO_NOT_ADD_UP"},
    ),
    "zero": ({"amount": money(0)}, {"amount.minor_units": "OUT_OF_RANGE"}),
    "a negative amount": ({"amount": money(-1)}, {"amount.minor_units": "OUT_OF_RANGE"}),
    "a share of zero": (
        {"split": exact(card_charge=0)},
        {"split.exact.shares[0].amount.minor_units": "OUT_OF_RANGE"},
    ),
    "a negative share": (
        {"amount": yen(1), "split": exact(card_charge=-1, points_reserve=2)},
        {"split.exact.shares[0].amount.minor_units": "OUT_OF_RANGE"},
    ),
    "no currency": ({"amount": money(5, "")}, {"amount.currency_code": "FIELD_REQUIRED"}),
    "a split without a rule": ({"split": pb.Split()}, {"split.rule": "FIELD_REQUIRED"}),
    "no methods in order": (
        {"split": in_order()},
        {"split.in_order.methods": "TOO_FEW"},
    ),
    "no shares": ({"split": exact()}, {"split.exact.shares": "TOO_FEW"}),
    "no key": ({"key": ""}, {"idempotency_key": "FIELD_REQUIRED"}),
}


@pytest.mark.parametrize("case", BAD_PARTS)
def test_a_bad_capture_names_the_field_and_changes_nothing(
    service: Service, key: str, case: str
) -> None:
    fields, expected = BAD_PARTS[case]
    before = reserve(service, key)
    problem = refused(lambda: capture(service, before.payment_id, **fields))
    assert (problem.status, problem.reason) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "INVALID_REQUEST",
    )
    assert problem.fields == expected
    assert get(service, before.payment_id) == before


BAD_RESERVATIONS: dict[str, Duration] = {
    "too short": Duration(nanos=999_999_999),
    "zero": Duration(),
    "negative": Duration(seconds=-5),
    "longer than the participants hold": seconds(7 * 86_400 + 1),
    "longer than any duration": Duration(seconds=2**62),
    "nanoseconds that are none": Duration(seconds=1, nanos=2_000_000_000),
    "signs that differ": Duration(seconds=2, nanos=-1),
}


@pytest.mark.parametrize("case", BAD_RESERVATIONS)
def test_a_bad_reservation_time_is_refused_and_writes_nothing(
    service: Service, key: str, case: str
) -> None:
    request = create_request(
        key, capture=pb.CAPTURE_MODE_MANUAL, reserve_for=BAD_RESERVATIONS[case], customer_id=key
    )
    problem = refused(lambda: service.stub().CreatePayment(request, timeout=DEADLINE_S))
    assert (problem.reason, problem.fields) == ("INVALID_REQUEST", {"reserve_for": "OUT_OF_RANGE"})
    mine = pb.ListPaymentsRequest(customer_id=key)
    assert list(service.stub().ListPayments(mine, timeout=DEADLINE_S).payments) == []


def test_a_reservation_lasts_as_long_as_was_asked(service: Service, key: str) -> None:
    payment = reserve(service, key, reserve_for=seconds(7 * 86_400))
    lasts = payment.reserve_until.ToDatetime() - payment.create_time.ToDatetime()
    assert lasts.total_seconds() == 7 * 86_400


def test_the_same_key_with_another_reservation_time_is_refused(service: Service, key: str) -> None:
    reserve(service, key, reserve_for=seconds(3600.25))
    other = create_request(key, capture=pb.CAPTURE_MODE_MANUAL, reserve_for=seconds(3600.251))
    problem = refused(lambda: service.stub().CreatePayment(other, timeout=DEADLINE_S))
    assert (problem.reason, problem.facts["fields"]) == ("IDEMPOTENCY_KEY_REUSED", "reserve_for")


def test_cancel_of_a_captured_payment_is_refused(service: Service, key: str) -> None:
    payment_id = reserve(service, key).payment_id
    before = capture(service, payment_id, amount=yen(10)).payment
    problem = refused(lambda: cancel(service, payment_id))
    assert (problem.status, problem.reason) == (FAILED_PRECONDITION, "WRONG_STATE")
    assert problem.facts["state"] == "PAID"
    assert get(service, payment_id) == before


def at_once(*deeds: Callable[[], pb.Payment]) -> list[str]:
    """What each of these deeds came to, begun at one instant in a thread each."""
    outcomes = [""] * len(deeds)
    barrier = threading.Barrier(len(deeds))

    def do(place: int) -> None:
        barrier.wait(10)
        try:
            outcomes[place] = pb.PaymentState.Name(deeds[place]().state)
        except grpc.RpcError as error:
            outcomes[place] = problem_of(error).reason

    threads = [threading.Thread(target=do, args=(place,)) for place in range(len(deeds))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


def test_of_a_capture_and_a_cancel_at_one_instant_exactly_one_wins(
    service: Service, key: str
) -> None:
    for number in range(40):
        payment_id = reserve(service, f"{key}-{number}").payment_id
        deeds = [
            lambda: capture(service, payment_id).payment,  # noqa: B023 - run in this round
            lambda: cancel(service, payment_id),  # noqa: B023 - run in this round
        ]
        captured, cancelled = at_once(*deeds) if number % 2 else at_once(*deeds[::-1])[::-1]
        state = pb.PaymentState.Name(get(service, payment_id).state)
        if state == "PAYMENT_STATE_PAID":
            assert (captured, cancelled) == (state, "WRONG_STATE")
            assert confirmed_of(service, payment_id) == {POINTS: 600, CARD: 400, MERCHANT: 1000}
        else:
            assert state == "PAYMENT_STATE_FAILED"
            assert (captured, cancelled) == ("PAYMENT_RELEASED", state)
            assert confirmed_of(service, payment_id) == {}


def test_of_many_captures_at_one_instant_exactly_one_wins(service: Service, key: str) -> None:
    payment_id = reserve(service, key).payment_id
    outcomes = at_once(
        *[
            lambda number=number: (
                capture(service, payment_id, f"c-{number}", amount=yen(number + 1)).payment
            )
            for number in range(8)
        ]
    )
    assert sorted(outcomes) == ["ALREADY_CAPTURED"] * 7 + ["PAYMENT_STATE_PAID"]
    winner = outcomes.index("PAYMENT_STATE_PAID")
    assert get(service, payment_id).captured_amount == yen(winner + 1)
