"""Logs say what they may, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from coordinator.domain.errors import StoreUnavailable
from coordinator.domain.machine import Event, State
from coordinator.domain.moves import advance, late_success_undone, record
from coordinator.domain.operating import Mandate, held
from coordinator.domain.outcome import Applied, Unknown
from coordinator.domain.phase import Operation
from coordinator.domain.record import evolve
from coordinator.domain.transaction import Draft, RefundOf, Result
from coordinator.ports import BreakerState, Observer
from coordinator.telemetry import (
    REDACTED,
    SAME_LINES,
    LogObserver,
    Several,
    Unfailing,
    allow_listed,
    configure_logs,
)
from fault_injection.world import Recorder
from tests.support.domain import BOTH, ID, NOW, SOURCES, standing


@pytest.fixture(autouse=True)
def logs_as_before() -> Iterator[None]:
    before = structlog.get_config()
    yield
    structlog.configure(**before)


def test_a_field_that_is_not_on_the_list_is_redacted() -> None:
    assert allow_listed(None, "", {"event": "e", "state": "PAID", "source": "tok_1"}) == {
        "event": "e",
        "state": "PAID",
        "source": REDACTED,
    }


def settle(capsys: pytest.CaptureFixture[str], level: str) -> list[dict[str, object]]:
    configure_logs("json", level)
    draft = advance(standing(State.SETTLING), BOTH, (Event.PAY,), NOW)
    LogObserver().committed(draft.change(now=NOW, due_at=None, keep_claim=True))
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_settled_payment_is_one_line_with_its_transaction_id(
    capsys: pytest.CaptureFixture[str],
) -> None:
    (line,) = settle(capsys, "info")
    assert line["event"] == "payment settled"
    assert line["state"] == "PAID"
    assert line["transaction_id"]
    assert REDACTED not in line.values()
    assert not any(source in str(line) for source in SOURCES.values())


@pytest.mark.parametrize(
    ("values", "event", "facts"),
    [
        ({"refund_of": RefundOf(ID, 1)}, "refund settled", {"payment_id": ID}),
        ({"refunded_minor": 300}, "payment refunded", {"refunded_minor": 300}),
    ],
)
def test_refunds_have_lines_of_their_own(
    capsys: pytest.CaptureFixture[str],
    values: dict[str, Any],
    event: str,
    facts: dict[str, object],
) -> None:
    configure_logs("json", "info")
    draft = Draft(evolve(standing(State.PAID).transaction, **values))
    LogObserver().committed(draft.change(now=NOW, due_at=None, keep_claim=False))
    line = json.loads(capsys.readouterr().err)
    assert line["event"] == event
    assert facts.items() <= line.items()


def test_a_late_success_that_was_undone_has_a_line_of_its_own(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logs("json", "info")
    failed = standing(State.FAILED).transaction
    draft = late_success_undone(Draft(failed), failed.step("card_charge"), NOW)
    LogObserver().committed(draft.change(now=NOW, due_at=None, keep_claim=False))
    assert json.loads(capsys.readouterr().err)["event"] == "late success undone"


def test_an_operators_act_is_a_line_with_who_did_what_and_without_the_free_text(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logs("json", "info")
    draft = held(standing(State.SETTLING), Mandate("ann", "card 4111 1111 is odd"), NOW)
    LogObserver().committed(draft.change(now=NOW, due_at=NOW, keep_claim=False))
    (line,) = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    facts = {"event": "operator acted", "actor": "ann", "act": "hold", "transaction_id": ID}
    assert facts.items() <= line.items()
    assert "4111" not in str(line)


def test_a_payment_is_said_to_need_attention_once(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("json", "info")
    draft, suspicious = standing(State.SETTLING), Unknown("ANSWER_MISMATCH", "odd", suspicious=True)
    result = Result("points_reserve", Operation.CONFIRM, suspicious)
    draft = record(draft, BOTH, [result], NOW)
    LogObserver().committed(draft.change(now=NOW, due_at=NOW, keep_claim=True))
    draft = record(Draft(draft.transaction), BOTH, [result], NOW)
    LogObserver().committed(draft.change(now=NOW, due_at=NOW, keep_claim=True))
    (line,) = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert (line["level"], line["event"]) == ("warning", "payment needs attention")
    assert (line["transaction_id"], line["code"]) == (ID, "ANSWER_MISMATCH")


def test_a_higher_level_says_less(capsys: pytest.CaptureFixture[str]) -> None:
    assert settle(capsys, "warning") == []


def test_trouble_names_the_kind_of_error_and_never_its_text(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logs("json", "info")
    LogObserver().troubled("commit", RuntimeError("tok_secret"), "id-1")
    LogObserver().troubled("commit", StoreUnavailable("connection refused"), "id-1")
    first, second = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert (first["error"], first["reason"]) == ("RuntimeError", "")
    assert (second["error"], second["reason"]) == ("StoreUnavailable", "connection refused")


def test_the_same_trouble_again_and_again_is_said_a_few_times_and_then_counted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logs("json", "info")
    seconds = 7.0
    observer = LogObserver(lambda: seconds)
    for number in range(SAME_LINES + 30):
        observer.troubled("commit", StoreUnavailable("connection refused"), f"id-{number}")
    observer.troubled("commit", RuntimeError(), "another error")
    seconds = 8.0
    observer.troubled("commit", StoreUnavailable("connection refused"), "a second later")
    seconds = 9.0
    observer.troubled("commit", StoreUnavailable("connection refused"), "and another")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    said = [line["transaction_id"] for line in lines]
    same = [f"id-{number}" for number in range(SAME_LINES)]
    assert said == [*same, "another error", "a second later", "and another"]
    assert [line.get("left_out", 0) for line in lines] == [0] * (SAME_LINES + 1) + [30, 0]


def test_console_logs_have_no_colours_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logs("console", "info")
    LogObserver().troubled("commit", RuntimeError())
    assert "\x1b" not in capsys.readouterr().err


class Broken:
    def _fail(self, *_facts: object) -> None:
        raise OSError("no space left on device")

    committed = troubled = called = grouped = claim_lost = breaker_changed = served = _fail
    injected = _fail


def tell_everything(observer: Observer) -> None:
    draft = advance(standing(State.SETTLING), BOTH, (Event.PAY,), NOW)
    observer.committed(draft.change(now=NOW, due_at=None, keep_claim=True))
    observer.troubled("anything", RuntimeError())
    observer.called("card", Operation.TRY, Applied(), 0.1)
    observer.grouped(3, 0.01)
    observer.claim_lost(ID)
    observer.breaker_changed("card", BreakerState.OPEN)
    observer.served("CreatePayment", "OK")
    observer.injected("reply-lost", "card/confirm")


def test_an_observer_that_fails_stops_nothing() -> None:
    tell_everything(Unfailing(Broken()))


def test_several_observers_are_all_told_everything() -> None:
    first, second = Recorder(), Recorder()
    tell_everything(Several([first, second]))
    assert all(vars(first).values()), "something was not told"
    assert first == second


def test_an_injected_fault_is_a_warning_that_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("json", "info")
    LogObserver().injected("reply-lost", "card/confirm", ID)
    line = json.loads(capsys.readouterr().err)
    assert (line["event"], line["level"]) == ("fault injected", "warning")
    assert (line["kind"], line["place"]) == ("reply-lost", "card/confirm")
    assert line["transaction_id"] == ID


def test_a_lost_claim_and_a_breaker_are_log_lines(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("json", "info")
    LogObserver().claim_lost(ID)
    LogObserver().breaker_changed("card", BreakerState.OPEN)
    LogObserver().breaker_changed("card", BreakerState.CLOSED)
    lost, opened, closed = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert (lost["level"], lost["event"], lost["transaction_id"]) == ("warning", "claim lost", ID)
    assert (opened["level"], opened["participant"], opened["state"]) == ("warning", "card", "open")
    assert (closed["level"], closed["state"]) == ("info", "closed")


def test_what_happens_with_every_call_is_no_log_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("json", "debug")
    LogObserver().called("card", Operation.TRY, Applied(), 0.1)
    LogObserver().grouped(3, 0.01)
    LogObserver().served("CreatePayment", "OK")
    assert capsys.readouterr().err == ""
