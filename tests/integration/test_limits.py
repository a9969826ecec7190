"""Limits per caller, over a real socket and a real PostgreSQL."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from grpc_status import rpc_status
from kessai.payments.v1 import payments_pb2 as pb

from adapters.postgres.connection import make_engine
from adapters.postgres.migrate import migrate
from adapters.postgres.reading import COUNT_LIVE
from coordinator.domain.decide import Call
from coordinator.domain.ids import TransactionId
from coordinator.domain.phase import Operation
from fault_injection.model_participant import Defer, Fault, Script, no_faults
from tests.support.service import Problem, Service, create_request, problem_of, running, yen

DEADLINE_S = 20.0
LIVE = 2
NewDatabase = Callable[[], str]


@pytest.fixture
def limited(new_database: NewDatabase) -> Callable[..., Any]:
    """Starts a service in which "shop" has these limits, and "rival" none."""

    def start(script: Script = no_faults, **limits: float) -> Any:
        return running(new_database(), script, limits={"shop": limits})

    return start


def create(
    service: Service, key: str, caller: str = "shop", timeout_s: float = DEADLINE_S, **changes: Any
) -> pb.CreatePaymentResponse:
    request = create_request(key, **changes)
    answer: pb.CreatePaymentResponse = service.stub(caller).CreatePayment(
        request, timeout=timeout_s
    )
    return answer


def refused(service: Service, key: str, **changes: Any) -> tuple[Problem, float]:
    """What a creation is refused with, and the delay of its RetryInfo in seconds (0: none)."""
    with pytest.raises(grpc.RpcError) as caught:
        create(service, key, **changes)
    error: Any = caught.value
    status, info = rpc_status.from_call(error), RetryInfo()
    assert status is not None
    for detail in status.details:
        detail.Unpack(info)
    return problem_of(error), info.retry_delay.ToTimedelta().total_seconds()


def keys(service: Service, caller: str = "shop") -> set[str]:
    """The keys of all payments of a caller."""
    request = pb.ListPaymentsRequest(page_size=500)
    page = service.stub(caller).ListPayments(request, timeout=DEADLINE_S)
    return {payment.idempotency_key for payment in page.payments}


def of(units: int) -> dict[str, Any]:
    """A payment of so many yen."""
    return {
        "amount": yen(units),
        "tenders": [
            pb.Tender(method="points_reserve", source="alice", amount=yen(600)),
            pb.Tender(method="card_charge", source="tok_ok", amount=yen(units - 600)),
        ],
    }


def card_waits_for_its_owner(_id: TransactionId, call: Call, _attempt: int) -> Fault | None:
    waits = (call.phase.name, call.operation) == ("card_charge", Operation.TRY)
    return Defer(3600.0) if waits else None


def test_an_amount_over_the_callers_limit_is_refused_and_writes_nothing(
    limited: Callable[..., Any],
) -> None:
    with limited(max_amount_minor=1000) as service:
        problem, _delay_s = refused(service, "large", **of(1001))
        assert (problem.status, problem.reason) == (
            grpc.StatusCode.INVALID_ARGUMENT,
            "INVALID_REQUEST",
        )
        assert problem.fields == {"amount.minor_units": "AMOUNT_OVER_LIMIT"}
        assert "1000 minor units" in problem.message
        assert keys(service) == set()
        assert create(service, "large", caller="rival", **of(1001)).payment.payment_id
        assert create(service, "small").payment.state == pb.PAYMENT_STATE_PAID


@pytest.fixture
def crowded(limited: Callable[..., Any]) -> Iterator[Service]:
    """A service in which "shop" has as many live payments as it may: key-0, key-1."""
    with limited(card_waits_for_its_owner, max_live=LIVE) as service:
        for number in range(LIVE):
            create(service, f"key-{number}", timeout_s=1.0)
        yield service


def test_too_many_live_payments_are_refused_and_write_nothing(crowded: Service) -> None:
    problem, delay_s = refused(crowded, "late")
    assert (problem.status, problem.reason) == (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "TOO_MANY_LIVE_PAYMENTS",
    )
    assert problem.facts == {"limit": str(LIVE)}
    assert delay_s == 1.0
    assert keys(crowded) == {"key-0", "key-1"}


def test_at_the_limit_of_live_payments_replays_and_other_callers_are_served(
    crowded: Service,
) -> None:
    assert create(crowded, "key-0", timeout_s=1.0).replayed
    problem, _delay_s = refused(crowded, "key-0", **of(1001))
    assert problem.reason == "IDEMPOTENCY_KEY_REUSED"
    create(crowded, "key-0", caller="rival", timeout_s=1.0)
    assert keys(crowded, "rival") == {"key-0"}


def test_a_live_payment_that_ends_makes_room_for_another(crowded: Service) -> None:
    first = create(crowded, "key-0", timeout_s=1.0).payment
    cancel = pb.CancelPaymentRequest(payment_id=first.payment_id)
    cancelled = crowded.stub().CancelPayment(cancel, timeout=DEADLINE_S).payment
    assert cancelled.state == pb.PAYMENT_STATE_FAILED
    assert not create(crowded, "late", timeout_s=1.0).replayed
    assert keys(crowded) == {"key-0", "key-1", "late"}


def test_the_rate_is_limited_and_recovers_while_replays_are_answered(
    limited: Callable[..., Any],
) -> None:
    # One token, and the next in a quarter of an hour: no machine is slow enough to see it come.
    with limited(per_second=0.001) as service:
        first = create(service, "first")
        problem, delay_s = refused(service, "second")
        assert (problem.status, problem.reason) == (
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "RATE_LIMITED",
        )
        assert problem.facts == {"limit": "0.001"}
        assert 900 < delay_s <= 1000
        assert keys(service) == {"first"}
        again = create(service, "first")
        assert again.replayed
        assert again.payment == first.payment
        for number in range(3):
            create(service, f"key-{number}", caller="rival")
        service.on_loop(lambda: let_pass(service, delay_s))
        assert not create(service, "second").replayed
        assert refused(service, "third")[0].reason == "RATE_LIMITED"


def let_pass(service: Service, seconds: float) -> None:
    """As if so much time had passed for every caller's rate."""
    for bucket in service.coordinator.accept._limits._buckets.values():
        bucket._at -= timedelta(seconds=seconds)


