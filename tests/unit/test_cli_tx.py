"""`kessai tx list` and `explain` against a fake AdminService in this process."""

from __future__ import annotations

import io
import json
from typing import Any

import grpc
import pytest
from kessai.admin.v1 import admin_pb2 as pb
from kessai.payments.v1 import payments_pb2
from rich.console import Console

from coordinator.cli.tx_show import age, stamp, story_view, transaction_view, transactions_view, why
from tests.support.cli import KEY, FakeAdmin, Kessai, refuse
from tests.support.operators import NOW, TX, step, story, transaction


def rendered(what: Any, width: int) -> str:
    console = Console(width=width, record=True, file=io.StringIO(), highlight=False)
    console.print(what)
    return console.export_text()


def test_list_sends_every_filter_with_the_operators_key(admin: FakeAdmin, operate: Kessai) -> None:
    admin.answer = pb.ListTransactionsResponse(transactions=[transaction()])
    result = operate(
        *("tx", "list", "--state", "CAPTURING", "--state", "SETTLING", "--live"),
        *("--needs-attention", "--held", "--older-than", "10m", "--participant", "card"),
        *("--error", "UNAVAILABLE", "--caller", "shop", "--flow", "card_only", "--limit", "7"),
    )
    assert result.exit_code == 0, result.output
    [request] = admin.asked
    asked = request.filter
    assert list(asked.states) == [
        payments_pb2.PAYMENT_STATE_CAPTURING, payments_pb2.PAYMENT_STATE_SETTLING,
    ]  # fmt: skip
    assert (asked.live, asked.needs_attention, asked.held) == (True, True, True)
    assert asked.min_time_in_state.ToSeconds() == 600
    assert (asked.participant, asked.error_code) == ("card", "UNAVAILABLE")
    assert (asked.caller, asked.flow) == ("shop", "card_only")
    assert request.page_size == 7
    assert admin.metadata["authorization"] == f"Bearer {KEY}"


def test_a_list_without_filters_asks_for_all(admin: FakeAdmin, operate: Kessai) -> None:
    admin.answer = pb.ListTransactionsResponse()
    operate("tx", "list")
    assert admin.asked[0].filter == pb.TransactionFilter()


def test_list_follows_pages_up_to_the_limit(admin: FakeAdmin, operate: Kessai) -> None:
    def page(request: pb.ListTransactionsRequest) -> pb.ListTransactionsResponse:
        start = int(request.page_token or 0)
        count = min(request.page_size, 3)
        found = [transaction(transaction_id=f"t{start + number}") for number in range(count)]
        return pb.ListTransactionsResponse(transactions=found, next_page_token=str(start + count))

    admin.answer = page
    result = operate("tx", "list", "--limit", "7", "-o", "jsonl")
    found = [json.loads(line)["transaction_id"] for line in result.stdout.splitlines()]
    assert found == [f"t{number}" for number in range(7)]
    assert [request.page_size for request in admin.asked] == [7, 4, 1]


def test_a_list_that_finds_nothing_says_so_and_is_no_failure(
    admin: FakeAdmin, operate: Kessai
) -> None:
    admin.answer = pb.ListTransactionsResponse()
    shown = operate("tx", "list", "--held")
    assert (shown.exit_code, shown.stdout) == (0, "")
    assert "no transaction is like that" in shown.stderr
    assert json.loads(operate("tx", "list", "-o", "json").stdout) == []


def test_a_full_list_says_that_there_may_be_more(admin: FakeAdmin, operate: Kessai) -> None:
    admin.answer = pb.ListTransactionsResponse(transactions=[transaction()])
    assert "--limit" in operate("tx", "list", "--limit", "1").stderr


@pytest.mark.parametrize(
    "option", [("--older-than", "10"), ("--state", "LOST"), ("--limit", "0")], ids=" ".join
)
def test_list_refuses_what_it_cannot_read(operate: Kessai, option: tuple[str, str]) -> None:
    result = operate("tx", "list", *option)
    assert result.exit_code == 2
    assert option[0] in result.stderr


