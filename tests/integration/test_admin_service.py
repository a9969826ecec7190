"""AdminService over a real socket and a real PostgreSQL: what operators see and may do."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from hashlib import sha256
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from kessai.admin.v1 import admin_pb2 as admin
from kessai.payments.v1 import payments_pb2 as pb
from kessai.payments.v1 import payments_pb2_grpc

from coordinator.domain.ids import TransactionId
from coordinator.domain.phase import Operation
from fault_injection.model_participant import Defer, Held, LoseReply, LoseRequest
from tests.support.operations import (
    CARD,
    MERCHANT,
    POINTS,
    Faults,
    create,
    get,
    refund,
    refused,
    reserve,
    watched,
)
from tests.support.service import PARTICIPANTS, Service, running

DEADLINE_S = 20.0
NOBODYS = "0197f2a0-0000-7000-8000-00000000dead"
EXPIRED = {"sha256": sha256(b"old-key").hexdigest(), "expires": "2026-01-01T00:00:00Z"}
LASTING = {"sha256": sha256(b"bob-key").hexdigest(), "expires": "2126-01-01T00:00:00Z"}
OPERATORS = {"alice": sha256(b"alice-key").hexdigest(), "bob": LASTING, "carol": EXPIRED}
WAIT_S = 1.0
"""How long a caller waits for a payment that is going to be stuck, in seconds."""
IDLE_S = 1.5
"""Longer than a driver keeps a waiting payment in memory, in seconds."""


@pytest.fixture(scope="module")
def faults() -> Faults:
    """(phase, operation) to what befalls every such call, while it is in here."""
    return {}


@pytest.fixture(scope="module")
def healthy() -> Iterator[str]:
    """The address of a participant that answers health checks, and nothing else."""
    server = grpc.server(ThreadPoolExecutor(1))
    service = health.HealthServicer()
    service.set("", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None)


@pytest.fixture(scope="module")
def service(new_database: Callable[[], str], faults: Faults, healthy: str) -> Iterator[Service]:
    url = new_database()
    changes: dict[str, Any] = {
        "admin_listen": "127.0.0.1:0",
        "operators": OPERATORS,
        "participants": dict.fromkeys(PARTICIPANTS, "127.0.0.1:1") | {"points": healthy},
        "patience_s": 0.05,
        "deadline_margin_s": 0.5,  # answers come in time, however busy the machine is
        "recover_interval_s": 0.1,
        "participant_limits": {"*": {"timeout_s": 0.2, "breaker_failures": 0}},
    }
    script = lambda _id, call, _n: faults.get((call.phase.name, call.operation))  # noqa: E731
    with running(url, script, **changes) as service:
        yield service


@pytest.fixture(autouse=True)
def no_faults_left(faults: Faults) -> Iterator[None]:
    yield
    faults.clear()


@pytest.fixture
def key(request: pytest.FixtureRequest) -> str:
    """An idempotency key of the test's own."""
    return f"key-{abs(hash(request.node.nodeid))}"


def explain(service: Service, transaction_id: str, lines: int = 0) -> Any:
    request = admin.ExplainTransactionRequest(transaction_id=transaction_id, journal_lines=lines)
    return service.admin().ExplainTransaction(request, timeout=DEADLINE_S)


def until(service: Service, transaction_id: str, enough: Callable[[Any], bool]) -> Any:
    """The story once it is so; polls, bounded by the test's time limit."""
    pause = threading.Event()
    while not enough(story := explain(service, transaction_id)):
        pause.wait(0.02)
    return story


def in_doubt(service: Service, faults: Faults, key: str, fault: Any) -> str:
    """A payment whose capture is not answered, as it waits for its next attempt."""
    faults[CARD, Operation.CONFIRM] = fault
    made = create(service, key, WAIT_S)
    return str(until(service, made.payment_id, waits_for_card).transaction.transaction_id)


def waits_for_card(story: Any) -> bool:
    """Whether the capture is tried again so much later that a test may act meanwhile."""
    soon = story.now.ToDatetime() + timedelta(seconds=0.6)
    return any(
        wait.phase == CARD and wait.code == "RETRY" and wait.until_time.ToDatetime() > soon
        for wait in story.waits
    )


