"""A hundred refunds of one payment at once, over gRPC and a real PostgreSQL."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import grpc
import pytest
import sqlalchemy as sa
from kessai.payments.v1 import payments_pb2 as pb

from fault_injection.model_participant import Held
from tests.support.operations import (
    CARD,
    MERCHANT,
    PARTICIPANT,
    POINTS,
    create,
    exact,
    get,
    in_order,
    refunds_of,
)
from tests.support.service import Service, problem_of, running, shared_models, yen

PAID = {POINTS: 600, CARD: 400, MERCHANT: 1000}
REFUNDS = 100
DEADLINE_S = 60.0
CLEAR = {"REFUND_EXCEEDS_PAYMENT", "REFUND_EXCEEDS_TENDER", "LOST_RACE"}


def asked(number: int) -> dict[str, Any]:
    """The part that the n-th refund asks for: 10 to 49 yen, so that about a third of them fit."""
    units = 10 + number * 7 % 40
    kinds: list[dict[str, Any]] = [
        {"amount": yen(units)},
        {"amount": yen(units), "split": in_order(CARD)},
        {"split": exact(points_reserve=units)},
        {"split": exact(card_charge=units, points_reserve=1)},
    ]
    return kinds[number % len(kinds)]


def race(services: Sequence[Service], payment_id: str) -> list[pb.Refund | str]:
    """What a hundred refunds, begun at one instant, came to: the refund, or the error's reason."""
    barrier = threading.Barrier(REFUNDS)
    stubs = [service.stub() for service in services]

    def one(number: int) -> pb.Refund | str:
        request = pb.CreateRefundRequest(
            payment_id=payment_id, idempotency_key=f"refund-{number}", **asked(number)
        )
        barrier.wait(30)
        try:
            refund: pb.Refund = (
                stubs[number % len(stubs)].CreateRefund(request, timeout=DEADLINE_S).refund
            )
        except grpc.RpcError as error:
            return problem_of(error).reason
        return refund

    with ThreadPoolExecutor(REFUNDS) as pool:
        return list(pool.map(one, range(REFUNDS)))


def in_the_database(url: str, payment_id: str) -> Counter[str]:
    """How much was given back, by phase, as the tables say."""
    engine = sa.create_engine(url)
    query = sa.text(
        "SELECT steps.phase, sum(steps.amount_minor) FROM transactions "
        "JOIN steps ON steps.transaction_id = transactions.id "
        "WHERE transactions.payment_id = :payment AND transactions.state <> 'FAILED' "
        "AND steps.amount_minor IS NOT NULL GROUP BY steps.phase"
    )
    try:
        with engine.connect() as connection:
            rows = connection.execute(query, {"payment": payment_id}).all()
    finally:
        engine.dispose()
    return Counter({phase: int(total) for phase, total in rows})


def at_the_participants(service: Service, payment_id: str) -> Counter[str]:
    """How much was given back, by phase, as the participants know."""
    found: Counter[str] = Counter()
    for phase, name in PARTICIPANT.items():
        model = service.participants[name]
        for refund, original in model.originals.items():
            if original == (payment_id, phase) and model.records[refund] is Held.CONFIRMED:
                found[phase] += model.confirmed[refund]
    return found


class Raced:
    """The end of a race: what everybody says of it."""

    def __init__(self, url: str, services: Sequence[Service]) -> None:
        self.payment_id = create(services[0], "paid").payment_id
        self.outcomes = race(services, self.payment_id)
        self.refunds = [outcome for outcome in self.outcomes if isinstance(outcome, pb.Refund)]
        self.payment = get(services[-1], self.payment_id)
        self.listed = refunds_of(services[-1], self.payment_id)
        self.tables = in_the_database(url, self.payment_id)
        self.participants = at_the_participants(services[0], self.payment_id)


@pytest.fixture(scope="module", params=[1, 2], ids=["one coordinator", "two coordinators"])
def raced(new_database: Callable[[], str], request: pytest.FixtureRequest) -> Iterator[Raced]:
    url = new_database()
    models = shared_models()
    with ExitStack() as stack:
        services = [stack.enter_context(running(url, models=models)) for _ in range(request.param)]
        yield Raced(url, services)


Of = Callable[[Raced], Counter[str]]
BOOKS: dict[str, Of] = {
    "tables": lambda raced: raced.tables,
    "participants": lambda raced: raced.participants,
}


@pytest.mark.parametrize("books", BOOKS)
def test_never_more_is_given_back_than_was_paid_in_all_and_by_tender(
    raced: Raced, books: str
) -> None:
    given_back = BOOKS[books](raced)
    assert given_back.keys() == PAID.keys()
    assert all(given_back[phase] <= paid for phase, paid in PAID.items())
    assert given_back[MERCHANT] == given_back[POINTS] + given_back[CARD]


def test_the_tables_and_the_participants_agree(raced: Raced) -> None:
    assert raced.tables == raced.participants


def test_every_call_gets_a_refund_or_a_clear_error(raced: Raced) -> None:
    reasons = {outcome for outcome in raced.outcomes if isinstance(outcome, str)}
    assert reasons <= CLEAR
    assert {refund.state for refund in raced.refunds} == {pb.REFUND_STATE_SUCCEEDED}


def test_some_fit_and_some_do_not(raced: Raced) -> None:
    assert 20 <= len(raced.refunds) < REFUNDS


def total_of(number: int) -> int:
    """How much the n-th refund asks for, in minor units."""
    part = asked(number)
    if "amount" in part:
        return int(part["amount"].minor_units)
    return sum(share.amount.minor_units for share in part["split"].exact.shares)


def test_nobody_is_refused_while_the_amount_would_fit(raced: Raced) -> None:
    # No refund fails, so that never less is left than in the end.
    left = 1000 - raced.tables[MERCHANT]
    too_much = [
        number
        for number, outcome in enumerate(raced.outcomes)
        if outcome == "REFUND_EXCEEDS_PAYMENT"
    ]
    assert too_much
    assert min(map(total_of, too_much)) > left


def test_the_payment_says_exactly_what_was_given_back(raced: Raced) -> None:
    total = sum(refund.amount.minor_units for refund in raced.refunds)
    assert raced.payment.refunded_amount == yen(total)
    assert raced.participants[MERCHANT] == total
    full = raced.payment.state == pb.PAYMENT_STATE_REFUNDED
    assert full == (total == 1000)


def test_the_list_has_every_refund_once_with_ordinals_without_gaps(raced: Raced) -> None:
    assert [refund.ordinal for refund in raced.listed] == list(range(1, len(raced.listed) + 1))
    assert sorted(refund.refund_id for refund in raced.listed) == sorted(
        refund.refund_id for refund in raced.refunds
    )
