"""`kessai participant check` on a participant that breaks a rule, on none, and on a whole one."""

from __future__ import annotations

import json
from collections.abc import Callable

from typer.testing import CliRunner

from coordinator.cli.main import app
from participants.serve import ServeOptions, running
from tests.support.participant_breakage import BREAKAGES, broken_points

SEEDS = {"conformance": 1_000_000}


def test_a_broken_participant_fails_and_the_rule_is_named(new_database: Callable[[], str]) -> None:
    with broken_points(BREAKAGES["2a"], new_database(), SEEDS) as address:
        table = CliRunner().invoke(app, ["participant", "check", address])
        lines = CliRunner().invoke(app, ["participant", "check", address, "-o", "jsonl"])
    assert table.exit_code == lines.exit_code == 1
    assert "breaks" in table.stderr
    assert "2a" in table.stderr
    # The participant of this test logs to the same stdout.
    results = [json.loads(line) for line in lines.stdout.splitlines() if line.startswith("{")]
    verdicts = {item["rule"]: item["verdict"] for item in results}
    assert verdicts["2a"] == "broken"
    assert verdicts["1a"] == "kept"


def test_a_whole_participant_passes_with_the_accounts_of_ones_own(
    new_database: Callable[[], str],
) -> None:
    seeds = {"mine": 1_000_000, "scarce": 200, "poor": 0}
    options = ServeOptions(grace_s=0.2)
    with running("points", database_url=new_database(), seeds=seeds, options=options) as address:
        accounts = ("--account=mine", "--scarce-account=scarce", "--refused-account=poor")
        passed = CliRunner().invoke(app, ["participant", "check", address, *accounts])
        unknown = CliRunner().invoke(app, ["participant", "check", address])
    assert passed.exit_code == 0, passed.output
    assert "keeps every rule that could be checked" in passed.stderr
    assert unknown.exit_code == 2
    assert "--account" in unknown.stderr


def test_a_service_without_refunds_passes_and_is_told_how_many_rules_do_not_apply(
    new_database: Callable[[], str],
) -> None:
    seeds = {"conformance": 1_000, "conformance-scarce": 2}
    options = ServeOptions(grace_s=0.2)
    with running("stock", database_url=new_database(), seeds=seeds, options=options) as address:
        passed = CliRunner().invoke(app, ["participant", "check", address])
    assert passed.exit_code == 0, passed.output
    assert "keeps every rule that could be checked; 8 do not apply to it" in passed.stderr


def test_nobody_there_exits_3() -> None:
    arguments = ["participant", "check", "127.0.0.1:1", "--timeout", "0.5"]
    assert CliRunner().invoke(app, arguments).exit_code == 3
