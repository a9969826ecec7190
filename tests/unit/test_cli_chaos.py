"""`kessai chaos` without its processes: what it is asked with, and how it ends."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from coordinator.cli.main import app
from coordinator.domain.machine import State
from fault_injection.chaos import run as chaos
from fault_injection.chaos.havoc import Fault
from fault_injection.chaos.history import History, reachable

CLEAN = chaos.Report(7, 12, {"PAID": 12}, 40, {"kill a coordinator": 1}, 2.5, ())


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch) -> list[chaos.ChaosPlan]:
    """The plans that were run; each came out clean."""
    seen: list[chaos.ChaosPlan] = []

    def run(plan: chaos.ChaosPlan, *_rest: object) -> chaos.Report:
        seen.append(plan)
        return CLEAN

    monkeypatch.setattr(chaos, "run", run)
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


def test_a_run_without_a_seed_shows_the_one_it_took(plans: list[chaos.ChaosPlan]) -> None:
    result = CliRunner().invoke(app, ["chaos"])
    assert result.exit_code == 0
    assert f"seed {plans[0].seed}: " in result.stderr


def test_what_did_not_hold_is_named_with_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = chaos.Report(7, 12, {"PAID": 12}, 40, {}, None, ("S1: one yen too much",))
    monkeypatch.setattr(chaos, "run", lambda *_all: broken)
    result = CliRunner().invoke(app, ["chaos", "--seed", "7"])
    assert result.exit_code == 1
    assert "1 things did not hold with seed 7" in result.stderr
    assert "S1: one yen too much" in result.stderr


@pytest.mark.parametrize(
    "options", [["--coordinators", "0"], ["--shops", "0"], ["--kills", "-1"], ["--seed", "x"]]
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
    assert history.breaks == ["S11: a went back from REFUNDED to PAID"]
    history.told("b", "FAILED")
    history.told("b", "PAID")
    assert history.breaks[1:] == ["S11: b went back from FAILED to PAID"]


def test_what_is_paid_is_never_failed_later() -> None:

    assert reachable(State.PAID) == {State.PAID, State.REFUNDED}
    assert reachable(State.CREATED) == set(State)
