"""`kessai refunds …` against a fake PaymentService in this process."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import grpc
import pytest
from kessai.payments.v1 import payments_pb2 as pb
from rich.console import Console

from coordinator.cli.show import refunds_view
from tests.support.cli import Fake, Kessai, refuse

PAYMENT_ID = "019aa5f0-6c1e-7c1a-9d57-1d1b0f2a6c11"
REFUND_ID = "019aa5f1-02b4-7e31-8c44-5a3f2c9d7e02"


def yen(minor: int) -> pb.Money:
    return pb.Money(currency_code="JPY", minor_units=minor)


def refund(state: str = "SUCCEEDED", **values: Any) -> pb.Refund:
    return pb.Refund(
        refund_id=values.pop("refund_id", REFUND_ID),
        payment_id=PAYMENT_ID,
        state=f"REFUND_STATE_{state}",
        amount=yen(150),
        shares=[
            pb.Share(method="points_reserve", amount=yen(100)),
            pb.Share(method="card_charge", amount=yen(50)),
        ],
        steps=[pb.Step(phase="merchant_credit", status=pb.STEP_STATUS_CONFIRMED, attempts=1)],
        update_time=datetime(2026, 11, 21, tzinfo=UTC),
        ordinal=2,
        **values,
    )


FAILED = refund(
    "FAILED",
    failure=pb.Failure(
        code="INSUFFICIENT_BALANCE", reason="Too \x1b[31mlittle.", phase="merchant_credit"
    ),
)


def test_all_that_is_left_is_given_back_without_another_call(fake: Fake, kessai: Kessai) -> None:
    fake.answer = pb.CreateRefundResponse(refund=refund())
    result = kessai("refunds", "create", PAYMENT_ID, "--key", "k")
    assert result.exit_code == 0
    assert fake.asked == [pb.CreateRefundRequest(payment_id=PAYMENT_ID, idempotency_key="k")]
    assert "SUCCEEDED" in result.stdout
    assert "100 JPY points_reserve" in result.stdout
    assert "2 of this payment" in result.stdout


def test_a_part_is_in_the_payments_currency_and_divided_as_it_was_said(
    fake: Fake, kessai: Kessai
) -> None:
    def answer(request: Any) -> Any:
        if isinstance(request, pb.GetPaymentRequest):
            return pb.GetPaymentResponse(payment=pb.Payment(amount=yen(1000)))
        return pb.CreateRefundResponse(refund=refund(), replayed=True)

    fake.answer = answer
    split = ("--split", "order:card_charge,points_reserve")
    result = kessai("refunds", "create", PAYMENT_ID, "--amount", "150", *split)
    assert result.exit_code == 0
    request = fake.asked[-1]
    assert request.amount == yen(150)
    assert list(request.split.in_order.methods) == ["card_charge", "points_reserve"]
    assert f"--key {request.idempotency_key}" in result.stderr
    assert "used before" in result.stderr


def test_an_order_alone_needs_no_currency(fake: Fake, kessai: Kessai) -> None:
    fake.answer = pb.CreateRefundResponse(refund=refund())
    assert kessai("refunds", "create", PAYMENT_ID, "--split", "order:card_charge").exit_code == 0
    assert len(fake.asked) == 1


def test_numbers_beyond_64_bits_and_empty_keys_are_usage_errors(fake: Fake, kessai: Kessai) -> None:
    fake.answer = pb.GetPaymentResponse(payment=pb.Payment(amount=yen(1000)))
    huge = kessai("refunds", "create", PAYMENT_ID, "--amount", str(2**63))
    assert (huge.exit_code, "cannot be sent" in huge.stderr) == (2, True)
    assert kessai("refunds", "create", PAYMENT_ID, "--key", "").exit_code == 2


def test_a_refund_ends_by_its_state(fake: Fake, kessai: Kessai) -> None:
    fake.answer = pb.CreateRefundResponse(refund=FAILED)
    failed = kessai("refunds", "create", PAYMENT_ID)
    assert failed.exit_code == 1
    assert "INSUFFICIENT_BALANCE: Too" in failed.stdout
    assert "(at merchant_credit)" in failed.stdout
    assert "\x1b" not in failed.output
    fake.answer = pb.CreateRefundResponse(refund=refund("SETTLING"))
    unsettled = kessai("refunds", "create", PAYMENT_ID)
    assert unsettled.exit_code == 5
    assert f"kessai refunds watch {REFUND_ID}" in unsettled.stderr


@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_a_refusal_is_told_with_the_key(fake: Fake, kessai: Kessai, form: str) -> None:
    refuse(fake, grpc.StatusCode.FAILED_PRECONDITION, "REFUND_EXCEEDS_PAYMENT")
    result = kessai("refunds", "create", PAYMENT_ID, "--key", "k", "-o", form)
    assert result.exit_code == 4
    error = json.loads(result.stderr)
    assert (error["error"], error["key"]) == ("REFUND_EXCEEDS_PAYMENT", "k")


def test_get_shows_one_refund(fake: Fake, kessai: Kessai) -> None:
    fake.answer = pb.GetRefundResponse(refund=FAILED)
    shown = kessai("refunds", "get", REFUND_ID)
    assert shown.exit_code == 0  # it was asked for, and here it is
    assert fake.asked == [pb.GetRefundRequest(refund_id=REFUND_ID)]
    assert REFUND_ID in shown.stdout
    record = json.loads(kessai("refunds", "get", REFUND_ID, "-o", "json").stdout)
    assert record["state"] == "REFUND_STATE_FAILED"


def test_list_follows_all_pages(fake: Fake, kessai: Kessai) -> None:
    def page(request: pb.ListRefundsRequest) -> pb.ListRefundsResponse:
        number = int(request.page_token or 1)
        following = str(number + 1) if number < 3 else ""
        made = refund(refund_id=f"r{number}")
        return pb.ListRefundsResponse(refunds=[made], next_page_token=following)

    fake.answer = page
    listed = kessai("refunds", "list", PAYMENT_ID, "-o", "jsonl")
    found = [json.loads(line)["refund_id"] for line in listed.stdout.splitlines()]
    assert found == ["r1", "r2", "r3"]
    assert {request.payment_id for request in fake.asked} == {PAYMENT_ID}
    table = kessai("refunds", "list", PAYMENT_ID).stdout
    assert "100 JPY points_reserve, 50 JPY card_charge" in table


def test_watch_prints_every_change_and_ends_by_the_last_one(fake: Fake, kessai: Kessai) -> None:
    changes = [refund("CREATED"), refund("SETTLING"), refund()]
    fake.answer = [pb.WatchRefundResponse(refund=item) for item in changes]
    lines = kessai("refunds", "watch", REFUND_ID)
    assert lines.exit_code == 0
    assert [line.split()[3] for line in lines.stdout.splitlines()] == [
        "CREATED", "SETTLING", "SUCCEEDED",
    ]  # fmt: skip
    stream = kessai("refunds", "watch", REFUND_ID, "-o", "jsonl")
    assert len([json.loads(line) for line in stream.stdout.splitlines()]) == 3
    fake.answer = fake.answer[:2]
    unsettled = kessai("refunds", "watch", REFUND_ID, "-o", "json")
    assert unsettled.exit_code == 5
    assert len(json.loads(unsettled.stdout)) == 2
    fake.answer = [pb.WatchRefundResponse(refund=FAILED)]
    assert kessai("refunds", "watch", REFUND_ID).exit_code == 1


@pytest.mark.parametrize("width", [80, 120, 200])
def test_a_list_of_refunds_never_breaks_an_id_or_a_code(width: int) -> None:
    console = Console(width=width)
    with console.capture() as shown:
        console.print(refunds_view([FAILED], width))
    assert REFUND_ID in shown.get()
    assert "INSUFFICIENT_BALANCE" in shown.get()