def resolve(service: Service, transaction_id: str, by: str = "alice-key", **fields: Any) -> Any:
    values: dict[str, Any] = {
        "transaction_id": transaction_id,
        "phase": CARD,
        "answer": admin.STEP_ANSWER_CONFIRMED,
        "reason": "the processor told us",
    }
    request = admin.ResolveStepRequest(**(values | fields))
    return service.admin(by).ResolveStep(request, timeout=DEADLINE_S)


def hold(service: Service, transaction_id: str, by: str = "alice-key", **fields: Any) -> Any:
    values: dict[str, Any] = {"transaction_id": transaction_id, "reason": "ask the bank"}
    request = admin.HoldTransactionRequest(**(values | fields))
    return service.admin(by).HoldTransaction(request, timeout=DEADLINE_S)


def unhold(service: Service, transaction_id: str, by: str = "alice-key") -> Any:
    request = admin.UnholdTransactionRequest(transaction_id=transaction_id)
    return service.admin(by).UnholdTransaction(request, timeout=DEADLINE_S)


def resume(service: Service, transaction_id: str, by: str = "alice-key", **fields: Any) -> Any:
    request = admin.ResumeTransactionRequest(transaction_id=transaction_id, **fields)
    return service.admin(by).ResumeTransaction(request, timeout=DEADLINE_S)


def cancel(service: Service, transaction_id: str, **fields: Any) -> Any:
    values: dict[str, Any] = {"transaction_id": transaction_id, "reason": "the merchant asked"}
    request = admin.CancelTransactionRequest(**(values | fields))
    return service.admin().CancelTransaction(request, timeout=DEADLINE_S)


def found(service: Service, size: int = 0, token: str = "", **filters: Any) -> Any:
    request = admin.ListTransactionsRequest(
        filter=admin.TransactionFilter(**filters), page_size=size, page_token=token
    )
    return service.admin().ListTransactions(request, timeout=DEADLINE_S)


def ids(page: Any) -> set[str]:
    return {each.transaction_id for each in page.transactions}


def verdicts(story: Any) -> dict[str, str]:
    """Action to its code; empty where it is allowed."""
    assert all(bool(each.code) != each.allowed and each.reason for each in story.actions)
    return {admin.OperatorAction.Name(each.action)[16:]: each.code for each in story.actions}


def operator_lines(story: Any) -> list[tuple[str, str, str]]:
    return [
        (line.actor, line.event, line.detail) for line in story.journal if line.kind == "operator"
    ]


# --- credentials -----------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["", "unknown-key", "shop-key"])
def test_without_an_operators_key_nothing_is_served(service: Service, by: str) -> None:
    request = admin.ListFlowsRequest()
    problem = refused(lambda: service.admin(by).ListFlows(request, timeout=DEADLINE_S))
    assert (problem.status, problem.reason) == (
        grpc.StatusCode.UNAUTHENTICATED,
        "UNAUTHENTICATED",
    )
    assert "operator's API key" in problem.message


def test_a_key_whose_time_is_over_says_so(service: Service) -> None:
    request = admin.ListFlowsRequest()
    problem = refused(lambda: service.admin("old-key").ListFlows(request, timeout=DEADLINE_S))
    assert (problem.status, problem.reason) == (
        grpc.StatusCode.UNAUTHENTICATED,
        "CREDENTIAL_EXPIRED",
    )
    assert problem.facts["operator"] == "carol"
    assert "2026-01-01" in problem.message


def test_an_operators_key_opens_nothing_for_callers(service: Service) -> None:
    request = pb.ListPaymentsRequest()
    stub = service.stub("alice-key")
    problem = refused(lambda: stub.ListPayments(request, timeout=DEADLINE_S))
    assert problem.reason == "UNAUTHENTICATED"


def test_neither_port_serves_the_others_service(service: Service) -> None:
    with grpc.insecure_channel(service.admin_address) as channel:
        stub = payments_pb2_grpc.PaymentServiceStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            stub.ListPayments(pb.ListPaymentsRequest(), timeout=DEADLINE_S)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
        check = health_pb2_grpc.HealthStub(channel).Check
        answer = check(health_pb2.HealthCheckRequest(service="kessai.admin.v1.AdminService"))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_an_operator_is_told_that_the_process_is_about_to_stop(
    new_database: Callable[[], str],
) -> None:
    ports: dict[str, Any] = {"admin_listen": "127.0.0.1:0", "operators": OPERATORS}
    with running(new_database(), **ports) as stopping:
        server = stopping.admin_server
        assert server is not None
        asyncio.run_coroutine_threadsafe(server.refuse(), stopping.loop).result(10)
        request = admin.ListFlowsRequest()
        problem = refused(lambda: stopping.admin().ListFlows(request, timeout=DEADLINE_S))
        assert problem.reason == "SHUTTING_DOWN"
        assert create(stopping, "key-1").state == pb.PAYMENT_STATE_PAID, "callers are not refused"


