"""Reports of participants over a real socket and a real PostgreSQL."""

from __future__ import annotations

import base64
import hmac
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import grpc
import pytest
from kessai.participant.v1 import callbacks_pb2, callbacks_pb2_grpc
from kessai.participant.v1 import participant_pb2 as wire
from kessai.payments.v1 import payments_pb2 as pb

from coordinator.domain.ids import TransactionId
from coordinator.domain.phase import Operation
from fault_injection.model_participant import Defer, Held, ModelParticipant, Refuse
from tests.support.operations import (
    CARD,
    POINTS,
    Faults,
    create,
    first_attempt,
    get,
    left_alone,
    reserve,
    watched,
)
from tests.support.service import Problem, Service, problem_of, running, yen

KEYS = {"card": b"c" * 32, "points": b"p" * 32}
BAD_SIGNATURE = (grpc.StatusCode.UNAUTHENTICATED, "BAD_SIGNATURE")
NOBODYS = "0197f2a0-0000-7000-8000-00000000dead"


@pytest.fixture(scope="module")
def faults() -> Faults:
    return {}


@pytest.fixture(scope="module")
def service(new_database: Callable[[], str], faults: Faults) -> Iterator[Service]:
    url = new_database()
    keys = {name: base64.b64encode(key).decode() for name, key in KEYS.items()}
    with running(url, first_attempt(faults, refunds=False), callback_keys=keys) as service:
        yield service


@pytest.fixture(autouse=True)
def no_faults_left(faults: Faults) -> Iterator[None]:
    yield
    faults.clear()


@pytest.fixture
def key(request: pytest.FixtureRequest) -> str:
    """An idempotency key of the test's own."""
    return f"key-{abs(hash(request.node.nodeid))}"


def card(service: Service) -> ModelParticipant:
    return service.participants["card"]


@pytest.fixture
def waiting(service: Service, key: str, faults: Faults) -> pb.Payment:
    """A payment whose card step is pending, and which nobody looks at for a while."""
    faults[CARD, Operation.TRY] = Defer(3600.0)
    made = create(service, key, 0.5)
    assert made.state == pb.PAYMENT_STATE_CREATED
    return left_alone(service, made.payment_id)


@pytest.fixture
def failed(service: Service, key: str, faults: Faults) -> pb.Payment:
    """A payment that the card refused."""
    faults[CARD, Operation.TRY] = Refuse()
    made = create(service, key)
    assert made.state == pb.PAYMENT_STATE_FAILED
    return made


def now_at(service: Service) -> datetime:
    """The time by the service's clock."""
    now: datetime = service.on_loop(service.coordinator.callbacks._clock.now)
    return now


def notice(
    service: Service, transaction_id: str, phase: str = CARD, age_s: float = 0.0
) -> callbacks_pb2.Notice:
    """A notice that was signed so long ago."""
    answer = wire.Answer(
        transaction_id=transaction_id,
        phase=phase,
        amount=wire.Money(currency_code="JPY", minor_units=400),
        status=wire.STATUS_HELD,
    )
    signed_at = now_at(service) - timedelta(seconds=age_s)
    made = callbacks_pb2.Notice(answer=answer)
    made.sign_time.FromDatetime(signed_at)
    return made


def send(
    service: Service,
    signed: bytes,
    participant: str = "card",
    signature: bytes | None = None,
) -> None:
    """Reports these bytes, signed with the participant's own key unless told otherwise."""
    own = hmac.digest(KEYS.get(participant, b"?"), signed, "sha256")
    request = callbacks_pb2.ReportRequest(
        participant=participant,
        notice=signed,
        signature=own if signature is None else signature,
    )
    with grpc.insecure_channel(service.address) as channel:
        callbacks_pb2_grpc.CallbackServiceStub(channel).Report(request, timeout=10)


def report(service: Service, transaction_id: str, phase: str = CARD, by: str = "card") -> None:
    """A report as a participant makes it."""
    send(service, notice(service, transaction_id, phase).SerializeToString(), by)


def refused(service: Service, signed: bytes, *how: Any) -> Problem:
    with pytest.raises(grpc.RpcError) as caught:
        send(service, signed, *how)
    return problem_of(caught.value)


def is_untouched(service: Service, before: pb.Payment) -> bool:
    """Whether it stands as before but for the coordinator's own questions, which go on."""
    after = get(service, before.payment_id)
    for each in (before, after):
        each.ClearField("version")
        each.ClearField("update_time")
        for step in each.steps:
            step.ClearField("attempts")
    return after == before