@pytest.mark.parametrize("option", [("--state", "LOST"), ("--output", "xml")], ids=" ".join)
def test_what_is_no_choice_is_said_without_the_parsers_words(
    operate: Kessai, option: tuple[str, str]
) -> None:
    result = operate("tx", "list", *option)
    assert result.exit_code == 2
    assert "is not one of" in result.stderr
    assert "Value error" not in result.stderr


def test_a_state_may_be_typed_in_small_letters(admin: FakeAdmin, operate: Kessai) -> None:
    admin.answer = pb.ListTransactionsResponse()
    assert operate("tx", "list", "--state", "capturing").exit_code == 0
    assert list(admin.asked[0].filter.states) == [payments_pb2.PAYMENT_STATE_CAPTURING]


@pytest.mark.parametrize(
    ("code", "reason"),
    [("UNAUTHENTICATED", "UNAUTHENTICATED"), ("UNAUTHENTICATED", "CREDENTIAL_EXPIRED")],
)
def test_a_key_that_does_not_open_it_says_where_a_key_comes_from(
    admin: FakeAdmin, operate: Kessai, code: str, reason: str
) -> None:
    refuse(admin, getattr(grpc.StatusCode, code), reason)
    result = operate("tx", "list")
    assert result.exit_code == 4
    assert reason in result.stderr
    assert "KESSAI_OPERATOR_KEY" in result.stderr


def test_the_callers_port_is_told_from_the_operators(operate: Kessai, admin: FakeAdmin) -> None:
    admin.error = (grpc.StatusCode.UNIMPLEMENTED, "Method not found!", [])
    assert "KESSAI_ADMIN_LISTEN" in operate("tx", "list").stderr


def test_a_service_that_is_away_exits_3_and_names_the_option(operate: Kessai) -> None:
    result = operate("tx", "list", "--admin-address", "127.0.0.1:1")
    assert result.exit_code == 3
    assert "--admin-address or KESSAI_ADMIN_ADDRESS" in result.stderr
    assert "kessai doctor" in result.stderr


@pytest.mark.parametrize("width", [80, 120, 200])
def test_a_list_never_breaks_an_id_and_says_why(width: int) -> None:
    held = transaction(hold=pb.Hold(operator="alice", reason="looking"))
    shown = rendered(transactions_view([transaction(), held], stamp(NOW), width), width)
    assert shown.count(TX) == 2
    assert "12m" in shown
    assert "UNAVAILABLE ×7" in shown.replace("\n", " ") or width == 80
    assert "alice" in shown


def test_an_error_before_the_first_attempt_is_counted_by_nothing() -> None:
    waiting = transaction()
    waiting.steps[0].attempts = 0
    assert why(waiting) == "card_charge UNAVAILABLE"


def test_what_was_acted_on_shows_the_version_that_the_next_act_may_name() -> None:
    assert "version      17" in rendered(transaction_view(transaction(), stamp(NOW), 120), 120)


def test_what_is_held_is_due_at_no_time() -> None:
    held = story(transaction(hold=pb.Hold(operator="alice", reason="looking")))
    assert "next due" not in rendered(story_view(held, "kessai", 120), 120)
    assert "next due" in rendered(story_view(story(), "kessai", 120), 120)


def test_a_settled_transaction_shows_why_it_failed_and_not_what_it_tried(
    admin: FakeAdmin, operate: Kessai
) -> None:
    failed = transaction(
        "FAILED", failure=payments_pb2.Failure(code="CARD_DECLINED", reason="no", phase="card")
    )
    admin.answer = pb.ListTransactionsResponse(transactions=[failed])
    shown = operate("tx", "list").stdout
    assert "CARD_DECLINED" in shown
    assert "UNAVAILABLE" not in shown


