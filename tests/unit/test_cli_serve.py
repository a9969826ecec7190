"""What `kessai serve` refuses before it starts anything."""

from __future__ import annotations

import base64
import json

import pytest
from typer.testing import CliRunner, Result

from coordinator import faults
from coordinator.cli.main import app

ENVIRONMENT = {
    "KESSAI_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
    "KESSAI_LISTEN": "127.0.0.1:0",
    "KESSAI_PARTICIPANTS": json.dumps(
        dict.fromkeys(("points", "card", "merchant", "stock"), "127.0.0.1:1")
    ),
    "KESSAI_CALLERS": json.dumps({"shop": "0" * 64}),
    "KESSAI_SEAL_KEYS": json.dumps([base64.b64encode(b"k" * 32).decode()]),
}


def serve(*arguments: str, **more: str) -> Result:
    return CliRunner().invoke(app, ["serve", *arguments], env={**ENVIRONMENT, **more})


@pytest.mark.parametrize(
    ("role", "flag", "because"),
    [
        ("work", "--caller=shop=" + "0" * 64, "takes no requests"),
        ("work", '--limit=shop={"max_live": 1}', "takes no requests"),
        ("work", "--max-amount-minor=5", "takes no requests"),
        ("work", "--deadline-margin-s=1", "takes no requests"),
        ("serve", "--nats-url=nats://127.0.0.1:1", "runs no recovery and no relay"),
        ("serve", "--recover-interval-s=1", "runs no recovery and no relay"),
        ("serve", "--relay-interval-s=1", "runs no recovery and no relay"),
    ],
)
def test_a_flag_without_effect_in_the_role_is_refused(role: str, flag: str, because: str) -> None:
    result = serve("--role", role, flag)
    assert result.exit_code == 2
    assert f"{flag.partition('=')[0]} has no effect with the role {role}" in result.stderr
    assert because in result.stderr


def test_an_unknown_role_is_a_usage_error() -> None:
    result = serve("--role", "boss")
    assert result.exit_code == 2
    assert "KESSAI_ROLE" in result.stderr


def test_in_production_faults_are_refused() -> None:
    result = serve(KESSAI_FAULTS="slow@store")
    assert result.exit_code == 2
    assert "BAD_CONFIGURATION: KESSAI_FAULTS: faults are never injected" in result.stderr


def test_a_fault_that_there_is_not_is_told_with_its_rule_and_field() -> None:
    result = serve("--profile", "staging", "--faults", "slow@store;replylost@card")
    assert result.exit_code == 2
    assert "KESSAI_FAULTS: fault 2 (replylost@card): kind: there is no replylost" in result.stderr


def test_where_fault_injection_is_not_installed_faults_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(faults, "plugins", lambda _group: iter(()))
    result = serve("--profile", "staging", "--faults", "slow@store")
    assert result.exit_code == 2
    assert "KESSAI_FAULTS: fault injection is not installed here" in result.stderr
