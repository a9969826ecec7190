"""The protocol explored: the sound one breaks no rule, each broken one breaks the one it must."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import fields
from itertools import product

import pytest
from typer.testing import CliRunner, Result

from coordinator.cli.main import app
from coordinator.domain import decide
from coordinator.domain.machine import CANCELLABLE, State
from coordinator.domain.step import StepStatus
from fault_injection.model.coordinator import Request, View
from fault_injection.model.explore import Explored, explore
from fault_injection.model.fence import Status
from fault_injection.model.protocol import Protocol
from fault_injection.model.rules import RULES
from fault_injection.model.story import told
from fault_injection.model.variants import BY_NAME, SOUND, VARIANTS, Switches, Variant
from phases.flows import FLOW_ROWS, bind_flows
from phases.registry import PHASES

FLOWS = bind_flows(FLOW_ROWS, PHASES)
CARD, BOTH, POINTS = FLOWS["card_only"], FLOWS["points_and_card"], FLOWS["points_only"]

LENGTHS = {
    "parallel-confirm": (8, 14),
    "timeout-is-refusal": (9, 11),
    "timeout-is-success": (12, 12),
    "no-tombstone": (7, 7),
    "empty-cancel-fails": (3, 2),
    "refusal-forgotten": (13, 13),
    "trying-not-cancelled": (4, 4),
    "decision-not-durable": (3, 12),
    "recovered-as-untried": (5, 5),
    "claim-keeps-version": (5, 5),
    "version-ignored": (3, 13),
    "dropped-is-confirmed": (10, 10),
    "nobody-recovers": (1, 1),
}
"""Happenings in the shortest stories with two participants: of the first breach, of the harm."""


def sound(explored: Explored) -> bool:
    return explored.found is None and set(explored.ends) == {State.PAID, State.FAILED}


def test_with_three_participants_no_rule_is_broken_and_an_end_is_always_reached() -> None:
    explored = explore(Protocol(BOTH))
    assert sound(explored)
    assert explored.states > 120_000, "it explored too little to say anything"
    assert explored.depth > 30


def test_with_two_participants_no_rule_is_broken() -> None:
    explored = explore(Protocol(CARD))
    assert sound(explored)
    assert explored.states > 17_000


def test_without_a_pivot_no_rule_is_broken() -> None:
    explored = explore(Protocol(POINTS))
    assert sound(explored)
    assert explored.states > 5_000


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_a_broken_variant_breaks_its_rule_first(variant: Variant) -> None:
    found = explore(Protocol(CARD, variant.switches)).found
    assert found is not None
    assert found.breach.rule == variant.first
    assert len(found.story) == LENGTHS[variant.name][0]


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_a_broken_variant_does_the_harm_it_is_said_to_do(variant: Variant) -> None:
    found = explore(Protocol(CARD, variant.switches), (variant.harm,)).found
    assert found is not None
    assert found.breach.rule == variant.harm
    assert len(found.story) == LENGTHS[variant.name][1]


@pytest.mark.parametrize("name", ["no-tombstone", "trying-not-cancelled", "recovered-as-untried"])
def test_a_variant_is_broken_with_three_participants_too(name: str) -> None:
    found = explore(Protocol(BOTH, BY_NAME[name].switches)).found
    assert found is not None
    assert found.breach.rule == BY_NAME[name].first


def test_each_switch_is_off_in_the_sound_protocol_and_on_in_one_variant() -> None:
    for field in fields(Switches):
        assert not getattr(SOUND, field.name)
        on = [variant.name for variant in VARIANTS if getattr(variant.switches, field.name)]
        assert len(on) == 1, field.name


def test_every_rule_is_broken_by_some_variant() -> None:
    assert {rule for variant in VARIANTS for rule in (variant.first, variant.harm)} == set(RULES)


def test_the_rules_it_explores_are_those_of_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decide, "MAY_HOLD", frozenset({StepStatus.HELD}))
    found = explore(Protocol(CARD)).found
    assert found is not None
    assert found.breach.rule == "S8"


def test_the_rules_see_no_difference_between_ordinary_participants() -> None:
    """The reduction by symmetry rests on it: what holds of one order holds of the other."""
    coordinator = Protocol(BOTH).coordinator
    for view in views():
        options, swapped = coordinator.options(view), coordinator.options(swap(view))
        assert {swap_request(request) for request in options.requests} == set(swapped.requests)
        moves = {(swap(move.after), bool(move.cause)) for move in options.moves}
        assert moves == {(move.after, bool(move.cause)) for move in swapped.moves}
        for request in options.requests:
            for status in (None, *Status):
                after = coordinator.after(view, request, status)
                other = coordinator.after(swap(view), swap_request(request), status)
                assert swap(after) == other


def views() -> Iterator[View]:
    """Every view of three participants, those that nothing leads to included."""
    whole, *partial = (False,) * 3, (True, False, False), (False, True, False), (False, False, True)
    for state, statuses in product(State, product(StepStatus, repeat=3)):
        yield View(state, state is State.RESERVED, statuses, whole)
        for dropped in () if state in CANCELLABLE else partial:
            yield View(state, True, statuses, dropped)


def swap(view: View) -> View:
    first, second, pivot = view.statuses
    one, two, last = view.dropped
    return view._replace(statuses=(second, first, pivot), dropped=(two, one, last))


def swap_request(request: Request) -> Request:
    return request._replace(participant=(1, 0, 2)[request.participant])


def test_a_breach_is_told_as_a_story() -> None:
    found = explore(Protocol(CARD, BY_NAME["no-tombstone"].switches)).found
    assert found is not None
    assert told(found, ["Merchant", "Card"]) == [
        "  0  A payment is accepted, to be captured at once. A coordinator drives it.",
        "  1  The coordinator sends Try to Merchant.",
        "  2  The coordinator commits CANCELLING (TRY_DEADLINE_EXCEEDED, Merchant).",
        "  3  The coordinator sends Cancel to Merchant.",
        "  4  Merchant: the Cancel arrives; it answers, and forgets.",
        "  5  Merchant: the Try arrives; it holds.",
        "  6  The coordinator hears CANCELLED from Merchant, to Cancel.",
        "  7  The coordinator commits FAILED.",
        "     S8 is broken at Merchant: the row is FAILED, and the participant holds.",
    ]


def model(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["model", *arguments])


def test_the_command_says_what_was_explored() -> None:
    result = model("--participants", "2")
    assert result.exit_code == 0
    assert "2 participants, the sound protocol: 17,426 states" in result.stdout
    assert "hold in every state; from each an end is reached" in result.stdout


def test_the_command_tells_the_story_of_a_variant() -> None:
    result = model("--participants", "2", "--variant", "version-ignored")
    assert result.exit_code == 0
    assert "S9 is broken" in result.stdout
    assert "S4 is broken at Card" in result.stdout


def test_a_program_reads_a_line_for_each_look() -> None:
    result = model("--participants", "2", "--variant", "version-ignored", "-o", "jsonl")
    first, harm = (json.loads(line) for line in result.stdout.splitlines())
    assert (first["expected"], first["broken"], first["ok"]) == ("S9", "S9", True)
    assert (harm["watched"], harm["broken"]) == (["S4"], "S4")
    assert harm["story"][-1].strip().startswith("S4 is broken")


def test_a_variant_that_breaks_nothing_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    harmless = Variant("harmless", "nothing is broken", SOUND, "S8", "S8")
    monkeypatch.setitem(BY_NAME, "harmless", harmless)
    result = model("--participants", "2", "--variant", "harmless")
    assert result.exit_code == 1
    assert "harmless should break S8, and breaks nothing" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--participants", "5"), "no flow has 5 participants and a pivot"),
        (("--variant", "nonsense"), "there is no variant nonsense; there are"),
    ],
)
def test_bad_input_is_refused_before_anything_is_explored(
    arguments: tuple[str, ...], message: str
) -> None:
    result = model(*arguments)
    assert result.exit_code == 2
    told = " ".join(re.sub("[│╭╮╰╯─]", " ", result.stderr).split())
    assert message in told
    assert result.stdout == ""


def test_a_flow_whose_participants_are_not_alike_is_refused() -> None:
    row = next(row for row in FLOW_ROWS if row.name == "points_and_card")
    stages = (("card_charge",), ("points_reserve", "merchant_credit"))
    pivot_first = type(row)("pivot_first", try_stages=stages)
    with pytest.raises(ValueError, match="flow pivot_first"):
        Protocol(bind_flows([pivot_first], PHASES)["pivot_first"])