def test_a_good_report_makes_a_pending_payment_go_on_at_once(
    service: Service, waiting: pb.Payment
) -> None:
    held = (TransactionId(waiting.payment_id), CARD)
    service.on_loop(lambda: card(service).decide_pending(held))
    before = now_at(service)
    report(service, waiting.payment_id)
    paid = watched(service, waiting.payment_id)[-1]
    assert paid.state == pb.PAYMENT_STATE_PAID
    assert now_at(service) - before < timedelta(seconds=5)


def test_a_report_of_a_refusal_releases_a_pending_payment(
    service: Service, waiting: pb.Payment
) -> None:
    card(service).records[TransactionId(waiting.payment_id), CARD] = Held.REFUSED
    report(service, waiting.payment_id)
    last = watched(service, waiting.payment_id)[-1]
    assert (last.state, last.failure.phase) == (pb.PAYMENT_STATE_FAILED, CARD)


def test_a_report_is_a_hint_and_the_participant_is_asked_itself(
    service: Service, waiting: pb.Payment
) -> None:
    report(service, waiting.payment_id)  # says HELD, but the card still has it pending
    left_alone(service, waiting.payment_id)
    assert is_untouched(service, waiting)


FORGED: dict[str, tuple[str, bytes]] = {
    "another key": ("card", b"x" * 32),
    "another participant's key": ("card", KEYS["points"]),
    "a participant without a key": ("merchant", b"m" * 32),
    "a participant without a key, and an empty one": ("merchant", b""),
    "an unknown participant": ("nobody", KEYS["card"]),
}


@pytest.mark.parametrize("case", FORGED)
def test_a_forged_report_is_refused_whoever_it_claims_to_be(
    service: Service, waiting: pb.Payment, case: str
) -> None:
    participant, key = FORGED[case]
    signed = notice(service, waiting.payment_id).SerializeToString()
    problem = refused(service, signed, participant, hmac.digest(key, signed, "sha256"))
    assert (problem.status, problem.reason) == BAD_SIGNATURE
    assert is_untouched(service, waiting)


def test_every_forged_report_has_the_same_error(service: Service) -> None:
    signed = notice(service, NOBODYS).SerializeToString()
    problems = [
        refused(service, signed, participant, hmac.digest(key, signed, "sha256"))
        for participant, key in FORGED.values()
    ]
    assert all(problem == problems[0] for problem in problems)


def test_a_notice_that_was_changed_after_it_was_signed_is_refused(
    service: Service, waiting: pb.Payment
) -> None:
    signed = notice(service, waiting.payment_id).SerializeToString()
    signature = hmac.digest(KEYS["card"], signed, "sha256")
    other = notice(service, NOBODYS).SerializeToString()
    assert refused(service, other, "card", signature).reason == "BAD_SIGNATURE"


@pytest.mark.parametrize(
    "signature", [b"", b"s" * 31, b"s" * 33], ids=["none", "shorter", "longer"]
)
def test_a_signature_of_another_length_is_named_with_a_documented_code(
    service: Service, signature: bytes
) -> None:
    signed = notice(service, NOBODYS).SerializeToString()
    problem = refused(service, signed, "card", signature)
    assert problem.reason == "INVALID_REQUEST"
    assert set(problem.fields) == {"signature"}
    assert problem.fields["signature"] in {"FIELD_REQUIRED", "BAD_FORMAT", "OUT_OF_RANGE"}


@pytest.mark.parametrize("age_s", [310.0, -310.0, 10 * 86_400.0])
def test_a_report_signed_long_ago_or_in_the_future_is_refused(
    service: Service, waiting: pb.Payment, age_s: float
) -> None:
    signed = notice(service, waiting.payment_id, age_s=age_s).SerializeToString()
    problem = refused(service, signed)
    assert (problem.status, problem.reason) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "NOTICE_EXPIRED",
    )
    assert is_untouched(service, waiting)


@pytest.mark.parametrize("age_s", [290.0, -290.0])
def test_clocks_may_differ_by_some_minutes(
    service: Service, waiting: pb.Payment, age_s: float
) -> None:
    held = (TransactionId(waiting.payment_id), CARD)
    service.on_loop(lambda: card(service).decide_pending(held))
    send(service, notice(service, waiting.payment_id, age_s=age_s).SerializeToString())
    assert watched(service, waiting.payment_id)[-1].state == pb.PAYMENT_STATE_PAID


def without(service: Service, field: str) -> bytes:
    made = notice(service, NOBODYS)
    made.ClearField(field)
    return made.SerializeToString()