# --- looking ---------------------------------------------------------------------------------


def test_the_story_of_a_payment_in_doubt(service: Service, faults: Faults, key: str) -> None:
    story = explain(service, in_doubt(service, faults, key, LoseRequest()))
    transaction = story.transaction
    assert (transaction.caller, transaction.flow) == ("shop", "points_and_card")
    assert transaction.state == pb.PAYMENT_STATE_CAPTURING
    assert transaction.state_time.seconds > 0
    step = {each.phase: each for each in transaction.steps}[CARD]
    assert (step.participant, step.last_error) == ("card", "DEADLINE_EXCEEDED")
    assert step.attempts >= 1
    [wait] = [each for each in story.waits if each.phase == CARD]
    assert "Confirm did not answer" in wait.sentence
    assert wait.until_time == step.next_attempt_time
    assert verdicts(story) == {
        "RESUME": "",
        "HOLD": "",
        "UNHOLD": "NOT_HELD",
        "CANCEL": "ALREADY_DECIDED",
        "RESOLVE": "",
    }
    answers = {each.phase: list(each.answers) for each in story.resolvable}
    both = [admin.STEP_ANSWER_CONFIRMED, admin.STEP_ANSWER_CANCELLED]
    assert answers == {CARD: both, POINTS: [], MERCHANT: []}
    assert story.journal[0].sequence == 1
    assert story.earlier_lines == 0
    short = explain(service, transaction.transaction_id, lines=1)
    assert len(short.journal) == 1
    assert short.earlier_lines == short.journal[0].sequence - 1


def test_the_story_of_a_refund_and_of_what_has_ended(service: Service, key: str) -> None:
    paid = create(service, key)
    returned = refund(service, paid.payment_id, f"{key}-refund").refund
    story = explain(service, returned.refund_id)
    assert story.transaction.refund_of == paid.payment_id
    assert not story.waits
    assert set(verdicts(story).values()) == {"ALREADY_SETTLED", "NOT_HELD"}
    assert "CANCEL" in verdicts(story)


def test_what_waits_for_its_customer_says_so(service: Service, faults: Faults, key: str) -> None:
    faults[CARD, Operation.TRY] = Defer(3600.0)
    made = create(service, key, WAIT_S)
    story = until(service, made.payment_id, lambda each: bool(each.waits) and not each.claim.owner)
    assert [wait.code for wait in story.waits] == ["PARTICIPANT"]
    assert cancel(service, made.payment_id).changed
    assert watched(service, made.payment_id)[-1].failure.code == "CANCELLED_BY_OPERATOR"


def test_lists_are_filtered_and_counted(service: Service, faults: Faults, key: str) -> None:
    stuck = in_doubt(service, faults, f"{key}-stuck", LoseRequest())
    faults.clear()
    faults[CARD, Operation.CONFIRM] = LoseRequest()
    reserved = reserve(service, f"{key}-reserved").payment_id
    hold(service, reserved)
    both = {stuck, reserved}
    assert both <= ids(found(service, live=True))
    assert both & ids(found(service, participant="card")) == {stuck}
    assert both & ids(found(service, participant="merchant")) == set()
    assert both & ids(found(service, error_code="DEADLINE_EXCEEDED")) == {stuck}
    assert both & ids(found(service, held=True)) == {reserved}
    assert both & ids(found(service, states=[pb.PAYMENT_STATE_CAPTURING])) == {stuck}
    assert both & ids(found(service, needs_attention=True)) <= {stuck}
    assert both <= ids(found(service, caller="shop", flow="points_and_card"))
    assert not ids(found(service, caller="rival", live=True))
    hour = Duration(seconds=3600)
    assert not both & ids(found(service, min_time_in_state=hour))
    assert both <= ids(found(service, live=True, min_time_in_state=Duration()))
    count = admin.CountTransactionsRequest(filter=admin.TransactionFilter(live=True))
    total = service.admin().CountTransactions(count, timeout=DEADLINE_S)
    assert total.count >= 2
    assert not total.count_is_lower_bound
    count.at_most = 1
    bounded = service.admin().CountTransactions(count, timeout=DEADLINE_S)
    assert (bounded.count, bounded.count_is_lower_bound) == (1, True)
    unhold(service, reserved)


