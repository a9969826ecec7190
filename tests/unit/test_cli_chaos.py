"""`kessai chaos` without its processes: what it is asked with, and how it ends."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from coordinator.cli.main import app
from coordinator.domain.machine import State
from fault_injection.chaos import run as chaos
from fault_injection.chaos.havoc import LINK_FAULTS, POINTS, Fault, Strike, shuffled, spread
from fault_injection.chaos.history import Answer, History, percentile, reachable
from fault_injection.chaos.readings import Reading
from fault_injection.chaos.report import Recovery, Report, recoveries, waits
from fault_injection.chaos.verdict import untrue
from fault_injection.cli import chaotic
from fault_injection.network.conditions import CONDITIONS

STRIKE = Strike("kill a coordinator", "coordinator", 1.0, 1.0)
CLEAN = Report(
    seed=7,
    load_s=20.0,
    by_state={"PAID": 12},
    answers=40,
    payments=10,
    create_s=(0.05, 1.25),
    call_s=(0.04, 1.0),
    recoveries=(Recovery(STRIKE, 0.5, None),),
    spoilt={"garbage": 3},
    books=9,
    quiet_s=2.5,
    violations=(),
)


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch) -> list[chaos.ChaosPlan]:
    """The plans that were run; each came out clean."""
    seen: list[chaos.ChaosPlan] = []

    def run(plan: chaos.ChaosPlan, *_rest: object) -> Report:
        seen.append(plan)
        return CLEAN

    monkeypatch.setattr(chaotic, "run", run)
    return seen


def test_options_become_the_plan_of_the_run(plans: list[chaos.ChaosPlan]) -> None:
    options = ["--seed", "7", "--kills", "3", "--postgres-kills", "0", "--coordinators", "4"]
    result = CliRunner().invoke(app, ["chaos", *options, "--output", "json"])
    assert result.exit_code == 0
    (plan,) = plans
    assert (plan.seed, plan.coordinators) == (7, 4)
    assert plan.faults[Fault.KILL_COORDINATOR] == 3
    assert plan.faults[Fault.KILL_POSTGRES] == 0
    assert json.loads(result.stdout)["quiet_s"] == 2.5
    assert plan.seconds is None
    assert not plan.networked
    assert not plan.fronted


def test_a_kill_at_a_point_needs_links(plans: list[chaos.ChaosPlan]) -> None:
    assert CliRunner().invoke(app, ["chaos", "--point-kills", "1"]).exit_code == 0
    assert [(plan.networked, plan.fronted) for plan in plans] == [(True, False)]
    assert {point.kind for point in POINTS.values()} <= set(CONDITIONS)


def test_with_a_network_there_are_links_and_with_seconds_an_end(
    plans: list[chaos.ChaosPlan],
) -> None:
    options = ["--seconds", "60", "--network", "5", "--broker-kills", "3", "--pause-s", "0.2"]
    assert CliRunner().invoke(app, ["chaos", *options]).exit_code == 0
    (plan,) = plans
    assert (plan.networked, plan.fronted) == (True, False)
    assert (plan.seconds, plan.pause_s, plan.faults[Fault.KILL_BROKER]) == (60.0, 0.2, 3)


@pytest.mark.parametrize("option", [("--hostile", "2"), ("--participant-faults", "0.05")])
def test_participants_have_fronts_when_their_calls_are_to_go_wrong(
    option: tuple[str, str], plans: list[chaos.ChaosPlan]
) -> None:
    assert CliRunner().invoke(app, ["chaos", *option]).exit_code == 0
    (plan,) = plans
    assert (plan.networked, plan.fronted) == (True, True)
    assert plan.manners.share == (0.05 if option[0] == "--participant-faults" else 0.0)


def test_people_are_told_the_rate_the_waits_and_how_soon_all_was_well_after_each_fault(
    plans: list[chaos.ChaosPlan],
) -> None:
    shown = CliRunner().invoke(app, ["chaos", "--seed", "7"]).stdout
    assert plans
    assert "10 payments in 20 s, 0.5 a second; 40 answers" in shown
    assert "payments p50 0.050 s, p99 1.250 s" in shown
    assert "1 faults, 3 spoilt calls, 0 violations" in shown
    assert "all settled 2.5 s after the last fault" in shown
    assert "0.5 s, at most 0.5 s" in shown
    assert "1 × not seen" in shown


def test_a_run_without_a_seed_shows_the_one_it_took(plans: list[chaos.ChaosPlan]) -> None:
    result = CliRunner().invoke(app, ["chaos"])
    assert result.exit_code == 0
    assert f"seed {plans[0].seed}: " in result.stderr


def test_what_did_not_hold_is_named_with_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = replace(CLEAN, violations=("S1: one yen too much",))
    monkeypatch.setattr(chaotic, "run", lambda *_all: broken)
    result = CliRunner().invoke(app, ["chaos", "--seed", "7"])
    assert result.exit_code == 1
    assert "1 things did not hold with seed 7" in result.stderr
    assert "S1: one yen too much" in result.stderr
    assert "replay: kessai chaos --seed 7 --kills 6 --point-kills 6" in result.stderr


def test_what_replays_a_run_asks_for_the_same_plan(plans: list[chaos.ChaosPlan]) -> None:
    options = "--seed 7 --seconds 60 --kills 3 --hostile 2 --participant-faults 0.05 --pause-s 0.1"
    assert CliRunner().invoke(app, ["chaos", *options.split()]).exit_code == 0
    again = chaotic.replay(plans[0]).split()[1:]
    assert CliRunner().invoke(app, again).exit_code == 0
    assert plans[0] == plans[1]


def test_without_a_fault_asked_for_there_are_some_of_each_and_otherwise_no_other(
    plans: list[chaos.ChaosPlan],
) -> None:
    assert CliRunner().invoke(app, ["chaos"]).exit_code == 0
    assert CliRunner().invoke(app, ["chaos", "--postgres-kills", "3"]).exit_code == 0
    usual, asked = (plan.faults for plan in plans)
    assert min(usual.values()) > 0
    assert {fault: count for fault, count in asked.items() if count} == {Fault.KILL_POSTGRES: 3}
    assert set(chaotic.OPTIONS.values()) == set(usual) == set(Fault)


@pytest.mark.parametrize(
    "options",
    [
        ["--coordinators", "0"],
        ["--shops", "0"],
        ["--kills", "-1"],
        ["--seed", "x"],
        ["--seconds", "0"],
        ["--network", "x"],
        ["--participant-faults", "1"],
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_starts(
    options: list[str], plans: list[chaos.ChaosPlan]
) -> None:
    result = CliRunner().invoke(app, ["chaos", *options])
    assert result.exit_code == 2
    assert options[0] in result.stderr
    assert plans == []


def test_a_state_that_goes_back_is_seen() -> None:
    history = History()
    for state in ("CREATED", "CAPTURING", "SETTLING", "PAID", "REFUNDED"):
        history.told("a", state)
    assert history.breaks == []
    history.told("a", "PAID")
    assert history.breaks == ["S11: a went back from REFUNDED to PAID, 0.0 s after the start"]
    history.told("b", "FAILED")
    history.told("b", "PAID")
    assert history.breaks[1:] == ["S11: b went back from FAILED to PAID, 0.0 s after the start"]


def test_a_refund_that_has_ended_stays_as_it_ended() -> None:
    history = History(lambda: 12.34)
    for state in ("CREATED", "SETTLING", "SUCCEEDED", "SUCCEEDED"):
        history.told_refund("a", state)
    assert history.breaks == []
    history.told_refund("a", "FAILED")
    assert history.breaks == [
        "S11: refund a went back from SUCCEEDED to FAILED, 12.3 s after the start"
    ]


def test_what_is_paid_is_never_failed_later() -> None:

    assert reachable(State.PAID) == {State.PAID, State.REFUNDED}
    assert reachable(State.CREATED) == set(State)


def test_what_callers_were_told_is_compared_with_the_rows_at_the_end() -> None:
    history = History()
    history.told("paid", "PAID")
    history.told("lost", "CREATED")
    history.told("undone", "SETTLING")
    history.told_refund("given", "SUCCEEDED")
    history.told_refund("begun", "CREATED")
    history.told_refund("taken", "SUCCEEDED")
    history.told_refund("gone", "CREATED")
    ends = {
        "paid": State.REFUNDED,
        "undone": State.FAILED,
        "given": State.PAID,
        "begun": State.FAILED,
        "taken": State.FAILED,
    }
    assert untrue(history, ends) == [
        "S11: lost was told to be CREATED, and is not there",
        "S11: undone was told to be SETTLING, and is FAILED",
        "S11: refund taken was told to be SUCCEEDED, and is FAILED",
        "S11: refund gone was told to be CREATED, and is not there",
    ]


def test_a_fault_is_recovered_from_when_a_later_payment_is_settled_and_nothing_is_overdue() -> None:
    strike = Strike("network: slow", "shops to coordinator", 3.0, 5.0)
    answers = [
        Answer(4.9, 6.0, "create", "before", "PAID"),
        Answer(5.1, 9.0, "create", "slow", "PAID"),
        Answer(5.2, 5.3, "create", "open", "CREATED"),
        Answer(5.2, 5.3, "get", "old", "PAID"),
        Answer(6.0, 7.5, "create", "first", "FAILED"),
    ]
    overdue = [Reading(4.0, 0), Reading(5.5, 2), Reading(6.0, None), Reading(6.5, 0)]
    assert recoveries([strike], answers, overdue) == (Recovery(strike, 2.5, 1.5),)
    assert recoveries([strike], [], []) == (Recovery(strike, None, None),)


def test_waits_are_percentiles_of_what_callers_waited() -> None:
    answers = [Answer(0.0, took, "create", "", "PAID") for took in range(100)]
    assert waits(answers) == (50, 99)
    assert waits([]) == (None, None)
    assert percentile([3.0], 0.99) == 3.0


def test_each_lane_does_its_own_faults_as_often_as_asked_and_spread_over_the_time() -> None:
    faults = {Fault.KILL_COORDINATOR: 3, Fault.NETWORK: 2, Fault.KILL_POSTGRES: 1}
    assert set(LINK_FAULTS) < set(Fault)
    processes, links = (shuffled(faults, 7, links=links) for links in (False, True))
    assert sorted(processes) == [*[Fault.KILL_COORDINATOR] * 3, Fault.KILL_POSTGRES]
    assert links == [Fault.NETWORK] * 2
    assert shuffled(faults, 7, links=False) == processes
    times = spread(6, 60.0, "7")
    assert [int(time // 10) for time in times] == [0, 1, 2, 3, 4, 5]
    assert times == spread(6, 60.0, "7")
    assert spread(0, 60.0, "7") == []
