"""`kessai config show`: effective settings, where they are from, and no secret among them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from typer.testing import CliRunner, Result

from coordinator.cli.main import app
from coordinator.config import Settings

SEAL_KEY = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
DIGEST = "ab" * 32
Show: TypeAlias = Callable[..., Result]


@pytest.fixture
def show(tmp_path: Path) -> Show:
    """Runs `kessai config show` with settings in the environment and in a file."""
    file = tmp_path / "kessai.toml"
    file.write_text('lease_s = 12\npatience_s = 2\n[participants]\ncard = "127.0.0.1:2"\n')
    environment = {
        "KESSAI_CONFIG": str(file),
        "KESSAI_DATABASE_URL": "postgresql://me:hunter2@db/kessai?sslpassword=hunter3",
        "KESSAI_CALLERS": json.dumps({"shop": DIGEST}),
        "KESSAI_SEAL_KEYS": json.dumps([SEAL_KEY]),
        "KESSAI_CALLBACK_KEYS": json.dumps({"card": SEAL_KEY}),
        "KESSAI_NATS_URL": "nats://hunter4@n:4222",
        "KESSAI_PARTICIPANTS": json.dumps({"points": "127.0.0.1:1"}),
        "KESSAI_PATIENCE_S": "3",
    }
    return lambda *arguments, **more: CliRunner().invoke(
        app, ["config", "show", *arguments], env={**environment, **more}
    )


def shown(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    return {each["setting"]: each for each in json.loads(result.stdout)}


def test_every_setting_is_shown_once_by_the_name_of_its_variable(show: Show) -> None:
    expected = {f"KESSAI_{name.upper()}" for name in Settings.model_fields} - {"KESSAI_WORKER"}
    assert set(shown(show("-o", "json"))) == expected


def test_a_flag_wins_over_the_environment_that_over_the_file_and_that_over_the_default(
    show: Show, tmp_path: Path
) -> None:
    found = shown(show("--origin", "-o", "json", "--drain-s", "4"))
    expected = {
        "KESSAI_DRAIN_S": (4.0, ["flag --drain-s"]),
        "KESSAI_PATIENCE_S": (3.0, ["environment KESSAI_PATIENCE_S"]),
        "KESSAI_LEASE_S": (12.0, [f"file {tmp_path}/kessai.toml"]),
        "KESSAI_LISTEN": ("127.0.0.1:7300", ["default"]),
    }
    for name, (value, origin) in expected.items():
        assert (found[name]["value"], found[name]["origin"]) == (value, origin)


def test_what_was_merged_names_all_of_its_sources(show: Show, tmp_path: Path) -> None:
    found = shown(show("--origin", "-o", "json", "--participant", "stock=127.0.0.1:3"))
    participants = found["KESSAI_PARTICIPANTS"]
    assert participants["value"] == {
        "points": "127.0.0.1:1", "card": "127.0.0.1:2", "stock": "127.0.0.1:3",
    }  # fmt: skip
    assert participants["origin"] == [
        "flag --participant", "environment KESSAI_PARTICIPANTS", f"file {tmp_path}/kessai.toml",
    ]  # fmt: skip


@pytest.mark.parametrize("form", ["table", "json", "jsonl"])
def test_no_secret_is_shown(show: Show, form: str) -> None:
    output = show("--origin", "-o", form).output
    assert "hunter" not in output
    assert SEAL_KEY not in output
    assert "postgresql://me:***@db/kessai?sslpassword=***" in output
    assert "nats://***@n:4222" in output


def test_a_url_that_cannot_be_read_is_masked_as_a_whole(show: Show) -> None:
    assert "hunter" not in show(KESSAI_DATABASE_URL="hunter5").output


def test_a_role_may_find_settings_that_have_no_effect_in_it(show: Show) -> None:
    found = shown(show("-o", "json", "--role", "work"))
    assert found["KESSAI_ROLE"]["value"] == "work"
    assert found["KESSAI_CALLERS"]["value"] == {"shop": DIGEST}


def test_a_flag_without_effect_in_the_role_is_refused_as_serve_would(show: Show) -> None:
    result = show("--role", "work", "--caller", f"shop={DIGEST}")
    assert result.exit_code == 2
    assert "--caller has no effect" in result.stderr


def test_a_table_shortens_digests_and_has_no_origins_unless_asked(show: Show) -> None:
    result = show()
    assert "abababab…" in result.stdout
    assert "environment" not in result.stdout


def test_settings_that_cannot_be_used_are_the_error_that_serve_would_end_with(show: Show) -> None:
    result = show(KESSAI_LEASE_S="soon")
    assert result.exit_code == 2
    assert "KESSAI_LEASE_S" in result.stderr


@pytest.mark.parametrize("argument", ["--nonsense", "extra"])
def test_what_serve_does_not_know_is_a_usage_error(show: Show, argument: str) -> None:
    assert show(argument).exit_code == 2


def test_faults_that_are_on_are_told_rule_by_rule_beside_the_settings(show: Show) -> None:
    rules = "slow@store;reply-lost@card/confirm,probability=0.3"
    result = show("-o", "json", KESSAI_PROFILE="staging", KESSAI_FAULTS=rules)
    assert shown(result)["KESSAI_FAULTS"]["value"] == rules
    told = [line for line in result.stderr.splitlines() if line.startswith("injected on purpose")]
    assert told == [
        "injected on purpose: slow@store,duration_s=1.0",
        "injected on purpose: reply-lost@card/confirm,probability=0.3",
    ]


def test_faults_that_serve_would_refuse_are_an_error(show: Show) -> None:
    result = show(KESSAI_PROFILE="staging", KESSAI_FAULTS="slow@nowhere")
    assert result.exit_code == 2
    assert "fault 1 (slow@nowhere): place" in result.stderr