def test_counting_live_payments_reads_no_others_even_when_statistics_are_of_a_busier_hour(
    new_database: NewDatabase,
) -> None:
    url = new_database()
    migrate(url)
    engine = make_engine(url, pool_size=1, connect_timeout_s=5, statement_timeout_s=30)
    with engine.begin() as connection:
        for statement in _BUSY_THEN_CALM:
            connection.exec_driver_sql(statement)
        found = connection.exec_driver_sql(
            f"EXPLAIN (FORMAT JSON) {COUNT_LIVE.compile(engine)}",
            {"caller": "shop", "at_most": 200},
        )
        plan = json.dumps(found.scalar_one())
    engine.dispose()
    assert "Seq Scan" not in plan, plan
    used = set(re.findall(r'"Index Name": "([a-z_]+)"', plan))
    assert used, plan
    assert used <= {"transactions_live_by_caller", "transactions_due"}, plan


_BUSY_THEN_CALM = (
    """INSERT INTO transactions (id, caller, idempotency_key, request, flow, amount_minor, currency,
    merchant_id, order_id, customer_id, state, version, sequence, created_at, updated_at,
    state_since, try_deadline, reserved_until, due_at, written_by, manual, refunded_minor) SELECT
    ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid,
    CASE mod(n, 2) WHEN 0 THEN 'shop' ELSE 'rival' END, 'key-' || n, '{}',
    'points_only', 600, 'JPY', 'shop-1', '', '', 'CREATED', 1, 1,
    now(), now(), now(), now(), now(), now(), 'w', false, 0 FROM generate_series(1, 20000) AS n""",
    "ANALYZE transactions",
    "UPDATE transactions SET state = 'PAID', due_at = NULL",
)
