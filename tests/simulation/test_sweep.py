"""Exhaustive campaigns: their points, their cases, and that they find what is planted."""

from __future__ import annotations

import pytest

from fault_injection.business_paths import paths_of
from fault_injection.coverage.tally import Cell
from fault_injection.simulation.swarm import CALL_FAULTS
from fault_injection.sweep import places
from fault_injection.sweep.campaign import (
    Kind,
    Surveyed,
    Wanted,
    cases_of,
    play_portion,
    portions,
    survey,
    walks,
)
from fault_injection.sweep.cases import Case, case_named, dashed
from fault_injection.sweep.run import play
from fault_injection.sweep.smaller import command, smallest
from fault_injection.world import FLOWS
from tests.planted.deciding import capture_timeout_taken_for_a_refusal
from tests.planted.participating import no_tombstones

WALKS = walks(list(FLOWS), ())
NAMES = [f"{flow}/{dashed(path)}" for flow, path in WALKS]
TWO_AND_THREE = Wanted(pairs=None, triples=20)


@pytest.fixture(scope="module")
def pay() -> Surveyed:
    return survey("points_and_card", "pay")


def first_failing(flow: str, path: str) -> Case:
    played = map(play_portion, portions(flow, path, Wanted()))
    return next(each.failed for each in played if each.failed is not None)


@pytest.mark.parametrize(("flow", "path"), WALKS, ids=NAMES)
def test_a_clean_run_reaches_every_kind_of_point(flow: str, path: str) -> None:
    surveyed = survey(flow, path)
    assert surveyed.clean.finding is None, surveyed.clean.finding
    reached = {place for place, _ in surveyed.clean.points}
    assert {places.COMMIT, places.WRITE, places.DATABASE, places.BROKER} <= reached
    commits = [number for place, number in surveyed.clean.points if place == places.COMMIT]
    assert commits == list(range(1, len(commits) + 1))
    assert len(commits) >= paths_of(FLOWS[flow])[path].commits


def test_every_point_has_a_case_for_each_fault_that_is_possible_there(pay: Surveyed) -> None:
    names = {str(case).split("/")[2] for case in pay.singles}
    for number in range(1, 5):
        assert {f"commit@{number}:{crash}" for crash in places.CRASHES} <= names
    assert {
        f"card_charge.confirm@1:{fault}" for fault in CALL_FAULTS if fault != "pending"
    } <= names
    assert "merchant_credit.confirm@1:refused" not in names, "only the pivot's may be refused"
    assert "commit@2:crash-after+recovery@1:crash-before" in names


def test_every_point_has_an_outage_of_each_length(pay: Surveyed) -> None:
    names = {str(case).split("/")[2] for case in pay.windows((4, 32))}
    assert {"participant.card@1:outage:4", "participant.card@2:outage:32"} <= names
    assert {"database@1:database-away:4", "broker@1:broker-away:32"} <= names
    assert "write@4:commit-unheard:32" in names


@pytest.mark.parametrize("kind", Kind)
def test_every_case_has_a_name_of_its_own_that_is_read_back(kind: Kind, pay: Surveyed) -> None:
    cases = cases_of(pay, kind, TWO_AND_THREE)
    names = [str(case) for case in cases]
    assert len(set(names)) == len(names)
    assert tuple(map(case_named, names)) == cases


def test_drawn_cases_are_those_of_the_seed(pay: Surveyed) -> None:
    assert pay.some(3, 10, seed=1) == pay.some(3, 10, seed=1)
    assert pay.some(3, 10, seed=1) != pay.some(3, 10, seed=2)
    assert len(pay.some(3, 10, seed=1)) == 10


def test_a_case_gives_the_same_trace_again() -> None:
    case = case_named("card_only/refund-all/commit@2:crash-during+database@5:database-away:4")
    first, second = play(case), play(case)
    assert (first.hash, first.finding) == (second.hash, None)


@pytest.mark.parametrize("crash", places.CRASHES)
def test_what_dies_with_its_coordinator_is_counted_so(crash: str) -> None:
    cells = play(case_named(f"card_only/pay/commit@2:{crash}")).cells
    assert cells[Cell("card_only", "store", "commit CAPTURING", crash, "died")] == 1
    assert {cell.outcome for cell in cells if cell.fault == crash} == {"died"}


def test_what_a_case_says_is_what_happens() -> None:
    tried = play(case_named("card_only/pay/commit@2:crash-after+recovery@1:crash-before"))
    assert tried.crashes == 2
    plain = play(case_named("card_only/pay/clean"))
    lost = play(case_named("card_only/pay/card_charge.confirm@1:request-lost"))
    place = "card_charge.confirm"
    assert [number for at, number in plain.points if at == place] == [1]
    assert [number for at, number in lost.points if at == place] == [1, 2]


def test_a_planted_bug_is_found_made_smaller_and_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    capture_timeout_taken_for_a_refusal.plant(monkeypatch)
    failing = first_failing("card_only", "pay")
    assert str(failing).startswith("card_only/pay/card_charge.confirm@1:")
    pair = Case(
        failing.flow,
        failing.path,
        (
            *failing.injections,
            *case_named("card_only/pay/merchant_credit.confirm@1:reply-lost").injections,
        ),
    )
    small = smallest(play(pair))
    assert small.case == failing
    assert small.finding is not None
    assert any("card_charge confirm leaves" in line for line in small.finding.story)
    assert command(small) == f"kessai faults sweep --case {failing}"


def test_a_try_that_comes_after_its_cancel_is_found_on_a_path_that_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    no_tombstones.plant(monkeypatch)
    failing = first_failing("card_only", "no answer from card_charge")
    assert "very-late" in str(failing)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("nonsense", "FLOW/PATH/FAULTS"),
        ("nonsense/pay/clean", "no flow nonsense"),
        ("card_only/nonsense/clean", "no path nonsense"),
        ("card_only/pay/nonsense", "PLACE@NUMBER:FAULT"),
        ("card_only/pay/nonsense@1:late", "no such place"),
        ("card_only/pay/card_charge.confirm@1:pending", "there are request-lost"),
        ("points_only/pay/card_charge.try@1:late", "no such place"),
        ("points_only/pay/participant.card@1:outage", "no such place"),
        ("card_only/pay/broker@1:broker-away:9999", "times"),
    ],
)
def test_a_case_that_cannot_be_is_refused(name: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        case_named(name)