def test_explain_tells_the_whole_story(admin: FakeAdmin, operate: Kessai) -> None:
    attention = payments_pb2.Attention(code="TOO_OLD", reason="it takes too long")
    admin.answer = story(transaction(attention=attention))
    result = operate("tx", "explain", TX, "--lines", "9")
    assert result.exit_code == 0, result.output
    assert admin.asked[0].transaction_id == TX
    assert admin.asked[0].journal_lines == 9
    for told in (
        "CAPTURING for 12m", "TOO_OLD: it takes too long", "nobody at this moment",
        "2026-11-21 12:00:07.000 UTC (in 7s)", "Confirm did not answer", "card_charge",
        "after 2 earlier lines", "RESERVED → CAPTURING", "card_charge confirm 7",
        "unknown; UNAVAILABLE: no connection", "alice resume", "card is back",
        "nobody holds it (NOT_HELD)", "it is decided (ALREADY_DECIDED)",
        "--step card_charge --as captured", "--step card_charge --as not-captured",
    ):  # fmt: skip
        assert told in result.stdout


def test_explain_as_json_is_the_answer_itself(admin: FakeAdmin, operate: Kessai) -> None:
    admin.answer = story()
    told = json.loads(operate("tx", "explain", TX, "-o", "json").stdout)
    assert told["transaction"]["transaction_id"] == TX
    assert told["transaction"]["version"] == "17"
    assert told["actions"][0] == {
        "action": "OPERATOR_ACTION_RESUME", "allowed": True, "code": "",
        "reason": "asks every unfinished step again at once",
    }  # fmt: skip


def test_explain_says_who_drives_it(admin: FakeAdmin, operate: Kessai) -> None:
    claim = pb.Claim(owner="host/12/x", here=True)
    claim.remaining.FromSeconds(25)
    admin.answer = story(claim=claim)
    shown = operate("tx", "explain", TX).stdout
    assert "host/12/x (its claim lasts 25s unless it renews it; it is the process" in shown


def test_a_settled_one_waits_for_nothing(admin: FakeAdmin, operate: Kessai) -> None:
    admin.answer = story(transaction("PAID", steps=[step(status="CONFIRMED")]), waits=[])
    shown = operate("tx", "explain", TX).stdout
    assert "It waits for" not in shown
    assert "driven by" not in shown
    assert "next due" not in shown


def test_a_story_fits_a_terminal_of_80_columns_and_its_commands_can_be_pasted() -> None:
    shown = rendered(story_view(story(), "kessai", 80), 80)
    assert max(len(line) for line in shown.splitlines()) <= 80
    assert f"  kessai tx resolve {TX} \\\n    --step" in shown


def test_what_others_wrote_cannot_drive_the_terminal(admin: FakeAdmin, operate: Kessai) -> None:
    nasty = "\x1b[31mred\n"
    admin.answer = story(
        transaction(
            merchant_id=nasty, order_id=nasty, hold=pb.Hold(operator="bob", reason=nasty),
            attention=payments_pb2.Attention(code="X", reason=nasty),
            failure=payments_pb2.Failure(code="X", reason=nasty),
            steps=[step(last_error=nasty, refusal=pb.Refusal(code="X", reason=nasty))],
        ),
        journal=[pb.JournalEntry(kind="operator", event="hold", detail=nasty, evidence=nasty)],
    )  # fmt: skip
    assert "\x1b" not in operate("tx", "explain", TX).output
    admin.answer = pb.ListTransactionsResponse(transactions=[admin.answer.transaction])
    assert "\x1b" not in operate("tx", "list").output


def test_an_unknown_id_is_the_servers_refusal(admin: FakeAdmin, operate: Kessai) -> None:
    refuse(admin, grpc.StatusCode.NOT_FOUND, "TRANSACTION_NOT_FOUND")
    result = operate("tx", "explain", TX, "-o", "json")
    assert result.exit_code == 4
    assert json.loads(result.stderr)["error"] == "TRANSACTION_NOT_FOUND"


@pytest.mark.parametrize(
    ("of_s", "shown"),
    [(-3, "0s"), (0.9, "0s"), (119, "119s"), (120, "2m"), (3599, "59m"), (3600, "1h 00m"),
     (86399, "23h 59m"), (86400, "1d 0h"), (200000, "2d 7h")],
)  # fmt: skip
def test_ages_are_short(of_s: float, shown: str) -> None:
    assert age(of_s) == shown
