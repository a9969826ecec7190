"""`kessai simulate`: what it is asked with, what it prints, and how it ends."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from coordinator.cli.main import app
from fault_injection.backends import Backend
from fault_injection.cli import simulating
from fault_injection.simulation.finding import Finding
from fault_injection.simulation.plan import Plan
from fault_injection.simulation.run import Run


def broken(plan: Plan, _database: Backend) -> Run:
    """Fails as long as payment 2 is there."""
    finding = Finding("S8: held; shop-2", "shop-2", ("1.000 shop-2: card_charge try leaves",))
    there = any(buying.number == 2 for buying in plan.buyings)
    return Run(plan, "f" * 64, len(plan.buyings), 3, 0, finding if there else None)


def ask(*options: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["simulate", *options])
    return result.exit_code, result.stdout, result.stderr


def test_a_clean_run_is_a_line_with_its_hash_and_the_rate_is_a_message() -> None:
    code, out, err = ask("--seeds", "1..2", "--payments", "2", "--faults", "none", "--crashes", "0")
    assert code == 0
    first, second = out.splitlines()
    assert first.split()[0] == "1"
    assert first.split()[1] != second.split()[1]
    assert "2 runs, 4 payments" in err
    assert "payments/s" in err


def test_json_has_the_whole_hash_and_what_replays_the_run() -> None:
    options = ("--seed", "3", "--payments", "2", "--faults", "late,reply-lost", "--crashes", "1")
    code, out, _ = ask(*options, "--flow", "card_only", "--output", "json")
    [record] = json.loads(out)
    assert code == 0
    assert len(record["hash"]) == 64
    assert record["replay"] == (
        "kessai simulate --seed 3 --payments 2 --flow card_only --faults late,reply-lost "
        "--crashes 1"
    )
    assert json.loads(ask(*record["replay"].split()[2:], "-o", "jsonl")[1]) == record


def test_a_violation_is_told_with_its_story_and_what_replays_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(simulating, "play", broken)
    code, out, err = ask("--seeds", "7..9")
    assert code == 1
    assert len(out.splitlines()) == 1, "it stops at the first"
    assert "INVARIANT_BROKEN: seed 7: S8: held; shop-2" in err
    assert "1.000 shop-2: card_charge try leaves" in err
    assert "kessai simulate --seed 7 --payments 10 --only 2 --faults none --crashes 0" in err


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ([], "--seed"),
        (["--seed", "1", "--seeds", "1..2"], "--seed"),
        (["--seeds", "9..2"], "--seeds"),
        (["--seeds", "9"], "--seeds"),
        (["--seed", "-1"], "--seed"),
        (["--seed", "1", "--faults", "nonsense"], "there is no nonsense"),
        (["--seed", "1", "--faults", ""], "--faults"),
        (["--seed", "1", "--flow", "nonsense"], "there is no nonsense"),
        (["--seed", "1", "--crashes", "7"], "--crashes"),
        (["--seed", "1", "--payments", "0"], "--payments"),
        (["--seed", "1", "--only", "11"], "--only"),
        (["--seed", "1", "--only", "x"], "--only"),
        (["--seed", "1", "--backend", "oracle"], "there is no oracle"),
        (["--seed", "1", "--backend", "postgres", "--database-url", "mysql://db"], "PostgreSQL"),
    ],
)
def test_what_cannot_be_simulated_is_refused_before_anything_starts(
    options: list[str], problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    played: list[Plan] = []
    monkeypatch.setattr(simulating, "play", played.append)
    code, out, err = ask(*options)
    assert (code, out, played) == (2, "", [])
    assert problem in err


def test_several_processes_tell_the_same_lines_in_the_same_order() -> None:
    options = ("--seeds", "0..5", "--payments", "1")
    _, alone, _ = ask(*options, "--jobs", "1")
    code, together, err = ask(*options, "--jobs", "2")
    assert code == 0
    assert together == alone
    assert "6 runs" in err


def test_runs_on_one_database_are_not_played_at_once() -> None:
    code, _, err = ask("--seeds", "0..5", "--jobs", "2", "--backend", "sqlite")
    assert code == 2
    assert "--jobs" in err
