"""`kessai payments …` against a fake PaymentService in this process."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest, RetryInfo
from kessai.payments.v1 import payments_pb2 as pb

from coordinator.cli.client import Client
from tests.support.cli import KEY, Fake, Kessai, refuse

PAYMENT_ID = "019aa5f0-6c1e-7c1a-9d57-1d1b0f2a6c11"
CREATE = (
    *("payments", "create", "--flow", "points_and_card", "--amount", "1000"),
    *("--currency", "JPY", "--merchant", "shop-1"),
    *("--tender", "points_reserve:alice:600", "--tender", "card_charge:tok_ok:400"),
)


def payment(state: str = "PAID", **values: Any) -> pb.Payment:
    return pb.Payment(
        payment_id=values.pop("payment_id", PAYMENT_ID),
        state=f"PAYMENT_STATE_{state}",
        update_time=datetime(2026, 11, 21, tzinfo=UTC),
        flow="points_and_card",
        amount=pb.Money(currency_code="JPY", minor_units=1000),
        merchant_id="shop-1",
        steps=[pb.Step(phase="card_charge", status=pb.STEP_STATUS_CONFIRMED, attempts=2)],
        **values,
    )


FAILED = payment(
    "FAILED",
    failure=pb.Failure(code="CARD_DECLINED", reason="The card was \x1b[31mdeclined.", phase="card"),
)


def test_create_sends_what_was_said_with_the_key_and_a_deadline(fake: Fake, kessai: Kessai) -> None:
    fake.answer = pb.CreatePaymentResponse(payment=payment())
    result = kessai(*CREATE, "--order", "A-1", "--on-order-conflict", "cancel-previous",
                    "--customer", "c", "--key", "k1", "--timeout", "7")  # fmt: skip
    assert result.exit_code == 0
    assert "PAID" in result.stdout
    assert "1,000 JPY" in result.stdout
    [request] = fake.asked
    assert request.idempotency_key == "k1"
    assert [(item.method, item.source, item.amount.minor_units) for item in request.tenders] == [
        ("points_reserve", "alice", 600),
        ("card_charge", "tok_ok", 400),
    ]
    assert (request.amount.currency_code, request.amount.minor_units) == ("JPY", 1000)
    assert request.order_conflict == pb.ORDER_CONFLICT_CANCEL_PREVIOUS
    assert (request.order_id, request.customer_id, request.merchant_id) == ("A-1", "c", "shop-1")
    assert fake.metadata["authorization"] == f"Bearer {KEY}"
    assert 0 < fake.remaining_s <= 7 * 1.01, "on the wire a deadline is rounded up"


def test_a_fresh_key_is_told_on_stderr_so_that_the_call_can_be_repeated(
    fake: Fake, kessai: Kessai
) -> None:
    fake.answer = pb.CreatePaymentResponse(payment=payment())
    first, second = kessai(*CREATE), kessai(*CREATE)
    keys = [request.idempotency_key for request in fake.asked]
    assert len(set(keys)) == 2
    for result, key in zip((first, second), keys, strict=True):
        assert f"--key {key}" in result.stderr
        assert PAYMENT_ID in result.stdout


def test_a_failed_payment_shows_its_reason_and_exits_1(fake: Fake, kessai: Kessai) -> None:
    fake.answer = pb.CreatePaymentResponse(payment=FAILED)
    result = kessai(*CREATE, "--key", "k")
    assert result.exit_code == 1
    assert "CARD_DECLINED" in result.stdout
    assert "\x1b" not in result.output


def test_a_payment_that_is_not_settled_yet_exits_5_and_says_how_to_follow_it(
    fake: Fake, kessai: Kessai
) -> None:
    fake.answer = pb.CreatePaymentResponse(payment=payment("CAPTURING"))
    result = kessai(*CREATE, "--key", "k")
    assert result.exit_code == 5
    assert f"kessai payments watch {PAYMENT_ID}" in result.stderr


def test_an_empty_key_is_refused_and_never_replaced(fake: Fake, kessai: Kessai) -> None:
    result = kessai(*CREATE, "--key", "")
    assert result.exit_code == 2
    assert "--key" in result.stderr
    assert not fake.asked


@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_a_programs_error_is_one_json_object_that_has_the_key_to_repeat_the_call_with(
    fake: Fake, kessai: Kessai, form: str
) -> None:
    fake.error = (grpc.StatusCode.DEADLINE_EXCEEDED, "", [])
    result = kessai(*CREATE, "-o", form)
    assert result.exit_code == 3
    assert json.loads(result.stderr)["key"] == fake.asked[0].idempotency_key
    assert len(result.stderr.splitlines()) == 1


def test_a_watch_whose_time_is_over_says_how_the_payment_stands(fake: Fake, kessai: Kessai) -> None:
    class Ends(list[Any]):
        def __iter__(self) -> Iterator[Any]:
            yield from super().__iter__()
            threading.Event().wait(5)  # longer than the call's deadline

    fake.answer = Ends([pb.WatchPaymentResponse(payment=payment("CREATED"))])
    result = kessai("payments", "watch", PAYMENT_ID, "--timeout", "0.5")
    assert result.exit_code == 5
    assert "still CREATED" in result.stderr
    assert f"kessai payments watch {PAYMENT_ID}" in result.stderr


def test_ctrl_c_exits_130(kessai: Kessai, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_client: Client, _payment_id: str) -> pb.Payment:
        raise KeyboardInterrupt

    monkeypatch.setattr(Client, "get", interrupted)
    assert kessai("payments", "get", PAYMENT_ID).exit_code == 130


def test_times_are_shown_in_utc(fake: Fake, kessai: Kessai) -> None:
    fake.answer = pb.GetPaymentResponse(
        payment=payment(create_time=datetime(2026, 11, 21, 10, tzinfo=UTC))
    )
    assert "2026-11-21 10:00:00.000 UTC" in kessai("payments", "get", PAYMENT_ID).stdout


def test_a_replay_is_told(fake: Fake, kessai: Kessai) -> None:
    fake.answer = pb.CreatePaymentResponse(payment=payment(), replayed=True)
    result = kessai(*CREATE, "--key", "k", "-o", "jsonl")
    assert result.exit_code == 0
    assert "used before" in result.stderr
    assert len(result.stdout.splitlines()) == 1


@pytest.mark.parametrize(
    "tender", ["points_reserve", "points_reserve:alice", "a:b:x", ":a:1", "card:4111111111111111"]
)
def test_a_tender_that_cannot_be_read_is_refused_without_repeating_it(
    fake: Fake, kessai: Kessai, tender: str
) -> None:
    result = kessai(*CREATE, "--tender", tender)
    assert result.exit_code == 2
    assert "METHOD:SOURCE:AMOUNT" in result.stderr
    assert "--tender" in result.stderr
    assert "4111" not in result.output
    assert not fake.asked


def test_numbers_beyond_64_bits_and_broken_text_are_usage_errors(
    fake: Fake, kessai: Kessai
) -> None:
    huge = kessai(*CREATE, "--amount", str(2**63))
    broken = kessai(*CREATE, "--order", "\udcff")
    assert (huge.exit_code, broken.exit_code) == (2, 2)
    assert "cannot be sent" in huge.stderr
    assert not fake.asked


def test_field_violations_are_shown_field_by_field(fake: Fake, kessai: Kessai) -> None:
    violations = [
        BadRequest.FieldViolation(
            field="tenders[0].amount.minor_units", description="must be above 0", reason="RANGE"
        ),
        BadRequest.FieldViolation(field="flow", description="is not known", reason="UNKNOWN_FLOW"),
    ]
    bad = BadRequest(field_violations=violations)
    refuse(fake, grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST", bad)
    result = kessai(*CREATE, "--key", "k")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "INVALID_REQUEST" in result.stderr
    assert "tenders[0].amount.minor_units: must be above 0 (RANGE)" in result.stderr
    assert "flow: is not known (UNKNOWN_FLOW)" in result.stderr

    as_json = kessai(*CREATE, "--key", "k", "-o", "json")
    error = json.loads(as_json.stderr)
    assert error["error"] == "INVALID_REQUEST"
    assert error["exit_code"] == as_json.exit_code == 2
    assert error["key"] == "k"
    assert error["fields"][1] == {
        "field": "flow", "code": "UNKNOWN_FLOW", "message": "is not known",
    }  # fmt: skip


def test_a_refusal_says_its_reason_and_when_to_repeat(fake: Fake, kessai: Kessai) -> None:
    retry = RetryInfo()
    retry.retry_delay.FromMilliseconds(500)
    refuse(fake, grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_IN_FLIGHT", retry)
    result = kessai(*CREATE, "--key", "k")
    assert result.exit_code == 4
    assert "error: TOO_MANY_IN_FLIGHT: why TOO_MANY_IN_FLIGHT happened" in result.stderr
    assert "repeat it in 0.5 s with the same --key" in result.stderr


def test_a_database_that_is_down_is_the_servers_refusal(fake: Fake, kessai: Kessai) -> None:
    refuse(fake, grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")
    assert kessai("payments", "get", PAYMENT_ID).exit_code == 4


def test_no_server_and_no_answer_in_time_exit_3(fake: Fake, kessai: Kessai) -> None:
    away = kessai("payments", "get", PAYMENT_ID, "--address", "127.0.0.1:1")
    assert away.exit_code == 3
    assert "cannot reach 127.0.0.1:1" in away.stderr
    assert "kessai up" in away.stderr
    fake.error = (grpc.StatusCode.DEADLINE_EXCEEDED, "", [])
    slow = kessai("payments", "get", PAYMENT_ID)
    assert slow.exit_code == 3
    assert "did not answer in time" in slow.stderr


def test_a_bad_address_or_key_is_a_usage_error(kessai: Kessai) -> None:
    assert kessai("payments", "list", "--address", "nowhere").exit_code == 2
    result = kessai("payments", "list", "--api-key", "schlüssel")
    assert result.exit_code == 2
    assert "schlüssel" not in result.output


def test_list_follows_pages_up_to_the_limit(fake: Fake, kessai: Kessai) -> None:
    def page(request: pb.ListPaymentsRequest) -> pb.ListPaymentsResponse:
        start = int(request.page_token or 0)
        count = min(request.page_size, 3)
        made = [payment(payment_id=f"p{start + number}") for number in range(count)]
        return pb.ListPaymentsResponse(payments=made, next_page_token=str(start + count))

    fake.answer = page
    result = kessai("payments", "list", "--limit", "7", "-o", "jsonl")
    assert result.exit_code == 0
    found = [json.loads(line)["payment_id"] for line in result.stdout.splitlines()]
    assert found == [f"p{number}" for number in range(7)]
    assert [request.page_size for request in fake.asked] == [7, 4, 1]


def test_list_sends_its_filters(fake: Fake, kessai: Kessai) -> None:
    fake.answer = pb.ListPaymentsResponse(payments=[payment(), FAILED])
    result = kessai(
        *("payments", "list", "--state", "PAID", "--state", "FAILED", "--order", "o"),
        *("--customer", "c", "--merchant", "m"),
        *("--from", "2026-11-21", "--to", "2026-11-21T09:00:00+09:00"),
    )
    assert result.exit_code == 0
    [request] = fake.asked
    assert list(request.states) == [pb.PAYMENT_STATE_PAID, pb.PAYMENT_STATE_FAILED]
    assert (request.order_id, request.customer_id, request.merchant_id) == ("o", "c", "m")
    assert request.create_time_from == request.create_time_to
    assert request.create_time_from.ToJsonString() == "2026-11-21T00:00:00Z"
    assert result.stdout.count(PAYMENT_ID) == 2
    assert len(json.loads(kessai("payments", "list", "-o", "json").stdout)) == 2


def test_list_refuses_times_states_and_limits_it_cannot_read(
    kessai: Kessai,
) -> None:
    for option in (("--from", "yesterday"), ("--to", "x"), ("--state", "LOST"), ("--limit", "0")):
        result = kessai("payments", "list", *option)
        assert result.exit_code == 2
        assert option[0] in result.stderr


def test_watch_prints_every_change_and_ends_by_the_last_one(fake: Fake, kessai: Kessai) -> None:
    changes = [payment("CREATED"), payment("CAPTURING"), FAILED]
    fake.answer = [pb.WatchPaymentResponse(payment=item) for item in changes]
    lines = kessai("payments", "watch", PAYMENT_ID)
    assert lines.exit_code == 1
    assert [line.split()[2:4] for line in lines.stdout.splitlines()] == [
        ["UTC", "CREATED"], ["UTC", "CAPTURING"], ["UTC", "FAILED"],
    ]  # fmt: skip
    stream = kessai("payments", "watch", PAYMENT_ID, "-o", "jsonl")
    assert len([json.loads(line) for line in stream.stdout.splitlines()]) == 3
    fake.answer = fake.answer[:2]
    assert kessai("payments", "watch", PAYMENT_ID, "-o", "json").exit_code == 5


def test_cancel_sends_its_reason(fake: Fake, kessai: Kessai) -> None:
    fake.answer = pb.CancelPaymentResponse(payment=FAILED)
    assert kessai("payments", "cancel", PAYMENT_ID, "--reason", "left").exit_code == 0
    assert fake.asked[0].reason == "left"
    fake.answer = pb.CancelPaymentResponse(payment=payment("CANCELLING"))
    assert kessai("payments", "cancel", PAYMENT_ID).exit_code == 5
    refuse(fake, grpc.StatusCode.FAILED_PRECONDITION, "WRONG_STATE")
    assert kessai("payments", "cancel", PAYMENT_ID).exit_code == 4


def test_the_journal_reads_as_transitions_and_attempts(fake: Fake, kessai: Kessai) -> None:
    entries = [
        pb.JournalEntry(
            sequence=1,
            kind="transition",
            event="settle",
            from_state=pb.PAYMENT_STATE_CAPTURING,
            to_state=pb.PAYMENT_STATE_SETTLING,
        ),
        pb.JournalEntry(
            sequence=2, kind="attempt", phase="card_charge", operation="confirm", attempt=2,
            from_state=pb.PAYMENT_STATE_CAPTURING, to_state=pb.PAYMENT_STATE_CAPTURING,
            outcome="unknown", code="DEADLINE_EXCEEDED",
        ),
    ]  # fmt: skip
    fake.answer = pb.ListJournalResponse(entries=entries)
    result = kessai("payments", "journal", PAYMENT_ID)
    assert "CAPTURING → SETTLING" in result.stdout
    assert "card_charge confirm #2" in result.stdout
    assert len(json.loads(kessai("payments", "journal", PAYMENT_ID, "-o", "json").stdout)) == 2


def test_get_shows_other_currencies_in_their_own_form(fake: Fake, kessai: Kessai) -> None:
    dollars = payment()
    dollars.amount.CopyFrom(pb.Money(currency_code="USD", minor_units=123456))
    fake.answer = pb.GetPaymentResponse(payment=dollars)
    assert "1,234.56 USD" in kessai("payments", "get", PAYMENT_ID).stdout


def test_create_sends_the_terms_of_a_reservation(fake: Fake, kessai: Kessai) -> None:
    reserved = payment("RESERVED", capture=pb.CAPTURE_MODE_MANUAL)
    reserved.reserve_until.FromDatetime(datetime(2026, 11, 21, 10, tzinfo=UTC))
    reserved.items.add(phase="stock_reserve", item_id="lamp-7")
    fake.answer = pb.CreatePaymentResponse(payment=reserved)
    result = kessai(
        *(*CREATE, "--capture", "manual", "--reserve-for", "90s"),
        *("--item", "stock_reserve=lamp-7", "--item", "box_reserve=3"),
    )
    assert result.exit_code == 0  # it is as it was asked for
    [request] = fake.asked
    assert request.capture == pb.CAPTURE_MODE_MANUAL
    assert request.reserve_for.ToJsonString() == "90s"
    assert [(item.phase, item.item_id) for item in request.items] == [
        ("stock_reserve", "lamp-7"),
        ("box_reserve", "3"),
    ]
    assert "2026-11-21 10:00:00.000 UTC" in result.stdout
    assert "lamp-7 by stock_reserve" in result.stdout
    assert f"kessai payments capture {PAYMENT_ID}" in result.stderr
    assert f"kessai payments cancel {PAYMENT_ID}" in result.stderr


def test_what_is_not_said_of_a_reservation_is_not_sent(fake: Fake, kessai: Kessai) -> None:
    fake.answer = pb.CreatePaymentResponse(payment=payment())
    assert kessai(*CREATE).exit_code == 0
    [request] = fake.asked
    assert not request.capture
    assert not request.HasField("reserve_for")
    assert not request.items


def test_terms_that_cannot_be_read_are_usage_errors(fake: Fake, kessai: Kessai) -> None:
    for option in (("--capture", "later"), ("--reserve-for", "soon"), ("--item", "lamp")):
        result = kessai(*CREATE, *option)
        assert result.exit_code == 2
        assert option[0] in result.stderr
    assert not fake.asked


def test_a_payment_that_waits_for_its_customer_says_where_to_send_them(
    fake: Fake, kessai: Kessai
) -> None:
    waiting = payment("CREATED")
    waiting.steps[0].next_action.CopyFrom(
        pb.NextAction(kind="redirect", url="https://card.example/confirm/\x1b1")
    )
    fake.answer = pb.CreatePaymentResponse(payment=waiting)
    result = kessai(*CREATE, "--key", "k")
    assert result.exit_code == 5
    assert "https://card.example/confirm/" in result.stdout
    assert "card_charge waits for the customer (redirect)" in result.stderr
    assert f"kessai payments watch {PAYMENT_ID}" in result.stderr
    assert "\x1b" not in result.output
    fake.answer = [pb.WatchPaymentResponse(payment=waiting)]
    assert "waits for the customer" in kessai("payments", "watch", PAYMENT_ID).stdout


def test_capture_takes_all_of_it_without_another_call(fake: Fake, kessai: Kessai) -> None:
    fake.answer = pb.CapturePaymentResponse(payment=payment())
    result = kessai("payments", "capture", PAYMENT_ID, "--key", "k")
    assert result.exit_code == 0
    assert fake.asked == [pb.CapturePaymentRequest(payment_id=PAYMENT_ID, idempotency_key="k")]


def test_capture_takes_a_part_in_the_payments_currency(fake: Fake, kessai: Kessai) -> None:
    captured = payment()
    captured.captured_amount.CopyFrom(pb.Money(currency_code="JPY", minor_units=700))
    captured.steps[0].amount.CopyFrom(pb.Money(currency_code="JPY", minor_units=400))
    captured.steps[0].final_amount.CopyFrom(pb.Money(currency_code="JPY", minor_units=100))

    def answer(request: Any) -> Any:
        if isinstance(request, pb.GetPaymentRequest):
            return pb.GetPaymentResponse(payment=payment("RESERVED"))
        return pb.CapturePaymentResponse(payment=captured, replayed=True)

    fake.answer = answer
    result = kessai(
        *("payments", "capture", PAYMENT_ID, "--amount", "700"),
        *("--split", "exact:points_reserve=600,card_charge=100"),
    )
    assert result.exit_code == 0
    request = fake.asked[-1]
    assert request.amount == pb.Money(currency_code="JPY", minor_units=700)
    assert [(share.method, share.amount.minor_units) for share in request.split.exact.shares] == [
        ("points_reserve", 600),
        ("card_charge", 100),
    ]
    assert request.split.exact.shares[0].amount.currency_code == "JPY"
    assert f"--key {request.idempotency_key}" in result.stderr
    assert "used before" in result.stderr
    assert "700 JPY" in result.stdout
    assert "100 of 400 JPY" in result.stdout


def test_a_capture_ends_by_the_payments_state(fake: Fake, kessai: Kessai) -> None:
    fake.answer = pb.CapturePaymentResponse(payment=FAILED)
    assert kessai("payments", "capture", PAYMENT_ID).exit_code == 1
    fake.answer = pb.CapturePaymentResponse(payment=payment("SETTLING"))
    assert kessai("payments", "capture", PAYMENT_ID).exit_code == 5
    refuse(fake, grpc.StatusCode.FAILED_PRECONDITION, "RESERVATION_EXPIRED")
    late = kessai("payments", "capture", PAYMENT_ID, "-o", "json")
    assert late.exit_code == 4
    assert json.loads(late.stderr)["error"] == "RESERVATION_EXPIRED"
    assert json.loads(late.stderr)["key"] == fake.asked[-1].idempotency_key


def test_a_split_that_cannot_be_read_is_refused_before_anything_is_asked(
    fake: Fake, kessai: Kessai
) -> None:
    for command in (("payments", "capture"), ("refunds", "create")):
        result = kessai(*command, PAYMENT_ID, "--split", "exact:points_reserve=x")
        assert result.exit_code == 2
        assert "points_reserve=x" in result.stderr
    assert not fake.asked


def test_get_shows_what_was_captured_and_given_back(fake: Fake, kessai: Kessai) -> None:
    shown = payment(
        captured_amount=pb.Money(currency_code="JPY", minor_units=700),
        refunded_amount=pb.Money(currency_code="JPY", minor_units=250),
    )
    fake.answer = pb.GetPaymentResponse(payment=shown)
    lines = kessai("payments", "get", PAYMENT_ID).stdout.splitlines()
    assert ["captured", "700", "JPY"] in [line.split() for line in lines]
    assert ["refunded", "250", "JPY"] in [line.split() for line in lines]
    fake.answer = pb.ListPaymentsResponse(payments=[shown])
    listed = kessai("payments", "list").stdout
    assert "700 of 1,000 JPY" in listed
    assert "250 JPY" in listed
