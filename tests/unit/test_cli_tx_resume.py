"""`kessai tx resume` against a fake AdminService in this process."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Mapping
from typing import Any

import grpc
import pytest
from kessai.admin.v1 import admin_pb2 as pb
from rich.console import Console

from coordinator.cli import asking, many
from coordinator.cli.many import Outcome, Pace, Result, Run
from coordinator.cli.output import Format
from tests.support.cli import FakeAdmin, Kessai, Refusal
from tests.support.operators import TX, story, transaction, verdict

OTHER = TX.replace("11", "22")
BUSY = Refusal(grpc.StatusCode.FAILED_PRECONDITION, "BEING_DRIVEN", "host/1 works on it")
HELD = Refusal(grpc.StatusCode.FAILED_PRECONDITION, "HELD_BY_OPERATOR", "bob holds it")


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "on_a_terminal", lambda: True)


def stuck(
    matching: int, live: int | None = None, refusals: Mapping[str, Refusal] | None = None
) -> Any:
    """A service where so many match the filter out of so many that are live."""
    found = [f"t{number}" for number in range(matching)]

    def answer(request: Any) -> Any:
        match request:
            case pb.CountTransactionsRequest():
                everything = request.filter == pb.TransactionFilter(live=True)
                count = (live if live is not None else matching + 1) if everything else matching
                return pb.CountTransactionsResponse(count=count)
            case pb.ListTransactionsRequest():
                page = [transaction(transaction_id=each) for each in found[: request.page_size]]
                return pb.ListTransactionsResponse(transactions=page)
            case pb.ExplainTransactionRequest():
                allowed = verdict("RESUME")
                held = verdict("RESUME", "HELD_BY_OPERATOR", "bob holds it")
                no = request.transaction_id in (refusals or {})
                return story(actions=[held if no else allowed])
        refused = (refusals or {}).get(request.transaction_id)
        resumed = transaction(transaction_id=request.transaction_id)
        return refused or pb.ResumeTransactionResponse(transaction=resumed)

    return answer


def resumed(admin: FakeAdmin) -> list[str]:
    return [
        each.transaction_id for each in admin.asked if isinstance(each, pb.ResumeTransactionRequest)
    ]


def test_one_is_resumed_without_asking(admin: FakeAdmin, operate: Kessai) -> None:
    admin.answer = stuck(1)
    result = operate("tx", "resume", TX, "--reason", "card is back", "--if-version", "17")
    assert result.exit_code == 0, result.output
    assert admin.asked == [
        pb.ResumeTransactionRequest(transaction_id=TX, reason="card is back", if_version=17)
    ]
    assert f"{TX}  resumed  CAPTURING" in result.stdout


def test_the_only_one_that_is_refused_exits_4(admin: FakeAdmin, operate: Kessai) -> None:
    admin.answer = BUSY
    result = operate("tx", "resume", TX)
    assert result.exit_code == 4
    assert "BEING_DRIVEN: host/1 works on it" in result.stderr


def test_each_of_several_has_its_result_and_some_that_fail_exit_1(
    admin: FakeAdmin, operate: Kessai
) -> None:
    admin.answer = stuck(2, refusals={OTHER: HELD})
    result = operate("tx", "resume", TX, OTHER, TX)
    assert result.exit_code == 1
    assert resumed(admin) == [TX, OTHER]
    assert result.stdout.splitlines() == [
        f"{TX}  resumed  CAPTURING",
        f"{OTHER}  refused  HELD_BY_OPERATOR: bob holds it",
    ]
    assert "1 resumed, 1 refused" in result.stderr
    as_lines = operate("tx", "resume", TX, OTHER, "-o", "jsonl").stdout.splitlines()
    assert json.loads(as_lines[1]) == {
        "transaction_id": OTHER, "result": "refused", "state": "",
        "code": "HELD_BY_OPERATOR", "reason": "bob holds it",
    }  # fmt: skip
    assert len(json.loads(operate("tx", "resume", TX, OTHER, "-o", "json").stdout)) == 2


def test_a_filter_means_what_is_not_settled(admin: FakeAdmin, operate: Kessai) -> None:
    admin.answer = stuck(3)
    result = operate("tx", "resume", "--participant", "card")
    assert result.exit_code == 0, result.output
    assert resumed(admin) == ["t0", "t1", "t2"]
    [listed] = [each for each in admin.asked if isinstance(each, pb.ListTransactionsRequest)]
    assert listed.filter == pb.TransactionFilter(participant="card", live=True)
    assert "3 resumed" in result.stderr


def test_a_filter_that_matches_nothing_says_so_with_a_code_of_its_own(
    admin: FakeAdmin, operate: Kessai
) -> None:
    admin.answer = stuck(0)
    result = operate("tx", "resume", "--held", "-o", "json")
    assert result.exit_code == 6
    assert json.loads(result.stderr)["error"] == "NOTHING_MATCHES"
    assert not resumed(admin)


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize(
    ("matching", "live", "limit", "question"),
    [
        (12, 40, None, "This resumes 12 of the 40 transactions that are not settled. Go on?"),
        (3, 3, None, "This resumes all 3 transactions that are not settled. Go on?"),
        (500, 900, 20, "This resumes the newest 20 of 500 of the 900 transactions"),
    ],
)
def test_many_or_all_are_counted_and_asked_about(
    *, admin: FakeAdmin, operate: Kessai, matching: int, live: int, limit: int | None, question: str
) -> None:
    admin.answer = stuck(matching, live)
    bound = () if limit is None else ("--limit", str(limit))
    no = operate("tx", "resume", "--live", "--flow", "x", *bound, typed="n\n")
    assert no.exit_code == 1
    assert question in no.stderr
    assert not resumed(admin)
    yes = operate("tx", "resume", "--live", "--flow", "x", *bound, typed="y\n")
    assert yes.exit_code == 0
    assert len(resumed(admin)) == (limit or matching)


def test_few_or_a_limit_of_few_are_not_asked_about(admin: FakeAdmin, operate: Kessai) -> None:
    admin.answer = stuck(500, 900)
    assert operate("tx", "resume", "--flow", "x", "--limit", "10").exit_code == 0
    assert len(resumed(admin)) == 10


def test_without_a_terminal_many_need_yes(admin: FakeAdmin, operate: Kessai) -> None:
    admin.answer = stuck(12)
    refused = operate("tx", "resume", "--flow", "x")
    assert refused.exit_code == 2
    assert "12 of the 13" in refused.stderr
    assert "--yes" in refused.stderr
    assert not resumed(admin)
    assert operate("tx", "resume", "--flow", "x", "--yes").exit_code == 0
    assert len(resumed(admin)) == 12


def test_a_dry_run_says_what_would_be_done_and_does_nothing(
    admin: FakeAdmin, operate: Kessai
) -> None:
    admin.answer = stuck(12, refusals={"t3": HELD})
    result = operate("tx", "resume", "--flow", "x", "--dry-run")
    assert result.exit_code == 0, result.output
    assert not resumed(admin)
    assert "t3  would be refused  CAPTURING  HELD_BY_OPERATOR: bob holds it" in result.stdout
    assert "11 would be resumed, 1 would be refused" in result.stderr


def test_those_that_went_on_by_themselves_are_no_trouble_when_a_filter_chose_them(
    admin: FakeAdmin, operate: Kessai
) -> None:
    admin.answer = stuck(3, refusals={"t1": BUSY})
    result = operate("tx", "resume", "--flow", "x")
    assert result.exit_code == 0
    assert "2 resumed, 1 not needed" in result.stderr
    admin.answer = stuck(3, refusals={OTHER: BUSY})
    assert operate("tx", "resume", TX, OTHER).exit_code == 1


def test_when_all_others_would_fail_too_it_stops_and_says_how_many_are_left(
    admin: FakeAdmin, operate: Kessai
) -> None:
    away = Refusal(grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")
    admin.answer = stuck(5, refusals={"t2": away})
    result = operate("tx", "resume", "--flow", "x")
    assert result.exit_code == 4
    assert resumed(admin) == ["t0", "t1", "t2"]
    assert "2 resumed, 3 not done: repeat the command to go on" in result.stderr
    assert "STORE_UNAVAILABLE" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [(), (TX, "--live"), (TX, "--limit", "3"), (TX, OTHER, "--if-version", "3"),
     ("--live", "--rate", "0"), ("--live", "--rate", "fast"), ("--limit", "3"),
     ("--live", "--if-version", "4")],
    ids=" ".join,
)  # fmt: skip
def test_what_cannot_be_meant_is_a_usage_error(
    admin: FakeAdmin, operate: Kessai, arguments: tuple[str, ...]
) -> None:
    admin.answer = stuck(3)
    assert operate("tx", "resume", *arguments).exit_code == 2
    assert not admin.asked


@pytest.mark.parametrize(
    ("given", "pause_s"), [("20/s", 0.05), ("20", 0.05), ("30/m", 2.0), ("3600/h", 1.0)]
)
def test_a_rate_bounds_how_fast_they_go(
    admin: FakeAdmin, operate: Kessai, monkeypatch: pytest.MonkeyPatch, given: str, pause_s: float
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(many, "_wait", slept.append)
    admin.answer = stuck(3)
    assert operate("tx", "resume", "--flow", "x", "--rate", given).exit_code == 0
    assert len(slept) == 2  # the first one goes at once
    assert 0 < slept[0] <= pause_s
    assert slept[1] <= 2 * pause_s  # no time passed meanwhile


def test_an_interruption_prints_what_was_done(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def act(transaction_id: str) -> Result:
        if transaction_id == "t1":
            raise KeyboardInterrupt
        return Result(transaction_id, Outcome.RESUMED)

    run = Run(act, pace=Pace(None), by_filter=True, output=Format.JSON)
    with pytest.raises(KeyboardInterrupt):
        run(["t0", "t1", "t2"])
    shown = capsys.readouterr()
    assert [each["transaction_id"] for each in json.loads(shown.out)] == ["t0"]
    assert "1 resumed, 2 not done" in shown.err


ERASED = "\r\x1b[2K"
"""How the bar leaves its line."""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_sees_a_progress_bar_and_data_in_a_pipe_stays_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal = Terminal()
    shown_on = Console(file=terminal, force_terminal=True, width=80, _environ={})
    monkeypatch.setattr(many, "messages", lambda: shown_on)
    run = Run(
        lambda each: Result(each, Outcome.RESUMED), pace=Pace(None), by_filter=True,
        output=Format.TABLE,
    )  # fmt: skip
    run(["t0", "t1"])
    assert not sys.stdout.isatty()
    assert "2/2" in terminal.getvalue()
    assert "t0" not in terminal.getvalue()
    assert capsys.readouterr().out.splitlines() == ["t0  resumed", "t1  resumed"]


def test_on_one_terminal_every_line_stands_above_the_bar_on_a_line_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = Terminal()
    on_it = Console(file=terminal, force_terminal=True, width=80, color_system=None, _environ={})
    monkeypatch.setattr(many, "messages", lambda: on_it)
    monkeypatch.setattr(many, "data", lambda: Console(file=terminal, force_terminal=True))
    run = Run(
        lambda each: Result(each, Outcome.RESUMED), pace=Pace(None), by_filter=True,
        output=Format.TABLE,
    )  # fmt: skip
    run(["t0", "t1"])
    for line in ("t0  resumed", "t1  resumed"):
        before, found, _ = terminal.getvalue().partition(line)
        assert found
        assert before.endswith(ERASED)
