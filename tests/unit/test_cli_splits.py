"""What `--split`, `--reserve-for` and `--item` understand, and what they say otherwise."""

from __future__ import annotations

from datetime import timedelta

import pytest
import typer
from kessai.payments.v1 import payments_pb2 as pb

from coordinator.cli.options import parse_duration, parse_pairs
from coordinator.cli.splits import parse_split, split_message
from coordinator.domain.split import Exact, InOrder, ProRata, Split


@pytest.mark.parametrize(
    ("text", "split"),
    [
        ("pro-rata", ProRata()),
        ("order:card_charge", InOrder(("card_charge",))),
        ("order:card_charge,points_reserve", InOrder(("card_charge", "points_reserve"))),
        (
            "exact:points_reserve=100,card_charge=50",
            Exact({"points_reserve": 100, "card_charge": 50}),
        ),
    ],
)
def test_a_split_is_one_of_three_rules(text: str, split: Split) -> None:
    assert parse_split(text) == split


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "'' is none of pro-rata, order:METHOD,… or exact:METHOD=AMOUNT,…"),
        ("prorata", "'prorata' is none of"),
        ("order", "'order' is none of"),
        ("half:a,b", "'half:a,b' is none of"),
        ("order:", "part 1 after the colon is empty"),
        ("order:a,,b", "part 2 after the colon is empty"),
        ("order:Card", "in 'Card': 'Card' is not a method"),
        ("order:a=1", "in 'a=1': 'a=1' is not a method"),
        ("order:a,b,a", "in 'a': a stands there twice"),
        ("order:a,b,c,d,e,f,g,h,i", "takes at most 8 methods"),
        ("exact:a", "in 'a': after the = there must be minor units"),
        ("exact:a=1,b=", "in 'b=': after the ="),
        ("exact:a=1,b=-5", "in 'b=-5': after the ="),
        ("exact:a=0", "in 'a=0': after the ="),
        ("exact:a=1.5", "in 'a=1.5': after the ="),
        ("exact:a=1=2", "in 'a=1=2': after the ="),
        ("exact:=5", "in '=5': '' is not a method"),
        ("exact:a=1,a=2", "in 'a=2': a stands there twice"),
    ],
)
def test_a_split_that_cannot_be_read_is_refused_by_the_part_at_fault(text: str, part: str) -> None:
    with pytest.raises(typer.BadParameter) as refused:
        parse_split(text)
    assert part in refused.value.message
    assert refused.value.param_hint == "--split"


def test_nothing_of_a_split_can_drive_a_terminal() -> None:
    with pytest.raises(typer.BadParameter) as refused:
        parse_split("order:\x1b[31m")
    assert "\x1b" not in refused.value.message


def test_a_split_is_sent_as_it_is_meant_and_pro_rata_is_left_unset() -> None:
    assert split_message(ProRata(), "JPY") is None
    assert split_message(InOrder(("a", "b")), "JPY") == pb.Split(
        in_order=pb.Split.InOrder(methods=["a", "b"])
    )
    share = pb.Share(method="a", amount=pb.Money(currency_code="JPY", minor_units=5))
    assert split_message(Exact({"a": 5}), "JPY") == pb.Split(exact=pb.Split.Exact(shares=[share]))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("15m", 900), ("2h", 7200), ("1d", 86400), ("1.5s", 1.5), ("0s", 0)],
)
def test_a_duration_is_a_number_and_its_unit(text: str, seconds: float) -> None:
    assert parse_duration("--reserve-for", text) == timedelta(seconds=seconds)
    assert parse_duration("--reserve-for", None) is None


@pytest.mark.parametrize(
    "text", ["", "90", "s", "1h30m", "-5s", "5 s", "1e3s", "5S", "9999999999s"]
)
def test_a_duration_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="90s, 15m or 2h"):
        parse_duration("--reserve-for", text)


def test_pairs_are_told_by_the_form_they_should_have() -> None:
    assert parse_pairs("--item", ["a=1", "b=2"], "PHASE=ID") == {"a": "1", "b": "2"}
    for values in (["a"], ["a="], ["a=1", "a=2"]):
        with pytest.raises(typer.BadParameter, match="PHASE=ID, each phase once"):
            parse_pairs("--item", values, "PHASE=ID")
