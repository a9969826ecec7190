"""Reading, listing and watching refunds, over a real socket and a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from kessai.payments.v1 import payments_pb2 as pb

from coordinator.domain.phase import Operation
from fault_injection.model_participant import Defer
from tests.support.operations import (
    CARD,
    DEADLINE_S,
    MERCHANT,
    POINTS,
    Faults,
    create,
    first_attempt,
    get_refund,
    refund,
    refused,
)
from tests.support.service import Problem, Service, running, yen

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


Ask = Callable[[Any, str], object]

AS_PAYMENT: dict[str, Ask] = {
    "GetPayment": lambda stub, it: stub.GetPayment(pb.GetPaymentRequest(payment_id=it), timeout=5),
    "WatchPayment": lambda stub, it: list(
        stub.WatchPayment(pb.WatchPaymentRequest(payment_id=it), timeout=5)
    ),
    "CapturePayment": lambda stub, it: stub.CapturePayment(
        pb.CapturePaymentRequest(payment_id=it, idempotency_key="c"), timeout=5
    ),
    "CancelPayment": lambda stub, it: stub.CancelPayment(
        pb.CancelPaymentRequest(payment_id=it), timeout=5
    ),
    "CreateRefund": lambda stub, it: stub.CreateRefund(
        pb.CreateRefundRequest(payment_id=it, idempotency_key=f"of-{it}"), timeout=5
    ),
    "ListRefunds": lambda stub, it: stub.ListRefunds(
        pb.ListRefundsRequest(payment_id=it), timeout=5
    ),
}
AS_REFUND: dict[str, Ask] = {
    "GetRefund": lambda stub, it: stub.GetRefund(pb.GetRefundRequest(refund_id=it), timeout=5),
    "WatchRefund": lambda stub, it: list(
        stub.WatchRefund(pb.WatchRefundRequest(refund_id=it), timeout=5)
    ),
}
AS_EITHER: dict[str, Ask] = {
    "ListJournal": lambda stub, it: stub.ListJournal(
        pb.ListJournalRequest(payment_id=it), timeout=5
    ),
}


@pytest.mark.parametrize("method", AS_PAYMENT)
def test_a_refunds_id_is_no_payments(service: Service, paid: str, key: str, method: str) -> None:
    made = refund(service, paid, f"{key}-r", amount=yen(10)).refund
    problem = refused(lambda: AS_PAYMENT[method](service.stub(), made.refund_id))
    assert status_and_reason(problem) == NOT_FOUND
    assert get_refund(service, made.refund_id) == made


@pytest.mark.parametrize("method", AS_REFUND)
def test_a_payments_id_is_no_refunds(service: Service, paid: str, method: str) -> None:
    problem = refused(lambda: AS_REFUND[method](service.stub(), paid))
    assert status_and_reason(problem) == NOT_FOUND


@pytest.mark.parametrize("method", [*AS_REFUND, *AS_EITHER])
def test_another_callers_refund_does_not_exist(
    service: Service, paid: str, key: str, method: str
) -> None:
    refund_id = refund(service, paid, f"{key}-r", amount=yen(10)).refund.refund_id
    ask = (AS_REFUND | AS_EITHER)[method]
    problem = refused(lambda: ask(service.stub("rival"), refund_id))
    assert status_and_reason(problem) == NOT_FOUND


def test_another_callers_refunds_cannot_be_listed(service: Service, paid: str) -> None:
    problem = refused(lambda: AS_PAYMENT["ListRefunds"](service.stub("rival"), paid))
    assert status_and_reason(problem) == NOT_FOUND


def test_lists_of_payments_show_no_refunds(service: Service, key: str) -> None:
    payment_id = create(service, key, customer_id=key).payment_id
    made = refund(service, payment_id, f"{key}-r", amount=yen(10)).refund
    for filters in ({"customer_id": key}, {"customer_id": key, "states": [pb.PAYMENT_STATE_PAID]}):
        request = pb.ListPaymentsRequest(**filters)
        page = service.stub().ListPayments(request, timeout=DEADLINE_S)
        assert [found.payment_id for found in page.payments] == [payment_id]
    page = service.stub().ListPayments(pb.ListPaymentsRequest(page_size=500), timeout=DEADLINE_S)
    assert made.refund_id not in {found.payment_id for found in page.payments}


def test_refunds_are_listed_in_pages_oldest_first(service: Service, paid: str, key: str) -> None:
    made = [refund(service, paid, f"{key}-{n}", amount=yen(n + 1)).refund for n in range(5)]
    listed: list[pb.Refund] = []
    token, sizes = "", []
    while True:
        request = pb.ListRefundsRequest(payment_id=paid, page_size=2, page_token=token)
        page = service.stub().ListRefunds(request, timeout=DEADLINE_S)
        listed += page.refunds
        sizes.append(len(page.refunds))
        token = page.next_page_token
        if not token:
            break
    assert listed == made
    assert sizes == [2, 2, 1]


def test_a_full_last_page_of_refunds_is_the_last(service: Service, paid: str, key: str) -> None:
    for number in range(2):
        refund(service, paid, f"{key}-{number}", amount=yen(1))
    request = pb.ListRefundsRequest(payment_id=paid, page_size=2)
    assert service.stub().ListRefunds(request, timeout=DEADLINE_S).next_page_token == ""


@pytest.mark.parametrize("token", ["x", "-1", "1.0", "é", "٣"])
def test_a_bad_page_token_is_refused(service: Service, paid: str, token: str) -> None:
    request = pb.ListRefundsRequest(payment_id=paid, page_token=token)
    problem = refused(lambda: service.stub().ListRefunds(request, timeout=DEADLINE_S))
    assert problem.fields == {"page_token": "BAD_PAGE_TOKEN"}


def test_a_page_token_beyond_every_refund_gives_an_empty_page(service: Service, paid: str) -> None:
    request = pb.ListRefundsRequest(payment_id=paid, page_token="9" * 500)
    page = service.stub().ListRefunds(request, timeout=DEADLINE_S)
    assert (list(page.refunds), page.next_page_token) == ([], "")


def test_watch_sends_growing_versions_and_ends_when_the_refund_is_settled(
    service: Service, paid: str, key: str, faults: Faults
) -> None:
    faults[CARD, Operation.TRY] = Defer(1.0)
    waiting = refund(service, paid, f"{key}-r", deadline_s=0.5, amount=yen(100)).refund
    assert waiting.state == pb.REFUND_STATE_CREATED
    request = pb.WatchRefundRequest(refund_id=waiting.refund_id)
    seen = [item.refund for item in service.stub().WatchRefund(request, timeout=DEADLINE_S)]
    versions = [item.version for item in seen]
    assert versions == sorted(set(versions))
    assert seen[0].state == pb.REFUND_STATE_CREATED
    assert seen[-1].state == pb.REFUND_STATE_SUCCEEDED
    assert get_refund(service, waiting.refund_id) == seen[-1]


def test_watch_of_a_settled_refund_sends_it_once(service: Service, paid: str, key: str) -> None:
    made = refund(service, paid, f"{key}-r", amount=yen(10)).refund
    request = pb.WatchRefundRequest(refund_id=made.refund_id)
    seen = [item.refund for item in service.stub().WatchRefund(request, timeout=DEADLINE_S)]
    assert seen == [made]


def journal(service: Service, transaction_id: str) -> list[pb.JournalEntry]:
    request = pb.ListJournalRequest(payment_id=transaction_id)
    return list(service.stub().ListJournal(request, timeout=DEADLINE_S).entries)


def test_a_refunds_journal_tells_its_story(service: Service, paid: str, key: str) -> None:
    made = refund(service, paid, f"{key}-r", amount=yen(100)).refund
    entries = journal(service, made.refund_id)
    assert [entry.sequence for entry in entries] == list(range(1, len(entries) + 1))
    attempts = [(entry.phase, entry.operation) for entry in entries if entry.kind == "attempt"]
    assert attempts[0] == (MERCHANT, "try")
    assert sorted(attempts[1:3]) == [(CARD, "try"), (POINTS, "try")]
    assert sorted(attempts[3:]) == [(CARD, "confirm"), (MERCHANT, "confirm"), (POINTS, "confirm")]
    events = [entry.event for entry in entries if entry.kind == "transition"]
    assert events == ["create", "hold", "capture", "settle", "pay"]


def test_the_payments_journal_tells_that_it_was_refunded(
    service: Service, paid: str, key: str
) -> None:
    before = journal(service, paid)
    refund(service, paid, f"{key}-1", amount=yen(100))
    assert journal(service, paid) == before
    refund(service, paid, f"{key}-2")
    [entry] = journal(service, paid)[len(before) :]
    assert (entry.event, entry.to_state) == ("refund", pb.PAYMENT_STATE_REFUNDED)