def test_pages_follow_each_other_newest_first(service: Service, key: str) -> None:
    made = [create(service, f"{key}-{number}").payment_id for number in range(5)]
    seen: list[str] = []
    token = ""
    while True:
        page = found(service, size=2, token=token, flow="points_and_card")
        assert len(page.transactions) <= 2
        seen += [each.transaction_id for each in page.transactions]
        token = page.next_page_token
        if not token:
            break
    assert len(seen) == len(set(seen))
    assert seen == sorted(seen, reverse=True)
    assert set(made) <= set(seen)
    problem = refused(
        lambda: found(service, token=found(service, size=1).next_page_token, flow="points_and_card")
    )
    assert problem.fields == {"page_token": "BAD_PAGE_TOKEN"}


@pytest.mark.parametrize(
    ("call", "field", "code"),
    [
        (lambda s: found(s, participant="bank"), "filter.participant", "UNKNOWN_PARTICIPANT"),
        (
            lambda s: found(s, min_time_in_state=Duration(seconds=-1)),
            "filter.min_time_in_state",
            "OUT_OF_RANGE",
        ),
        (lambda s: found(s, error_code="lower case"), "filter.error_code", "BAD_FORMAT"),
        (lambda s: found(s, size=501), "page_size", "OUT_OF_RANGE"),
        (lambda s: found(s, token="nonsense"), "page_token", "BAD_PAGE_TOKEN"),
        (lambda s: explain(s, "no-uuid"), "transaction_id", "BAD_FORMAT"),
        (lambda s: hold(s, NOBODYS, reason=""), "reason", "FIELD_REQUIRED"),
        (lambda s: hold(s, NOBODYS, reason="  "), "reason", "BAD_FORMAT"),
        (lambda s: hold(s, NOBODYS, reason="two\nlines"), "reason", "BAD_FORMAT"),
        (lambda s: hold(s, NOBODYS, reason="x" * 201), "reason", "TOO_LONG"),
        (lambda s: hold(s, NOBODYS, reason="card 4111111111111111"), "reason", "CARD_NUMBER"),
        (lambda s: cancel(s, NOBODYS, reason=""), "reason", "FIELD_REQUIRED"),
        (lambda s: resolve(s, NOBODYS, reason=""), "reason", "FIELD_REQUIRED"),
        (lambda s: resolve(s, NOBODYS, answer=0), "answer", "UNKNOWN_VALUE"),
        (lambda s: resolve(s, NOBODYS, answer=9), "answer", "UNKNOWN_VALUE"),
        (lambda s: resolve(s, NOBODYS, phase=""), "phase", "FIELD_REQUIRED"),
        (lambda s: resolve(s, NOBODYS, evidence="4111111111111111"), "evidence", "CARD_NUMBER"),
        (lambda s: resume(s, NOBODYS, if_version=-1), "if_version", "OUT_OF_RANGE"),
    ],
)
def test_a_malformed_request_names_its_field(
    service: Service, call: Callable[[Service], Any], field: str, code: str
) -> None:
    problem = refused(lambda: call(service))
    assert problem.reason == "INVALID_REQUEST"
    assert problem.fields == {field: code}


@pytest.mark.parametrize("call", [explain, hold, unhold, resume, cancel, resolve])
def test_an_unknown_transaction_is_not_found(
    service: Service, call: Callable[[Service, str], Any]
) -> None:
    problem = refused(lambda: call(service, NOBODYS))
    assert (problem.status, problem.reason) == (
        grpc.StatusCode.NOT_FOUND,
        "TRANSACTION_NOT_FOUND",
    )
    assert problem.facts["transaction_id"] == NOBODYS


# --- acting ----------------------------------------------------------------------------------


