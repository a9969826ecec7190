"""The demo's verdict: pure functions, and chapters that do not end as told."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import pytest
from kessai.payments.v1 import payments_pb2 as pb
from rich.console import Console

from coordinator.cli import demo, telling
from coordinator.cli.events import Announced
from coordinator.cli.failures import Failure
from coordinator.cli.ledgers import Books, imbalances
from coordinator.cli.show import payments_view
from participants.totals import LedgerTotals


def totals(confirmed_minor: int, refunded_minor: int = 0) -> LedgerTotals:
    return LedgerTotals(
        postings_minor=0,
        open_holds_minor=0,
        open_holds=0,
        confirmed_minor=confirmed_minor,
        confirmed=1,
        refunded_minor=refunded_minor,
    )


def books(**changed: LedgerTotals) -> Books:
    by_name = {"points": totals(600), "card": totals(400), "merchant": totals(1000)}
    return Books(totals=by_name | changed, breaks={})


def test_money_in_is_money_out() -> None:
    assert imbalances(books(), captured_minor=1000, refunded_minor=0) == []
    given = books(points=totals(600, 200), card=totals(400, 100), merchant=totals(1000, 300))
    assert imbalances(given, captured_minor=1000, refunded_minor=300) == []


@pytest.mark.parametrize(
    ("wrong", "captured_minor", "sentence"),
    [
        (books(merchant=totals(1001)), 1001, "1,000 was taken, but 1,001 was given"),
        (books(card=totals(399)), 1000, "999 was taken, but 1,000 was given"),
        (books(), 2000, "payments captured 2,000, but 1,000 was given"),
        (books(points=replace(totals(600), postings_minor=1)), 1000, "sum to 1, not to 0"),
        (books(card=replace(totals(400), open_holds=2)), 1000, "2 holds still stand"),
        (replace(books(), breaks={"card": ["a balance is off"]}), 1000, "card: a balance is off"),
        (
            books(points=totals(600, 200)),
            1000,
            "0 was taken back from merchants, but 200 was given back",
        ),
        (books(card=totals(400, 5)), 1000, "payments say 0 was given back, but 5 was"),
    ],
)
def test_every_imbalance_is_told(wrong: Books, captured_minor: int, sentence: str) -> None:
    assert sentence in "; ".join(imbalances(wrong, captured_minor, refunded_minor=0))


def test_what_must_be_announced_is_every_settled_state_of_payments_and_refunds() -> None:
    payments = [
        pb.Payment(payment_id="a", state=pb.PAYMENT_STATE_FAILED),
        pb.Payment(payment_id="b", state=pb.PAYMENT_STATE_REFUNDED),
    ]
    refunds = [pb.Refund(refund_id="c", state=pb.REFUND_STATE_SUCCEEDED)]
    assert demo._announced(payments, refunds) == {
        Announced("a", "FAILED"),
        Announced("b", "PAID"),
        Announced("b", "REFUNDED"),
        Announced("c", "SUCCEEDED"),
    }


def test_a_refusal_is_what_was_expected_or_it_is_not_as_told() -> None:
    def refuses() -> None:
        raise Failure("no", code="NO")

    assert telling.refusal(refuses, "NO").code == "NO"
    with pytest.raises(telling.NotAsTold, match="expected YES, got NO"):
        telling.refusal(refuses, "YES")
    with pytest.raises(telling.NotAsTold, match="expected NO, got 1"):
        telling.refusal(lambda: 1, "NO")


def refused(_world: telling.World) -> str:
    raise Failure("the server said no", code="NO")


def untold(_world: telling.World) -> str:
    raise telling.NotAsTold("it went another way")


def fine(_world: telling.World) -> str:
    return "As told."


def test_a_chapter_that_fails_is_a_problem_and_the_others_are_told(capsys: Any) -> None:
    chapters = [telling.Chapter(tell.__name__, tell) for tell in (refused, untold, fine)]
    problems = demo._tell(object(), chapters)  # type: ignore[arg-type] # no chapter looks at it
    assert problems == ["refused: the server said no", "untold: it went another way"]
    assert "3. fine\n   As told." in capsys.readouterr().out


def test_a_long_line_is_broken_between_words_and_keeps_its_indent() -> None:
    told = "   FAILED, and then TRY_DEADLINE_EXCEEDED was its code"
    parts = demo._folded(told, 24).split("\n")
    assert parts == ["   FAILED, and then", "   TRY_DEADLINE_EXCEEDED", "   was its code"]
    assert demo._folded("", 24) == ""


@pytest.mark.parametrize("width", [80, 120, 200])
def test_a_list_of_payments_never_breaks_a_code(width: int) -> None:
    made = pb.Payment(
        payment_id="019aa5f0-6c1e-7c1a-9d57-1d1b0f2a6c11",
        state=pb.PAYMENT_STATE_FAILED,
        amount=pb.Money(currency_code="JPY", minor_units=1000),
        failure=pb.Failure(code="TRY_DEADLINE_EXCEEDED"),
    )
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(payments_view([made], width))
    shown = console.export_text()
    assert "TRY_DEADLINE_EXCEEDED" in shown
    assert made.payment_id in shown


def test_expect_raises_with_what_was_seen_instead() -> None:
    telling.expect(True, "never")
    with pytest.raises(telling.NotAsTold, match="got FAILED"):
        telling.expect(False, "got FAILED")


def test_the_flow_follows_from_who_pays() -> None:
    assert telling.request("k", card="tok_ok", yen=400).flow == "points_and_card"
    assert telling.request("k").flow == "points_only"
    assert telling.request("k", points=0, card="tok_ok", yen=400).flow == "card_only"
