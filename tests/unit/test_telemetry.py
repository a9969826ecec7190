"""Logs say what they may, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from coordinator.domain.errors import StoreUnavailable
from coordinator.domain.machine import Event, State
from coordinator.domain.record import evolve
from coordinator.domain.transaction import Draft, RefundOf, advance, late_success_undone
from coordinator.telemetry import REDACTED, LogObserver, Unfailing, allow_listed, configure_logs
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


def test_console_logs_have_no_colours_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logs("console", "info")
    LogObserver().troubled("commit", RuntimeError())
    assert "\x1b" not in capsys.readouterr().err


class Broken:
    def committed(self, _change: object) -> None:
        raise OSError("no space left on device")

    def troubled(self, *_facts: object) -> None:
        raise OSError("no space left on device")


def test_an_observer_that_fails_stops_nothing() -> None:
    observer = Unfailing(Broken())
    draft = advance(standing(State.SETTLING), BOTH, (Event.PAY,), NOW)
    observer.committed(draft.change(now=NOW, due_at=None, keep_claim=True))
    observer.troubled("anything", RuntimeError())