def test_a_held_payment_stands_still_until_it_is_unheld(
    service: Service, faults: Faults, key: str
) -> None:
    stuck = in_doubt(service, faults, key, LoseRequest())
    held = hold(service, stuck)
    assert held.changed
    assert (held.transaction.hold.operator, held.transaction.hold.reason) == (
        "alice",
        "ask the bank",
    )
    faults.clear()
    threading.Event().wait(IDLE_S)
    story = explain(service, stuck)
    assert story.transaction.version == held.transaction.version
    assert [wait.code for wait in story.waits] == ["HELD"]
    assert not hold(service, stuck).changed
    problem = refused(lambda: hold(service, stuck, "bob-key"))
    assert (problem.reason, problem.facts["operator"]) == ("HELD_BY_OPERATOR", "alice")
    assert refused(lambda: resume(service, stuck)).reason == "HELD_BY_OPERATOR"
    assert unhold(service, stuck, "bob-key").changed
    assert watched(service, stuck)[-1].state == pb.PAYMENT_STATE_PAID
    assert not unhold(service, stuck).changed
    acts = [(actor, event) for actor, event, _why in operator_lines(explain(service, stuck))]
    assert acts == [("alice", "hold"), ("bob", "unhold")]


def test_a_payment_is_resumed_at_once(service: Service, faults: Faults, key: str) -> None:
    stuck = in_doubt(service, faults, key, LoseRequest())
    faults.clear()
    resumed = resume(service, stuck, reason="the processor is back")
    assert resumed.transaction.transaction_id == stuck
    assert watched(service, stuck)[-1].state == pb.PAYMENT_STATE_PAID
    assert operator_lines(explain(service, stuck)) == [("alice", "resume", "the processor is back")]
    assert refused(lambda: resume(service, stuck)).reason == "ALREADY_SETTLED"


def test_an_operators_cancel_is_a_failure_that_the_caller_sees(service: Service, key: str) -> None:
    reserved = reserve(service, key)
    assert refused(lambda: resume(service, reserved.payment_id)).reason == "NOTHING_TO_RETRY"
    assert cancel(service, reserved.payment_id).changed
    failed = watched(service, reserved.payment_id)[-1]
    assert (failed.failure.code, failed.failure.reason) == (
        "CANCELLED_BY_OPERATOR",
        "the merchant asked",
    )
    assert not cancel(service, reserved.payment_id).changed


def test_what_is_decided_or_paid_cannot_be_cancelled(
    service: Service, faults: Faults, key: str
) -> None:
    stuck = in_doubt(service, faults, key, LoseRequest())
    problem = refused(lambda: cancel(service, stuck))
    assert (problem.status, problem.reason) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "ALREADY_DECIDED",
    )
    faults.clear()
    resume(service, stuck)
    assert watched(service, stuck)[-1].state == pb.PAYMENT_STATE_PAID
    assert refused(lambda: cancel(service, stuck)).reason == "ALREADY_SETTLED"


# --- resolving -------------------------------------------------------------------------------


def test_a_capture_that_was_done_is_resolved_as_confirmed(
    service: Service, faults: Faults, key: str
) -> None:
    stuck = in_doubt(service, faults, key, LoseReply())
    problem = refused(lambda: resolve(service, stuck, answer=admin.STEP_ANSWER_CANCELLED))
    assert (problem.reason, problem.facts["participant_said"]) == (
        "CONTRADICTED_BY_PARTICIPANT",
        "confirmed",
    )
    done = resolve(service, stuck, evidence="statement 7")
    assert done.participant_said == "confirmed"
    assert watched(service, stuck)[-1].state == pb.PAYMENT_STATE_PAID
    [line] = [each for each in explain(service, stuck).journal if each.kind == "operator"]
    assert (line.actor, line.event, line.phase, line.code, line.detail, line.evidence) == (
        "alice",
        "resolve",
        CARD,
        "CONFIRMED",
        "the processor told us",
        "statement 7",
    )


def test_a_capture_that_was_not_done_is_undone_first(
    service: Service, faults: Faults, key: str
) -> None:
    stuck = in_doubt(service, faults, key, LoseRequest())
    problem = refused(lambda: resolve(service, stuck))
    assert (problem.reason, problem.facts["participant_said"]) == (
        "CONTRADICTED_BY_PARTICIPANT",
        "held",
    )
    done = resolve(service, stuck, answer=admin.STEP_ANSWER_CANCELLED)
    assert done.participant_said == "held"
    assert service.participants["card"].records[TransactionId(stuck), CARD] is Held.CANCELLED
    failed = watched(service, stuck)[-1]
    assert (failed.state, failed.failure.code) == (
        pb.PAYMENT_STATE_FAILED,
        "CANCELLED_BY_OPERATOR",
    )
    assert refused(lambda: resolve(service, stuck)).reason == "ALREADY_SETTLED"


