"""`kessai faults sweep`: what it is asked with, what it prints, and how it ends."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from coordinator.cli.main import app
from tests.planted.deciding import capture_timeout_taken_for_a_refusal

ONE = ("--flow", "card_only", "--path", "refused-by-merchant_credit", "--windows", "4")


def ask(*options: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["faults", "sweep", *options])
    return result.exit_code, result.stdout, result.stderr


def test_a_path_is_a_row_with_its_points_and_cases_and_the_rate_is_a_message() -> None:
    code, out, err = ask(*ONE, "--output", "jsonl", "--pairs", "3", "--triples", "2")
    assert code == 0, err
    [record] = map(json.loads, out.splitlines())
    assert record.pop("points") > 10
    assert record.pop("singles") > 50
    assert record.pop("windows") > 10
    assert record == {
        "flow": "card_only",
        "path": "refused-by-merchant_credit",
        "clean": 1,
        "pairs": 3,
        "triples": 2,
    }
    assert "cases/s" in err


def test_several_processes_play_the_same_cases() -> None:
    one, two = ask(*ONE, "--jobs", "1"), ask(*ONE, "--jobs", "2")
    assert one[:2] == two[:2]
    assert one[0] == 0


def test_a_case_alone_is_played_again() -> None:
    name = "card_only/pay/commit@2:crash-after"
    code, out, _ = ask("--case", name, "-o", "json")
    record = json.loads(out)
    assert (code, record["case"], record["crashes"]) == (0, name, 1)
    assert record["problem"] == ""
    assert record["replay"] == f"kessai faults sweep --case {name}"


def test_a_violation_is_told_with_its_story_and_what_replays_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    capture_timeout_taken_for_a_refusal.plant(monkeypatch)
    code, _, err = ask("--flow", "card_only", "--path", "pay")
    assert code == 1
    assert "INVARIANT_BROKEN: card_only/pay/card_charge.confirm@1:" in err
    assert "card_charge confirm leaves" in err
    assert "replay: kessai faults sweep --case card_only/pay/card_charge.confirm@1:" in err


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--flow", "nonsense"), "there is no nonsense"),
        (("--path", "nonsense"), "there is no nonsense"),
        (("--flow", "points_only", "--path", "capture-refused"), "there is no capture-refused"),
        (("--windows", "4,x"), "x must be a number"),
        (("--windows", "1"), "--windows"),
        (("--pairs", "some"), "--pairs"),
        (("--triples", "-1"), "--triples"),
        (("--jobs", "0"), "--jobs"),
        (("--case", "nonsense"), "FLOW/PATH/FAULTS"),
    ],
)
def test_what_cannot_be_swept_is_refused_before_anything_starts(
    options: tuple[str, ...], problem: str
) -> None:
    code, out, err = ask(*options)
    assert (code, out) == (2, "")
    assert problem in " ".join(err.replace("│", " ").split())
