from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import pytest
import sqlalchemy as sa
import structlog
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status
from kessai.participant.v1 import participant_pb2 as pb
from kessai.participant.v1 import participant_pb2_grpc as rpc

from participants import world
from participants.card import ACTION_URL
from participants.database import make_engine
from participants.serve import ServeOptions, running
from participants.totals import ledger_breaks, ledger_totals

NewDatabase = Callable[[], str]

FOREVER_S = 600.0


class Gate:
    """Stands for every wait of FOREVER_S: tells that one has begun, and lets all end."""

    def __init__(self) -> None:
        self.entered, self.opened = threading.Event(), threading.Event()
        self._sleep = world.sleep

    async def sleep(self, seconds: float) -> None:
        if seconds != FOREVER_S:
            await self._sleep(seconds)
            return
        self.entered.set()
        while not self.opened.is_set():
            await self._sleep(0.01)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    gate = Gate()
    monkeypatch.setattr(world, "sleep", gate.sleep)
    return gate


@contextmanager
def service(
    name: str, url: str, seeds: dict[str, int] | None = None, **options: Any
) -> Iterator[Any]:
    chosen = ServeOptions(**({"grace_s": 0.1, "poll_s": 0.05} | options))
    with (
        running(name, database_url=url, seeds=seeds, options=chosen) as address,
        grpc.insecure_channel(address) as channel,
    ):
        stub: Any = rpc.ParticipantServiceStub(channel)
        stub.channel = channel
        yield stub


def try_request(
    transaction_id: str, account: str, amount_minor: int = 400, phase: str = "p"
) -> pb.TryRequest:
    amount = pb.Money(currency_code="JPY", minor_units=amount_minor)
    return pb.TryRequest(transaction_id=transaction_id, phase=phase, amount=amount, account=account)


def confirm_request(transaction_id: str, amount_minor: int = 400) -> pb.ConfirmRequest:
    amount = pb.Money(currency_code="JPY", minor_units=amount_minor)
    return pb.ConfirmRequest(transaction_id=transaction_id, phase="p", amount=amount)


def named(transaction_id: str) -> dict[str, str]:
    return {"transaction_id": transaction_id, "phase": "p"}


def status(stub: Any, transaction_id: str) -> int:
    answer: pb.Answer = stub.Query(pb.QueryRequest(**named(transaction_id))).answer
    return answer.status


def wait_for(stub: Any, transaction_id: str, wanted: int) -> None:
    """Asks until it is so; the test's own time limit ends a wait for nothing."""
    while status(stub, transaction_id) != wanted:
        threading.Event().wait(0.02)


def send_and_give_up(gate: Gate, call: Any, request: Any) -> None:
    """Sends, and hangs up once the service waits."""
    sent = call.future(request)
    assert gate.entered.wait(60)
    assert not sent.done()
    sent.cancel()


@pytest.mark.parametrize(
    ("name", "account", "code"),
    [
        ("points", "nobody", "UNKNOWN_WALLET"),
        ("points", "bob", "INSUFFICIENT_POINTS"),
        ("merchant", "nobody", "UNKNOWN_MERCHANT"),
        ("stock", "nothing", "UNKNOWN_ARTICLE"),
        ("card", "tok_declined-9", "CARD_DECLINED"),
        ("card", "4242424242424242", "UNKNOWN_CARD"),
    ],
)
def test_a_refusal_says_why(name: str, account: str, code: str, new_database: NewDatabase) -> None:
    seeds = {} if name == "card" else {"bob": 50}
    with service(name, new_database(), seeds) as stub:
        answer = stub.Try(try_request(world.new_transaction_id(), account)).answer
    assert answer.status == pb.STATUS_REFUSED
    assert answer.refusal.code == code
    assert answer.refusal.reason.endswith(".")


def test_the_three_services_conserve_one_payment(new_database: NewDatabase) -> None:
    one = world.new_transaction_id()
    parts = [("points", "alice", 600), ("card", "tok_ok-1", 400), ("merchant", "shop", 1_000)]
    confirmed = {}
    for name, account, amount in parts:
        url = new_database()
        with service(name, url, {} if name == "card" else {account: 10_000}) as stub:
            held = stub.Try(try_request(one, account, amount)).answer
            assert held.status == pb.STATUS_HELD
            stub.Confirm(confirm_request(one, amount))
        engine = make_engine(url)
        totals = ledger_totals(engine)
        assert (totals.postings_minor, totals.open_holds, totals.confirmed) == (0, 0, 1)
        assert ledger_totals(engine, "nothing").confirmed_minor == 0
        assert ledger_breaks(engine) == []
        confirmed[name] = totals.confirmed_minor
        engine.dispose()
    assert confirmed == {"points": 600, "card": 400, "merchant": 1_000}


