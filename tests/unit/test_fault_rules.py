"""Faults as data: what a rule may say, how it is read, and which calls it strikes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from coordinator.domain.errors import ConfigurationError
from coordinator.domain.phase import Operation
from coordinator.ports import Store
from fault_injection.faults.kinds import KINDS, SIMULATED_ONLY, Area
from fault_injection.faults.places import DETAILS, PARTICIPANTS, place_of
from fault_injection.faults.reading import read
from fault_injection.faults.rules import Armed, BadField, Rule, rule_of
from fault_injection.simulation import swarm
from phases.flows import FLOW_ROWS
from phases.registry import PHASES

GOOD: Mapping[str, Any] = {"kind": "reply-lost", "place": "card_charge/confirm"}
CALLED = [name for name, phase in PHASES.items() if phase.participant]


def struck(rule: Rule, calls: int) -> list[int]:
    return [number for number in range(1, calls + 1) if rule.hits(number)]


def test_what_is_simulated_too_has_the_same_words() -> None:
    both = KINDS.keys() & swarm.KINDS.keys()
    assert both
    assert {name: KINDS[name].what for name in both} == {name: swarm.KINDS[name] for name in both}
    assert both | SIMULATED_ONLY == swarm.KINDS.keys()


def test_every_phase_and_every_participant_is_a_place_with_every_operation() -> None:
    for name in (*CALLED, *PARTICIPANTS):
        for operation in Operation:
            place = place_of(f"{name}/{operation}")
            assert (place.area, place.name, place.detail) == (Area.PARTICIPANTS, name, operation)


def test_no_phase_or_participant_is_called_like_another_place() -> None:
    names = [*Area, *CALLED, *PARTICIPANTS]
    assert len(set(names)) == len(names)


def test_every_method_of_the_store_is_a_place() -> None:
    assert {"commit", "claim_due", "ping"} <= set(DETAILS[Area.STORE])
    assert all(callable(getattr(Store, name)) for name in DETAILS[Area.STORE])


def test_what_is_asked_of_a_participant_is_a_place_of_the_wire_by_its_method() -> None:
    methods = {method.lower() for method in DETAILS[Area.OUTGOING]}
    assert set(Operation) <= methods
    assert "perform" not in methods, "a stream of questions, which no rule is about"


@pytest.mark.parametrize(
    "text",
    [
        "participants",
        "participants/try",
        "store/claim_due",
        "commit/after_commit",
        "publisher",
        "outgoing",
        "outgoing/Confirm",
        "outgoing:card/Confirm",
        "incoming/CreatePayment",
        "incoming/Report",
    ],
)
def test_a_place_keeps_the_text_that_named_it(text: str) -> None:
    assert place_of(text).text == text


@pytest.mark.parametrize(
    ("changes", "field", "told"),
    [
        ({"kind": "replylost"}, "kind", "there is no replylost; there are request-lost"),
        ({"kind": ""}, "kind", "required"),
        ({"kind": 7}, "kind", "there is no 7"),
        ({"kind": "two-coordinators"}, "kind", "for `kessai simulate` alone"),
        ({"place": "kard"}, "place", "there is no kard; there are participants"),
        ({"place": None}, "place", "required"),
        ({"place": ""}, "place", "there is no empty place"),
        ({"place": "card/refund"}, "place", "card has no refund; it has try"),
        ({"place": "card/"}, "place", "card has no empty name"),
        ({"place": "publisher/x"}, "place", "publisher has no x"),
        ({"place": "outgoing:kard"}, "place", "there is no participant kard"),
        ({"place": "store:card"}, "place", "there is no store:card"),
        ({"place": "incoming/Drop"}, "place", "incoming has no Drop; it has CreatePayment"),
        ({"place": "store"}, "place", "reply-lost cannot happen at store"),
        ({"kind": "pending", "place": "card/confirm"}, "place", "it can at participants/try"),
        (
            {"kind": "refused", "place": "merchant_credit/confirm"},
            "place",
            "merchant_credit cannot refuse a Confirm",
        ),
        ({"flow": "card_and_nothing"}, "flow", "there is no card_and_nothing; there are"),
        (
            {"place": "outgoing", "flow": "card_only"},
            "flow",
            "at outgoing nobody knows the flow",
        ),
        ({"probability": 1.01}, "probability", "must be in 0..1, and is 1.01"),
        ({"probability": -0.1}, "probability", "must be in 0..1"),
        ({"probability": float("nan")}, "probability", "must be in 0..1"),
        ({"probability": "often"}, "probability", "must be in 0..1, and is often"),
        ({"probability": True}, "probability", "must be in 0..1"),
        ({"nth": 0}, "nth", "must be a whole number, at least 1"),
        ({"every": 2.5}, "every", "must be a whole number"),
        ({"nth": 3, "every": 2}, "nth", "goes with none of every, from and count"),
        ({"count": True}, "count", "must be a whole number"),
        ({"seed": -1}, "seed", "must be a whole number, at least 0"),
        ({"duration_s": 1}, "duration_s", "reply-lost has none"),
        ({"kind": "late", "duration_s": 3601}, "duration_s", "must be in 0..3600"),
        ({"code": "UNAVAILABLE"}, "code", "reply-lost has none"),
        ({"kind": "error", "place": "incoming", "code": "OK"}, "code", "there is no OK"),
        ({"often": 1}, "often", "no field of a rule; there are kind, place"),
    ],
)
def test_what_a_rule_cannot_say_is_refused_by_the_name_of_its_field(
    changes: Mapping[str, Any], field: str, told: str
) -> None:
    with pytest.raises(BadField) as refused:
        rule_of({**GOOD, **changes})
    assert str(refused.value).startswith(f"{field}: ")
    assert told in str(refused.value)


def test_every_kind_can_be_asked_for_at_each_of_its_places() -> None:
    for kind in KINDS.values():
        for area, details in kind.areas.items():
            for place in [area.value, *(f"{area}/{detail}" for detail in details)]:
                assert rule_of({"kind": kind.name, "place": place}).kind is kind


def test_every_flow_can_be_named() -> None:
    for row in FLOW_ROWS:
        assert rule_of({**GOOD, "flow": row.name}).flow == row.name


@pytest.mark.parametrize(
    ("position", "expected"),
    [
        ({}, [1, 2, 3, 4, 5, 6, 7, 8, 9]),
        ({"nth": 3}, [3]),
        ({"every": 3}, [3, 6, 9]),
        ({"from": 4}, [4, 5, 6, 7, 8, 9]),
        ({"from": 4, "count": 3}, [4, 5, 6]),
        ({"from": 2, "every": 3}, [2, 5, 8]),
        ({"probability": 0}, []),
    ],
)
def test_a_position_says_which_calls_are_struck(
    position: Mapping[str, Any], expected: list[int]
) -> None:
    assert struck(rule_of({**GOOD, **position}), 9) == expected


def test_chance_strikes_about_as_often_as_it_says_and_the_same_calls_for_the_same_seed() -> None:
    rule = rule_of({**GOOD, "probability": 0.3, "seed": 7})
    first = struck(rule, 10_000)
    assert 2_850 < len(first) < 3_150
    assert struck(rule_of({**GOOD, "probability": 0.3, "seed": 7}), 10_000) == first
    assert struck(rule_of({**GOOD, "probability": 0.3, "seed": 8}), 10_000) != first


def test_what_lasts_strikes_everything_until_it_is_over_and_then_by_its_position() -> None:
    now = [0.0]
    rule = rule_of({"kind": "outage", "place": "card", "nth": 2, "duration_s": 10})
    armed = Armed(rule, lambda: now[0])
    found = []
    for now[0] in (0.0, 1.0, 5.0, 10.9, 11.0, 12.0):
        found.append(armed.strikes())
    assert found == [False, True, True, True, False, False]


SHORT = (
    "reply-lost@card_charge/confirm,probability=0.3,seed=7; "
    "broker-away@publisher,every=100,duration_s=5.0;error@incoming/CreatePayment,from=4,count=8"
)


def test_a_short_text_and_a_file_say_the_same(tmp_path: Path) -> None:
    file = tmp_path / "faults.toml"
    file.write_text(
        """
        [[fault]]
        kind = "reply-lost"
        place = "card_charge/confirm"
        probability = 0.3
        seed = 7
        [[fault]]
        kind = "broker-away"
        place = "publisher"
        every = 100
        duration_s = 5
        [[fault]]
        kind = "error"
        place = "incoming/CreatePayment"
        code = "UNAVAILABLE"
        from = 4
        count = 8
        """
    )
    assert read(SHORT) == read(str(file))


def test_what_is_printed_of_a_rule_is_read_as_the_same_rule() -> None:
    for rule in read(SHORT + ";late@points,flow=points_and_card,nth=2;slow@store,duration_s=0.25"):
        assert read(str(rule)) == (rule,)


def test_the_seed_of_a_file_is_that_of_every_rule_without_one(tmp_path: Path) -> None:
    file = tmp_path / "faults.toml"
    rule = '[[fault]]\nkind = "slow"\nplace = "store"\n'
    file.write_text(f"seed = 5\n{rule}{rule}seed = 6\n")
    assert [each.seed for each in read(str(file))] == [5, 6]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "there is no rule in it"),
        (" ; ", "there is no rule in it"),
        ("reply-lost", "fault 1 (reply-lost@): place: required"),
        ("slow@store;x@card", "fault 2 (x@card): kind: there is no x"),
        ("slow@store,often", "fault 1 (slow@store): often: must be NAME=VALUE"),
        ("slow@store,seed=1,seed=2", "each name once"),
        ("slow@store,probability=2", "fault 1 (slow@store): probability: must be in 0..1"),
        ("nowhere.toml", "nowhere.toml: No such file or directory"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_rule(text: str, told: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        read(text)
    assert told in str(refused.value)


def test_every_rule_at_fault_is_told_at_once() -> None:
    with pytest.raises(ConfigurationError) as refused:
        read("x@card;slow@store;reply-lost@kard")
    assert "fault 1 (x@card): kind" in str(refused.value)
    assert "fault 3 (reply-lost@kard): place" in str(refused.value)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("kind = ", "no TOML"),
        ('faults = "x"', "faults: unknown; there are fault and seed"),
        ("fault = 3", "fault: must be tables"),
        ("[fault]\nkind = 'slow'", "fault: must be tables, each under [[fault]]"),
        ("seed = 3", "there is no rule in it"),
        ("seed = -3\n[[fault]]\nkind = 'slow'\nplace = 'store'", "seed: must be a whole number"),
    ],
)
def test_a_file_that_says_something_else_is_refused(
    tmp_path: Path, content: str, told: str
) -> None:
    file = tmp_path / "faults.toml"
    file.write_text(content)
    with pytest.raises(ConfigurationError) as refused:
        read(str(file))
    assert told in str(refused.value)
