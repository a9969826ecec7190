"""Refunds over a real socket and a real PostgreSQL: what callers can do, and do wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from kessai.payments.v1 import payments_pb2 as pb

from coordinator.domain.phase import Operation
from fault_injection.model_participant import Defer, LoseReply, Refuse
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
    first_attempt,
    get,
    get_refund,
    in_order,
    money,
    refund,
    refunds_of,
    refused,
    reserve,
    shares_of,
)
from tests.support.service import Problem, Service, create_request, running, yen

FAILED_PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION
NOBODYS = "0197f2a0-0000-7000-8000-00000000dead"
NOT_FOUND = (grpc.StatusCode.NOT_FOUND, "PAYMENT_NOT_FOUND")


@pytest.fixture(scope="module")
def faults() -> Faults:
    """Faults of refunds alone."""
    return {}


@pytest.fixture(scope="module")
def service(new_database: Callable[[], str], faults: Faults) -> Iterator[Service]:
    script = first_attempt(faults, refunds=True)
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


@pytest.fixture
def paid(service: Service, key: str) -> str:
    """The ID of a paid payment of 600 points and 400 yen."""
    payment = create(service, key)
    assert payment.state == pb.PAYMENT_STATE_PAID
    return payment.payment_id


def status_and_reason(problem: Problem) -> tuple[grpc.StatusCode, str]:
    return problem.status, problem.reason


def is_unchanged(service: Service, before: pb.Payment) -> bool:
    """Whether the payment is as it was, and no refund of it came to be."""
    return get(service, before.payment_id) == before and not refunds_of(service, before.payment_id)


def test_a_refund_without_an_amount_gives_everything_back(
    service: Service, paid: str, key: str
) -> None:
    answer = refund(service, paid, f"{key}-r")
    assert answer.refund.state == pb.REFUND_STATE_SUCCEEDED
    assert not answer.replayed
    assert (answer.refund.payment_id, answer.refund.ordinal) == (paid, 1)
    assert answer.refund.amount == yen(1000)
    assert shares_of(answer.refund) == {POINTS: 600, CARD: 400}
    assert confirmed_of(service, answer.refund.refund_id) == {
        POINTS: 600,
        CARD: 400,
        MERCHANT: 1000,
    }


def test_a_payment_that_was_given_back_in_full_is_refunded(
    service: Service, paid: str, key: str
) -> None:
    refund(service, paid, f"{key}-r")
    payment = get(service, paid)
    assert payment.state == pb.PAYMENT_STATE_REFUNDED
    assert (payment.captured_amount, payment.refunded_amount) == (yen(1000), yen(1000))


def test_a_payment_that_was_given_back_in_part_is_paid_and_says_how_much(
    service: Service, paid: str, key: str
) -> None:
    assert not get(service, paid).HasField("refunded_amount")
    refund(service, paid, f"{key}-r", amount=yen(250))
    payment = get(service, paid)
    assert payment.state == pb.PAYMENT_STATE_PAID
    assert payment.refunded_amount == yen(250)


PARTS: dict[str, tuple[dict[str, Any], dict[str, int]]] = {
    "pro rata is the default": ({"amount": yen(500)}, {POINTS: 300, CARD: 200}),
    "pro rata": (
        {"amount": yen(501), "split": pb.Split(pro_rata=pb.Split.ProRata())},
        {POINTS: 301, CARD: 200},
    ),
    "in order": ({"amount": yen(450), "split": in_order(CARD)}, {CARD: 400, POINTS: 50}),
    "exactly so": (
        {"amount": yen(300), "split": exact(points_reserve=1, card_charge=299)},
        {POINTS: 1, CARD: 299},
    ),
    "shares for an amount": ({"split": exact(card_charge=7)}, {CARD: 7}),
    "one minor unit": ({"amount": yen(1)}, {POINTS: 1}),
}


@pytest.mark.parametrize("case", PARTS)
def test_a_part_goes_back_as_it_is_divided(
    service: Service, paid: str, key: str, case: str
) -> None:
    fields, shares = PARTS[case]
    made = refund(service, paid, f"{key}-r", **fields).refund
    assert made.state == pb.REFUND_STATE_SUCCEEDED
    assert shares_of(made) == shares
    total = sum(shares.values())
    assert confirmed_of(service, made.refund_id) == shares | {MERCHANT: total}
    assert get(service, paid).refunded_amount == yen(total)


def test_refunds_one_after_the_other_end_exactly_at_each_tenders_amount(
    service: Service, paid: str, key: str
) -> None:
    totals = {POINTS: 0, CARD: 0}
    for number, units in enumerate((333, 1, 99, 566, None)):
        fields: dict[str, Any] = {} if units is None else {"amount": yen(units)}
        for method, share in shares_of(
            refund(service, paid, f"{key}-{number}", **fields).refund
        ).items():
            totals[method] += share
    assert totals == {POINTS: 600, CARD: 400}
    assert get(service, paid).state == pb.PAYMENT_STATE_REFUNDED


def test_of_a_payment_captured_in_part_only_that_part_can_be_given_back(
    service: Service, key: str
) -> None:
    payment_id = reserve(service, key).payment_id
    capture(service, payment_id, split=exact(points_reserve=100, card_charge=50))
    problem = refused(lambda: refund(service, payment_id, f"{key}-1", amount=yen(151)))
    assert (problem.reason, problem.facts["refundable_minor"]) == ("REFUND_EXCEEDS_PAYMENT", "150")
    made = refund(service, payment_id, f"{key}-2").refund
    assert shares_of(made) == {POINTS: 100, CARD: 50}
    assert get(service, payment_id).state == pb.PAYMENT_STATE_REFUNDED


def test_a_tender_of_which_nothing_was_captured_gets_nothing_back(
    service: Service, key: str
) -> None:
    payment_id = reserve(service, key).payment_id
    before = capture(service, payment_id, split=exact(points_reserve=100)).payment
    problem = refused(lambda: refund(service, payment_id, f"{key}-1", split=exact(card_charge=1)))
    assert problem.reason == "REFUND_EXCEEDS_TENDER"
    assert (problem.facts["method"], problem.facts["refundable_minor"]) == (CARD, "0")
    assert is_unchanged(service, before)
    made = refund(service, payment_id, f"{key}-2").refund
    assert shares_of(made) == {POINTS: 100}


def test_a_refund_may_be_repeated_with_its_key(service: Service, paid: str, key: str) -> None:
    first = refund(service, paid, f"{key}-r", amount=yen(10))
    again = refund(service, paid, f"{key}-r", amount=yen(10))
    assert again.replayed
    assert again.refund == first.refund
    assert len(refunds_of(service, paid)) == 1


def test_a_refund_of_all_may_be_repeated_when_nothing_is_left(
    service: Service, paid: str, key: str
) -> None:
    first = refund(service, paid, f"{key}-r")
    again = refund(service, paid, f"{key}-r")
    assert again.replayed
    assert again.refund == first.refund


def test_two_callers_may_use_the_same_key(service: Service, paid: str, key: str) -> None:
    request = create_request(f"{key}-r")
    theirs = service.stub("rival").CreatePayment(request, timeout=DEADLINE_S).payment
    mine = refund(service, paid, f"{key}-r")
    assert not mine.replayed
    assert mine.refund.refund_id != theirs.payment_id


REUSED: dict[str, tuple[dict[str, Any], str]] = {
    "amount": ({"amount": yen(11)}, "amount.minor_units"),
    "split": ({"amount": yen(10), "split": in_order(CARD)}, "split"),
}


@pytest.mark.parametrize("case", REUSED)
def test_the_same_key_with_another_body_is_refused_naming_the_fields(
    service: Service, paid: str, key: str, case: str
) -> None:
    fields, named = REUSED[case]
    first = refund(service, paid, f"{key}-r", amount=yen(10)).refund
    before = get(service, paid)
    problem = refused(lambda: refund(service, paid, f"{key}-r", **fields))
    assert status_and_reason(problem) == (
        grpc.StatusCode.ALREADY_EXISTS,
        "IDEMPOTENCY_KEY_REUSED",
    )
    assert problem.facts["fields"] == named
    assert get(service, paid) == before
    assert refunds_of(service, paid) == [first]


def test_a_refunds_key_for_another_payment_is_refused(
    service: Service, paid: str, key: str
) -> None:
    refund(service, paid, f"{key}-r", amount=yen(10))
    other = create(service, f"{key}-2")
    problem = refused(lambda: refund(service, other.payment_id, f"{key}-r", amount=yen(10)))
    assert (problem.reason, problem.facts["fields"]) == ("IDEMPOTENCY_KEY_REUSED", "payment_id")
    assert is_unchanged(service, other)


def test_a_payments_key_for_a_refund_is_refused(service: Service, paid: str, key: str) -> None:
    before = get(service, paid)
    problem = refused(lambda: refund(service, paid, key))
    assert status_and_reason(problem) == (
        grpc.StatusCode.ALREADY_EXISTS,
        "IDEMPOTENCY_KEY_REUSED",
    )
    assert is_unchanged(service, before)


def test_a_refunds_key_for_a_payment_is_refused(service: Service, paid: str, key: str) -> None:
    made = refund(service, paid, f"{key}-r", amount=yen(10)).refund
    problem = refused(lambda: create(service, f"{key}-r"))
    assert status_and_reason(problem) == (
        grpc.StatusCode.ALREADY_EXISTS,
        "IDEMPOTENCY_KEY_REUSED",
    )
    assert get_refund(service, made.refund_id) == made


def test_more_than_was_paid_cannot_be_given_back(service: Service, paid: str, key: str) -> None:
    before = get(service, paid)
    problem = refused(lambda: refund(service, paid, f"{key}-r", amount=yen(1001)))
    assert status_and_reason(problem) == (FAILED_PRECONDITION, "REFUND_EXCEEDS_PAYMENT")
    assert problem.facts["refundable_minor"] == "1000"
    assert is_unchanged(service, before)


def test_more_than_is_left_cannot_be_given_back(service: Service, paid: str, key: str) -> None:
    first = refund(service, paid, f"{key}-1", amount=yen(600)).refund
    before = get(service, paid)
    problem = refused(lambda: refund(service, paid, f"{key}-2", amount=yen(401)))
    assert status_and_reason(problem) == (FAILED_PRECONDITION, "REFUND_EXCEEDS_PAYMENT")
    assert problem.facts["refundable_minor"] == "400"
    assert get(service, paid) == before
    assert refunds_of(service, paid) == [first]


def test_when_nothing_is_left_a_refund_of_all_that_is_left_is_refused(
    service: Service, paid: str, key: str
) -> None:
    refund(service, paid, f"{key}-1")
    before = get(service, paid)
    problem = refused(lambda: refund(service, paid, f"{key}-2"))
    assert status_and_reason(problem) == (FAILED_PRECONDITION, "REFUND_EXCEEDS_PAYMENT")
    assert problem.facts["refundable_minor"] == "0"
    assert get(service, paid) == before


def test_a_share_above_what_is_left_of_its_tender_is_refused(
    service: Service, paid: str, key: str
) -> None:
    refund(service, paid, f"{key}-1", split=exact(card_charge=399))
    before = get(service, paid)
    split = exact(points_reserve=100, card_charge=2)
    problem = refused(lambda: refund(service, paid, f"{key}-2", split=split))
    assert status_and_reason(problem) == (FAILED_PRECONDITION, "REFUND_EXCEEDS_TENDER")
    assert (problem.facts["method"], problem.facts["refundable_minor"]) == (CARD, "1")
    assert get(service, paid) == before


def test_a_refund_under_way_counts_until_it_has_failed(
    service: Service, paid: str, key: str, faults: Faults
) -> None:
    faults[CARD, Operation.TRY] = Defer(3600.0)
    waiting = refund(service, paid, f"{key}-1", deadline_s=1.0, amount=yen(900)).refund
    assert waiting.state == pb.REFUND_STATE_CREATED
    assert not get(service, paid).HasField("refunded_amount")
    problem = refused(lambda: refund(service, paid, f"{key}-2", amount=yen(101)))
    assert (problem.reason, problem.facts["refundable_minor"]) == ("REFUND_EXCEEDS_PAYMENT", "100")


@pytest.mark.parametrize("phase", [MERCHANT, POINTS, CARD])
def test_a_refund_that_a_participant_refuses_fails_with_its_reason_and_frees_the_amount(
    service: Service, paid: str, key: str, faults: Faults, phase: str
) -> None:
    before = get(service, paid)
    faults[phase, Operation.TRY] = Refuse()
    failed = refund(service, paid, f"{key}-1").refund
    assert failed.state == pb.REFUND_STATE_FAILED
    assert failed.failure == pb.Failure(
        code="REFUSED_BY_TEST", reason="the test wants it so", phase=phase
    )
    assert confirmed_of(service, failed.refund_id) == {}
    assert get(service, paid) == before
    faults.clear()
    again = refund(service, paid, f"{key}-2").refund
    assert (again.state, again.ordinal) == (pb.REFUND_STATE_SUCCEEDED, 2)
    assert get(service, paid).state == pb.PAYMENT_STATE_REFUNDED


@pytest.mark.parametrize("lost", [(MERCHANT, Operation.TRY), (CARD, Operation.CONFIRM)])
def test_a_refund_whose_answer_was_lost_is_given_back_once(
    service: Service, paid: str, key: str, faults: Faults, lost: tuple[str, Operation]
) -> None:
    faults[lost] = LoseReply()
    made = refund(service, paid, f"{key}-r", amount=yen(100)).refund
    assert made.state == pb.REFUND_STATE_SUCCEEDED
    assert confirmed_of(service, made.refund_id) == {MERCHANT: 100, POINTS: 60, CARD: 40}
    assert get(service, paid).refunded_amount == yen(100)


def test_a_reserved_payment_cannot_be_given_back(service: Service, key: str) -> None:
    before = reserve(service, key)
    problem = refused(lambda: refund(service, before.payment_id, f"{key}-r"))
    assert status_and_reason(problem) == (FAILED_PRECONDITION, "WRONG_STATE")
    assert problem.facts["state"] == "RESERVED"
    assert is_unchanged(service, before)


def test_a_failed_payment_cannot_be_given_back(service: Service, key: str) -> None:
    before = cancel(service, reserve(service, key).payment_id)
    problem = refused(lambda: refund(service, before.payment_id, f"{key}-r"))
    assert status_and_reason(problem) == (FAILED_PRECONDITION, "WRONG_STATE")
    assert problem.facts["state"] == "FAILED"
    assert is_unchanged(service, before)


def twice(method: str) -> pb.Split:
    shares = [pb.Share(method=method, amount=yen(1)), pb.Share(method=method, amount=yen(2))]
    return pb.Split(exact=pb.Split.Exact(shares=shares))


def dollars(method: str) -> pb.Split:
    shares = [pb.Share(method=method, amount=money(5, "USD"))]
    return pb.Split(exact=pb.Split.Exact(shares=shares))


BAD: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "zero": ({"amount": money(0)}, {"amount.minor_units": "OUT_OF_RANGE"}),
    "a negative amount": ({"amount": money(-1)}, {"amount.minor_units": "OUT_OF_RANGE"}),
    "another currency": (
        {"amount": money(10, "USD")},
        {"amount.currency_code": "MIXED_CURRENCIES"},
    ),
    "a share in another currency": (
        {"split": dollars(CARD)},
        {"split.exact.shares[0].amount.currency_code": "MIXED_CURRENCIES"},
    ),
    "shares that do not add up": (
        {"amount": yen(500), "split": exact(points_reserve=300, card_charge=199)},
        {"split.exact.shares": "SHARES_DO_NOT_ADD_UP"},
    ),
    "an unknown method in exact shares": (
        {"split": exact(barter=5)},
        {"split.exact.shares": "UNKNOWN_METHOD"},
    ),
    "the merchant as a method": (
        {"split": exact(merchant_credit=5)},
        {"split.exact.shares": "UNKNOWN_METHOD"},
    ),
    "an unknown method in order": (
        {"split": in_order("barter")},
        {"split.in_order.methods": "UNKNOWN_METHOD"},
    ),
    "a method twice in exact shares": (
        {"split": twice(CARD)},
        {"split.exact.shares": "DUPLICATE_METHOD"},
    ),
    "a method twice in order": (
        {"split": in_order(CARD, CARD)},
        {"split.in_order.methods": "DUPLICATE_METHOD"},
    ),
    "a split without a rule": ({"split": pb.Split()}, {"split.rule": "FIELD_REQUIRED"}),
    "no key": ({"key": ""}, {"idempotency_key": "FIELD_REQUIRED"}),
    "a payment ID that is none": ({"payment_id": "x"}, {"payment_id": "BAD_FORMAT"}),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_refund_names_the_field_and_changes_nothing(
    service: Service, paid: str, key: str, case: str
) -> None:
    fields, expected = BAD[case]
    before = get(service, paid)
    problem = refused(lambda: refund(service, **({"payment_id": paid, "key": f"{key}-r"} | fields)))
    assert status_and_reason(problem) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
    assert problem.fields == expected
    assert is_unchanged(service, before)


def test_a_refund_without_a_deadline_is_refused(service: Service, paid: str, key: str) -> None:
    before = get(service, paid)
    request = pb.CreateRefundRequest(payment_id=paid, idempotency_key=f"{key}-r")
    problem = refused(lambda: service.stub().CreateRefund(request))
    assert problem.reason == "DEADLINE_REQUIRED"
    assert is_unchanged(service, before)


def test_a_refund_of_a_payment_that_nobody_made_is_refused(service: Service, key: str) -> None:
    assert status_and_reason(refused(lambda: refund(service, NOBODYS, f"{key}-r"))) == NOT_FOUND


def test_a_refund_of_another_callers_payment_is_refused(
    service: Service, paid: str, key: str
) -> None:
    before = get(service, paid)
    problem = refused(lambda: refund(service, paid, f"{key}-r", caller="rival"))
    assert status_and_reason(problem) == NOT_FOUND
    assert is_unchanged(service, before)