def test_the_three_services_conserve_a_payment_that_is_refunded_in_part(
    new_database: NewDatabase,
) -> None:
    one, back = world.new_transaction_id(), world.new_transaction_id()
    parts = [("points", "alice", 600, 500), ("card", "tok_ok-1", 400, 300)]
    parts += [("merchant", "shop", 1_000, 800)]
    net = {}
    for name, account, amount, final in parts:
        url = new_database()
        with service(name, url, {} if name == "card" else {account: 10_000}) as stub:
            stub.Try(try_request(one, account, amount))
            assert stub.Confirm(confirm_request(one, final)).answer.confirmed.minor_units == final
            refund = try_request(back, "", final - 100)
            refund.refund_of.CopyFrom(pb.OriginalStep(**named(one)))
            assert stub.Try(refund).answer.status == pb.STATUS_HELD
            assert stub.Confirm(confirm_request(back, final // 2)).answer.confirmed.minor_units
        engine = make_engine(url)
        totals = ledger_totals(engine)
        assert (totals.postings_minor, totals.open_holds) == (0, 0)
        assert (totals.confirmed, totals.confirmed_minor) == (1, final)
        assert (totals.refunded, totals.refunded_minor) == (1, final // 2)
        assert ledger_breaks(engine) == []
        net[name] = totals.net_minor
        engine.dispose()
    assert net["points"] + net["card"] == net["merchant"] == 400


@pytest.mark.parametrize(
    ("make", "code", "reason"),
    [
        ("different", grpc.StatusCode.ALREADY_EXISTS, "DIFFERENT_REQUEST"),
        ("not held", grpc.StatusCode.FAILED_PRECONDITION, "NOT_HELD"),
        ("more than held", grpc.StatusCode.FAILED_PRECONDITION, "MORE_THAN_HELD"),
        ("cancel after confirm", grpc.StatusCode.FAILED_PRECONDITION, "ALREADY_CONFIRMED"),
        ("confirm after cancel", grpc.StatusCode.FAILED_PRECONDITION, "ALREADY_CANCELLED"),
        ("malformed", grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST"),
        ("page token", grpc.StatusCode.INVALID_ARGUMENT, "INVALID_PAGE_TOKEN"),
    ],
)
def test_an_error_carries_a_stable_reason(
    make: str, code: grpc.StatusCode, reason: str, new_database: NewDatabase
) -> None:
    with service("card", new_database()) as stub:
        one, two, three = (world.new_transaction_id() for _ in range(3))
        for name in (one, two, three):
            stub.Try(try_request(name, "tok_ok"))
        stub.Confirm(confirm_request(one))
        stub.Cancel(pb.CancelRequest(**named(two)))
        calls: dict[str, Callable[[], Any]] = {
            "different": lambda: stub.Try(try_request(one, "tok_ok-other")),
            "not held": lambda: stub.Confirm(confirm_request(world.new_transaction_id())),
            "more than held": lambda: stub.Confirm(confirm_request(three, 401)),
            "cancel after confirm": lambda: stub.Cancel(pb.CancelRequest(**named(one))),
            "confirm after cancel": lambda: stub.Confirm(confirm_request(two)),
            "malformed": lambda: stub.Query(pb.QueryRequest()),
            "page token": lambda: stub.ListTransactions(
                pb.ListTransactionsRequest(page_token="made up")
            ),
        }
        with pytest.raises(grpc.RpcError) as caught:
            calls[make]()
    assert caught.value.code() is code
    error: Any = caught.value  # of a call of ours: it is the call as well
    rich = rpc_status.from_call(error)
    assert rich is not None
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    assert rich.details[0].Unpack(info)
    assert (info.domain, info.reason) == ("kessai.participant", reason)
    if make == "malformed":
        assert rich.details[1].Unpack(bad)
        assert [field.field for field in bad.field_violations] == ["transaction_id", "phase"]


def test_a_request_that_is_too_large_is_refused(new_database: NewDatabase) -> None:
    with service("card", new_database()) as stub:
        with pytest.raises(grpc.RpcError) as caught:
            stub.Try(try_request(world.new_transaction_id(), "x" * 70_000))
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_the_health_service_says_serving(new_database: NewDatabase) -> None:
    with service("card", new_database()) as stub:
        health = health_pb2_grpc.HealthStub(stub.channel)
        for name in ("", "kessai.participant.v1.ParticipantService"):
            answer = health.Check(health_pb2.HealthCheckRequest(service=name))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_a_try_that_is_lost_has_no_effect_and_its_repeat_is_normal(
    new_database: NewDatabase, gate: Gate
) -> None:
    with service("card", new_database(), slow_reply_s=FOREVER_S) as stub:
        one = world.new_transaction_id()
        send_and_give_up(gate, stub.Try, try_request(one, "tok_timeout_before_try-1"))
        assert status(stub, one) == pb.STATUS_UNKNOWN_TRANSACTION
        answer = stub.Try(try_request(one, "tok_timeout_before_try-1")).answer
        assert answer.status == pb.STATUS_HELD


def test_a_lost_try_is_never_answered_as_if_it_had_worked(new_database: NewDatabase) -> None:
    with service("card", new_database(), slow_reply_s=0.0) as stub:
        one = world.new_transaction_id()
        with pytest.raises(grpc.RpcError) as caught:
            stub.Try(try_request(one, "tok_timeout_before_try"))
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert status(stub, one) == pb.STATUS_UNKNOWN_TRANSACTION


def test_a_try_whose_answer_is_lost_has_its_effect_once(
    new_database: NewDatabase, gate: Gate
) -> None:
    url = new_database()
    with service("card", url, slow_reply_s=FOREVER_S) as stub:
        one = world.new_transaction_id()
        send_and_give_up(gate, stub.Try, try_request(one, "tok_timeout_after_try"))
        wait_for(stub, one, pb.STATUS_HELD)
        answer = stub.Try(try_request(one, "tok_timeout_after_try")).answer
        assert answer.status == pb.STATUS_HELD
    engine = make_engine(url)
    assert ledger_totals(engine).open_holds == 1
    engine.dispose()


def test_a_capture_whose_answer_is_lost_has_its_effect_once(
    new_database: NewDatabase, gate: Gate
) -> None:
    url = new_database()
    with service("card", url, slow_reply_s=FOREVER_S) as stub:
        one = world.new_transaction_id()
        assert stub.Try(try_request(one, "tok_timeout_after_capture")).answer.status
        send_and_give_up(gate, stub.Confirm, confirm_request(one))
        wait_for(stub, one, pb.STATUS_CONFIRMED)
        answer = stub.Confirm(confirm_request(one)).answer
        assert answer.status == pb.STATUS_CONFIRMED
    engine = make_engine(url)
    assert ledger_totals(engine).confirmed == 1
    engine.dispose()


def test_a_late_try_meets_the_tombstone_although_its_caller_has_gone(
    new_database: NewDatabase, gate: Gate
) -> None:
    url = new_database()
    with service("card", url, late_try_s=FOREVER_S) as stub:
        one = world.new_transaction_id()
        send_and_give_up(gate, stub.Try, try_request(one, "tok_late_try-1"))
        cancelled = stub.Cancel(pb.CancelRequest(**named(one))).answer
        assert not cancelled.HasField("amount")
        gate.opened.set()
        while not stub.Query(pb.QueryRequest(**named(one))).answer.HasField("amount"):
            threading.Event().wait(0.02)  # the late Try is remembered with its amount
        assert status(stub, one) == pb.STATUS_CANCELLED
    engine = make_engine(url)
    assert ledger_totals(engine).open_holds == 0
    engine.dispose()


def test_waiting_tokens_take_no_thread_from_other_payments(new_database: NewDatabase) -> None:
    with service(
        "card", new_database(), slow_reply_s=FOREVER_S, late_try_s=FOREVER_S, threads=2
    ) as stub:
        tokens = ("tok_timeout_before_try", "tok_timeout_after_try", "tok_late_try")
        waiting = [
            stub.Try.future(try_request(world.new_transaction_id(), tokens[n % 3]))
            for n in range(60)
        ]
        for _ in range(10):
            answer = stub.Try(try_request(world.new_transaction_id(), "tok_ok"), timeout=60)
            assert answer.answer.status == pb.STATUS_HELD
        assert not any(call.done() for call in waiting)
        for call in waiting:
            call.cancel()


@pytest.mark.parametrize(
    ("token", "after"),
    [
        ("tok_customer_action", pb.STATUS_HELD),
        ("tok_customer_refuses", pb.STATUS_REFUSED),
    ],
)
def test_a_customer_acts_after_a_while(
    token: str, after: pb.Status, new_database: NewDatabase
) -> None:
    url = new_database()
    with service("card", url, customer_action_s=0.2) as stub:
        one = world.new_transaction_id()
        pending = stub.Try(try_request(one, token)).answer
        assert pending.status == pb.STATUS_PENDING
        assert pending.next_action == pb.NextAction(kind="redirect", url=ACTION_URL + one)
        wait_for(stub, one, after)
    engine = make_engine(url)
    assert ledger_breaks(engine) == []
    engine.dispose()


def test_a_customer_acts_although_the_service_was_restarted(new_database: NewDatabase) -> None:
    url, one = new_database(), world.new_transaction_id()
    with service("card", url, customer_action_s=0.5, poll_s=FOREVER_S) as stub:
        stub.Try(try_request(one, "tok_customer_action"))
    with service("card", url, customer_action_s=FOREVER_S) as stub:
        wait_for(stub, one, pb.STATUS_HELD)


def test_what_was_answered_outlives_a_restart(new_database: NewDatabase) -> None:
    url, one = new_database(), world.new_transaction_id()
    with service("points", url, {"alice": 1_000}) as stub:
        first = stub.Try(try_request(one, "alice"))
    with service("points", url, {"alice": 1_000}) as stub:
        assert stub.Try(try_request(one, "alice")) == first
        rest = stub.Try(try_request(world.new_transaction_id(), "alice", 601)).answer
    assert rest.refusal.reason == "The wallet has 600 points to spend; this payment takes 601."


def test_the_log_names_the_transaction_and_never_the_token(new_database: NewDatabase) -> None:
    one = world.new_transaction_id()
    with structlog.testing.capture_logs() as lines, service("card", new_database()) as stub:
        stub.Try(try_request(one, "tok_ok-secret42"))
        with pytest.raises(grpc.RpcError):
            stub.Try(try_request(one, "tok_ok-secret43"))
    told = [line for line in lines if line.get("transaction_id") == one]
    assert [line["event"] for line in told] == ["answered", "not done"]
    assert "secret4" not in repr(lines)


def test_a_database_that_breaks_is_unavailable_and_tells_nothing(
    new_database: NewDatabase,
) -> None:
    url = new_database()
    with structlog.testing.capture_logs() as lines, service("card", url) as stub:
        engine = make_engine(url)
        with engine.begin() as connection:
            connection.execute(sa.text("DROP TABLE card_authorizations"))
        engine.dispose()
        with pytest.raises(grpc.RpcError) as caught:
            stub.Try(try_request(world.new_transaction_id(), "tok_ok-secret42"))
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert caught.value.details() == "internal error"
    assert "secret42" not in repr(lines)


def test_an_address_that_is_taken_is_an_error(new_database: NewDatabase) -> None:
    url = new_database()
    with running("card", database_url=url) as address:
        second = running("card", database_url=url, listen=address)
        with pytest.raises(RuntimeError), second:
            pass


def test_the_card_service_takes_no_seeds(new_database: NewDatabase) -> None:
    with (
        pytest.raises(ValueError, match="takes no seeds"),
        running("card", database_url=new_database(), seeds={"tok_ok": 1}),
    ):
        pass


SCRIPT = """
import sys
from participants.serve import ServeOptions, configure_logging, parse_seeds, serve
configure_logging(json=True)
serve("points", listen="127.0.0.1:0", database_url=sys.argv[1], seeds=parse_seeds(["alice=5"]),
      on_ready=lambda address: print("ready at", address, flush=True))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_process_of_its_own_serves_until_it_is_told_to_stop(
    number: signal.Signals, new_database: NewDatabase
) -> None:
    url = new_database().replace("postgresql+psycopg2://", "postgresql://")
    lines: list[str] = []
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT, url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(["proto", "."])},  # noqa: TID251  for the child
    ) as process:
        assert process.stdout is not None
        try:
            while not (lines and lines[-1].startswith("ready at ")):
                lines.append(process.stdout.readline())
                assert lines[-1], lines
            with grpc.insecure_channel(lines[-1].split()[-1]) as channel:
                stub: Any = rpc.ParticipantServiceStub(channel)
                one = world.new_transaction_id()
                assert stub.Try(try_request(one, "alice", 5)).answer.status == pb.STATUS_HELD
            process.send_signal(number)
            _, said = process.communicate(timeout=30)
            assert process.returncode == 0
        finally:
            process.kill()
    told = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert [line["transaction_id"] for line in told if "transaction_id" in line] == [one]
    assert told[-1]["event"] == "stopping"