def test_a_participant_that_cannot_be_asked(service: Service, faults: Faults, key: str) -> None:
    stuck = in_doubt(service, faults, key, LoseReply())
    faults[CARD, Operation.QUERY] = faults[CARD, Operation.CANCEL] = LoseRequest()
    problem = refused(lambda: resolve(service, stuck))
    assert (problem.reason, problem.facts["participant_said"]) == ("EVIDENCE_REQUIRED", "unknown")
    problem = refused(
        lambda: resolve(service, stuck, answer=admin.STEP_ANSWER_CANCELLED, evidence="a call")
    )
    assert (problem.status, problem.reason, problem.retry) == (
        grpc.StatusCode.ABORTED,
        "PARTICIPANT_SILENT",
        True,
    )
    assert resolve(service, stuck, evidence="statement 7").participant_said == "unknown"
    assert watched(service, stuck)[-1].state == pb.PAYMENT_STATE_PAID


def test_only_the_listed_answers_are_taken(service: Service, faults: Faults, key: str) -> None:
    stuck = in_doubt(service, faults, key, LoseReply())
    problem = refused(lambda: resolve(service, stuck, phase=MERCHANT))
    assert (problem.reason, problem.facts["phase"]) == ("ANSWER_NOT_POSSIBLE", MERCHANT)
    problem = refused(lambda: resolve(service, stuck, phase="stock_reserve"))
    assert problem.fields == {"phase": "UNKNOWN_PHASE"}
    assert CARD in problem.message
    reserved = reserve(service, f"{key}-reserved").payment_id
    problem = refused(lambda: resolve(service, reserved))
    assert problem.reason == "ANSWER_NOT_POSSIBLE"
    assert "cancel it instead" in problem.message


# --- two operators ---------------------------------------------------------------------------


def test_the_second_operator_is_told_what_the_first_did(
    service: Service, faults: Faults, key: str
) -> None:
    stuck = in_doubt(service, faults, key, LoseRequest())
    seen = explain(service, stuck).transaction.version
    first = hold(service, stuck, "bob-key", reason="the merchant asked")
    problem = refused(
        lambda: resolve(service, stuck, answer=admin.STEP_ANSWER_CANCELLED, if_version=seen)
    )
    assert (problem.status, problem.reason) == (grpc.StatusCode.ABORTED, "CHANGED_MEANWHILE")
    assert "bob: hold at " in problem.message
    assert "the merchant asked" in problem.message
    version = first.transaction.version
    assert problem.facts["version"] == str(version)
    done = resolve(service, stuck, answer=admin.STEP_ANSWER_CANCELLED, if_version=version)
    assert done.transaction.hold.operator == "bob"
    unhold(service, stuck)
    assert watched(service, stuck)[-1].state == pb.PAYMENT_STATE_FAILED


def test_of_operators_at_one_instant_one_acts_and_the_others_are_told(
    service: Service, faults: Faults, key: str
) -> None:
    stuck = in_doubt(service, faults, key, LoseRequest())

    def act(number: int) -> str:
        try:
            resolve(
                service,
                stuck,
                "alice-key" if number % 2 else "bob-key",
                answer=admin.STEP_ANSWER_CANCELLED,
            )
        except grpc.RpcError as error:
            return refused_reason(error)
        return "done"

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(act, range(6)))
    assert answers.count("done") == 1
    others = {"CHANGED_MEANWHILE", "ALREADY_SETTLED", "ANSWER_NOT_POSSIBLE", "done"}
    # The release of the others' is under way or done: a Cancel in it is resolved only once.
    assert set(answers) <= others
    assert watched(service, stuck)[-1].state == pb.PAYMENT_STATE_FAILED
    assert service.participants["card"].effects[TransactionId(stuck), CARD, Operation.CANCEL] == 1


def refused_reason(error: grpc.RpcError) -> str:
    def again() -> None:
        raise error

    return refused(again).reason


# --- flows, participants, health -------------------------------------------------------------