def at_seconds(service: Service, seconds: int) -> bytes:
    made = notice(service, NOBODYS)
    made.sign_time.seconds = seconds
    return made.SerializeToString()


@pytest.mark.parametrize("case", ["garbage", "no answer", "no time", "absurd time", "no UUID"])
def test_a_malformed_notice_is_refused(service: Service, case: str) -> None:
    signed, fields = {
        "garbage": (b"\xff\xff\xff", {"notice": "MALFORMED"}),
        "no answer": (without(service, "answer"), {"answer": "FIELD_REQUIRED"}),
        "no time": (without(service, "sign_time"), {"sign_time": "FIELD_REQUIRED"}),
        "absurd time": (at_seconds(service, 2**62), {"notice": "MALFORMED"}),
        "no UUID": (
            notice(service, "x").SerializeToString(),
            {"notice.answer.transaction_id": "BAD_FORMAT"},
        ),
    }[case]
    problem = refused(service, signed)
    assert (problem.status, problem.reason) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "INVALID_REQUEST",
    )
    assert problem.fields == fields


def test_a_report_on_an_unknown_transaction_is_refused(service: Service) -> None:
    problem = refused(service, notice(service, NOBODYS).SerializeToString())
    assert (problem.status, problem.reason) == (grpc.StatusCode.NOT_FOUND, "PAYMENT_NOT_FOUND")


@pytest.mark.parametrize(("phase", "by"), [(CARD, "points"), (POINTS, "card"), ("x", "card")])
def test_a_report_on_somebody_elses_phase_is_refused(
    service: Service, waiting: pb.Payment, phase: str, by: str
) -> None:
    signed = notice(service, waiting.payment_id, phase).SerializeToString()
    problem = refused(service, signed, by)
    assert (problem.status, problem.reason) == (grpc.StatusCode.NOT_FOUND, "PAYMENT_NOT_FOUND")
    assert is_untouched(service, waiting)


def test_duplicate_reports_at_once_are_all_answered_and_the_payment_is_paid_once(
    service: Service, waiting: pb.Payment
) -> None:
    transaction_id = TransactionId(waiting.payment_id)
    service.on_loop(lambda: card(service).decide_pending((transaction_id, CARD)))
    answered: list[bool] = []

    def one() -> None:
        report(service, waiting.payment_id)
        answered.append(True)

    threads = [threading.Thread(target=one) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answered) == 6
    assert watched(service, waiting.payment_id)[-1].state == pb.PAYMENT_STATE_PAID
    assert card(service).effects[transaction_id, CARD, Operation.CONFIRM] == 1


def test_a_report_on_a_paid_payment_changes_nothing(service: Service, key: str) -> None:
    before = create(service, key)
    report(service, before.payment_id)
    assert get(service, before.payment_id) == before


def test_a_report_on_a_reserved_payment_changes_nothing(service: Service, key: str) -> None:
    before = reserve(service, key)
    report(service, before.payment_id)
    assert get(service, before.payment_id) == before


def test_a_report_on_a_refused_step_that_holds_nothing_changes_nothing(
    service: Service, failed: pb.Payment
) -> None:
    report(service, failed.payment_id)
    assert get(service, failed.payment_id) == failed


def test_a_late_success_is_undone_and_journaled(service: Service, failed: pb.Payment) -> None:
    held = (TransactionId(failed.payment_id), CARD)
    card(service).records[held] = Held.HELD  # what a participant without a fence does
    report(service, failed.payment_id)
    assert card(service).records[held] is Held.CANCELLED
    request = pb.ListJournalRequest(payment_id=failed.payment_id)
    entries = list(service.stub().ListJournal(request, timeout=10).entries)
    last = [(entry.phase, entry.operation, entry.outcome) for entry in entries[-2:]]
    assert last == [(CARD, "query", "applied"), (CARD, "cancel", "applied")]
    assert get(service, failed.payment_id).state == pb.PAYMENT_STATE_FAILED


def test_a_success_that_comes_after_the_tender_was_dropped_is_undone(
    service: Service, key: str
) -> None:
    payment_id = reserve(service, key).payment_id
    request = pb.CapturePaymentRequest(payment_id=payment_id, idempotency_key="c")
    request.split.exact.shares.add(method=POINTS, amount=yen(600))
    paid = service.stub().CapturePayment(request, timeout=10).payment
    held = (TransactionId(payment_id), CARD)
    card(service).records[held] = Held.HELD
    report(service, payment_id)
    assert card(service).records[held] is Held.CANCELLED
    assert (paid.state, get(service, payment_id).state) == (pb.PAYMENT_STATE_PAID,) * 2
