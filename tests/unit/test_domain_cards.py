from __future__ import annotations

import pytest

from coordinator.domain.cards import has_card_number
from coordinator.domain.ids import event_id, parse_transaction_id

VISA = "4111111111111111"
CARDS = (VISA, "5555555555554444", "378282246310005", "6011111111111117", "3530111333300000")


@pytest.mark.parametrize("number", CARDS)
def test_a_card_number_is_found_wherever_it_stands(number: str) -> None:
    spaced = " ".join(number[at : at + 4] for at in range(0, len(number), 4))
    for text in (number, f"card {number}!", spaced, spaced.replace(" ", "-"), f"x{number}y"):
        assert has_card_number(text), text
    for separator in "-._/:@ ":
        assert has_card_number(separator.join(number)), separator


@pytest.mark.parametrize("number", CARDS)
def test_another_check_digit_makes_no_card_number(number: str) -> None:
    wrong = number[:-1] + str((int(number[-1]) + 1) % 10)
    assert not has_card_number(wrong)


@pytest.mark.parametrize("length", range(1, 30))
def test_a_card_number_has_12_to_19_digits(length: int) -> None:
    assert has_card_number("0" * length) == (12 <= length <= 19)


def test_two_separators_are_no_separator() -> None:
    assert not has_card_number("411111111--1111111")


def test_a_number_beside_others_is_found_by_its_parts() -> None:
    assert has_card_number(f"17 {VISA}")
    assert has_card_number(f"{VISA} 17")


def test_the_tokens_of_a_processor_are_no_card_numbers() -> None:
    assert not has_card_number("tok_ok")
    assert not has_card_number("")


def test_a_digit_of_five_doubled_counts_as_one() -> None:
    assert has_card_number("000000000059")
    assert not has_card_number("000000000050")


def test_an_identifier_has_one_spelling_and_an_event_one_identifier() -> None:
    spelled = parse_transaction_id("0197F2A0-0000-7000-8000-00000000DEAD")
    assert spelled == "0197f2a0-0000-7000-8000-00000000dead"
    with pytest.raises(ValueError, match="badly formed"):
        parse_transaction_id("not one")
    assert event_id(spelled, "PAID") == event_id(spelled, "PAID")
    assert event_id(spelled, "PAID") != event_id(spelled, "FAILED")
    assert event_id(spelled, "PAID") == "fc4636fb-4574-59b7-9a98-e1032790868e"