def flows(service: Service) -> dict[str, Any]:
    answer = service.admin().ListFlows(admin.ListFlowsRequest(), timeout=DEADLINE_S)
    return {flow.name: flow for flow in answer.flows}


def test_a_paused_flow_takes_no_new_payments_and_others_do(service: Service, key: str) -> None:
    reserved = reserve(service, f"{key}-before", flow="points_and_card")
    pause = admin.PauseFlowRequest(flow="points_and_card", reason="the points run dry")
    paused = service.admin().PauseFlow(pause, timeout=DEADLINE_S).flow
    try:
        assert (paused.pause.operator, paused.pause.reason) == ("alice", "the points run dry")
        assert not paused.pause.HasField("until_time")
        assert flows(service)["points_and_card"].pause == paused.pause
        assert not flows(service)["card_only"].HasField("pause")
        problem = refused(lambda: create(service, key))
        assert problem.reason == "FLOW_PAUSED"
        assert cancel(service, reserved.payment_id).changed
    finally:
        again = admin.ResumeFlowRequest(flow="points_and_card")
        assert service.admin().ResumeFlow(again, timeout=DEADLINE_S).changed
    assert create(service, key).state == pb.PAYMENT_STATE_PAID
    assert not service.admin().ResumeFlow(again, timeout=DEADLINE_S).changed


@pytest.mark.parametrize("call", ["PauseFlow", "ResumeFlow"])
def test_a_flow_that_is_not_served_is_named_with_those_that_are(
    service: Service, call: str
) -> None:
    fields = {"reason": "because"} if call == "PauseFlow" else {}
    request = getattr(admin, f"{call}Request")(flow="barter", **fields)
    problem = refused(lambda: getattr(service.admin(), call)(request, timeout=DEADLINE_S))
    assert problem.fields == {"flow": "UNKNOWN_FLOW"}
    assert "points_and_card" in problem.message


def test_participants_are_listed_with_who_waits_for_them(
    service: Service, faults: Faults, key: str
) -> None:
    in_doubt(service, faults, key, LoseRequest())
    request = admin.ListParticipantsRequest()
    answer = service.admin().ListParticipants(request, timeout=DEADLINE_S)
    listed = {each.name: each for each in answer.participants}
    assert list(listed) == sorted(PARTICIPANTS)
    assert listed["points"].reachability == admin.REACHABILITY_SERVING
    assert listed["points"].detail == ""
    card = listed["card"]
    assert (card.address, list(card.phases)) == ("127.0.0.1:1", [CARD])
    assert card.reachability == admin.REACHABILITY_UNREACHABLE
    assert "UNAVAILABLE" in card.detail
    assert card.breaker == admin.BREAKER_STATE_CLOSED
    assert card.waiting >= 1
    assert card.HasField("oldest_waiting")


def test_the_doctor_looks_at_everything_and_says_what_to_do(service: Service) -> None:
    answer = service.admin().CheckHealth(admin.CheckHealthRequest(), timeout=DEADLINE_S)
    checks = {check.name: check for check in answer.checks}
    assert list(checks)[:3] == ["database", "clock", "schema"]
    for name in ("database", "clock", "schema", "recovery", "participant:points"):
        assert checks[name].status == admin.CHECK_STATUS_OK, checks[name]
    assert checks["broker"].status == admin.CHECK_STATUS_WARNING
    assert "KESSAI_NATS_URL" in checks["broker"].advice
    assert checks["participant:card"].status == admin.CHECK_STATUS_FAILED
    assert checks["flow:points_and_card"].status == admin.CHECK_STATUS_OK
    for check in answer.checks:
        assert check.finding
        assert bool(check.advice) == (check.status != admin.CHECK_STATUS_OK)


def test_callers_see_that_an_operator_acted_but_neither_who_nor_why(
    service: Service, key: str
) -> None:
    reserved = reserve(service, key)
    hold(service, reserved.payment_id, reason="suspicious")
    unhold(service, reserved.payment_id)
    request = pb.ListJournalRequest(payment_id=reserved.payment_id)
    entries = service.stub().ListJournal(request, timeout=DEADLINE_S).entries
    lines = [entry for entry in entries if entry.kind == "operator"]
    assert [(line.event, line.detail) for line in lines] == [("hold", ""), ("unhold", "")]
    assert get(service, reserved.payment_id).state == pb.PAYMENT_STATE_RESERVED
    cancel(service, reserved.payment_id)
