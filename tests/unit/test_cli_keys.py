from __future__ import annotations

import base64
import hashlib
import json
import shlex
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner

from coordinator.cli.failures import Failure
from coordinator.cli.keys import kept_keys, new_keys
from coordinator.cli.main import app
from coordinator.config import Settings


def test_keygen_prints_environment_lines_the_settings_accept() -> None:
    result = CliRunner().invoke(app, ["keygen", "--caller", "till"])
    assert result.exit_code == 0
    variables = {}
    for line in result.stdout.splitlines():
        export, assignment = shlex.split(line)
        assert export == "export"
        name, _, value = assignment.partition("=")
        variables[name.removeprefix("KESSAI_").lower()] = value
    api_key = variables.pop("api_key")
    settings = Settings.model_validate(
        {
            "callers": json.loads(variables["callers"]),
            "seal_keys": json.loads(variables["seal_keys"]),
            "database_url": "postgresql://x",
            "participants": {},
        }
    )
    assert settings.callers == {"till": hashlib.sha256(api_key.encode()).hexdigest()}
    assert len(settings.seal_keys) == 1


@pytest.mark.parametrize("name", ["bad name!", "", "a" * 65, "shop\n"])
def test_a_caller_that_the_server_would_refuse_gets_no_keys(name: str) -> None:
    result = CliRunner().invoke(app, ["keygen", "--caller", name])
    assert result.exit_code == 2
    assert "--caller" in result.stderr
    assert result.stdout == ""


def test_keygen_as_json() -> None:
    result = CliRunner().invoke(app, ["keygen", "--output", "json"])
    keys = json.loads(result.stdout)
    assert keys["api_key_sha256"] == hashlib.sha256(keys["api_key"].encode()).hexdigest()
    assert len(base64.b64decode(keys["seal_key"])) == 32


def test_keygen_makes_an_operators_key_that_the_settings_accept() -> None:
    result = CliRunner().invoke(app, ["keygen", "--operator", "alice"])
    assert result.exit_code == 0
    variables = dict(
        shlex.split(line)[1].partition("=")[::2] for line in result.stdout.splitlines()
    )
    digest = hashlib.sha256(variables["KESSAI_OPERATOR_KEY"].encode()).hexdigest()
    assert json.loads(variables["KESSAI_OPERATORS"]) == {"alice": digest}
    assert len(variables) == 2


def test_an_operators_key_as_json() -> None:
    result = CliRunner().invoke(app, ["keygen", "--operator", "alice", "--output", "json"])
    made = json.loads(result.stdout)
    assert made["operator"] == "alice"
    digest = hashlib.sha256(made["operator_key"].encode()).hexdigest()
    assert made["operator_key_sha256"] == digest


@pytest.mark.parametrize("name", ["bad name!", "", "alice\n", "kessai"])
def test_an_operator_that_the_server_would_refuse_gets_no_key(name: str) -> None:
    result = CliRunner().invoke(app, ["keygen", "--operator", name])
    assert result.exit_code == 2
    assert "--operator" in result.stderr
    assert result.stdout == ""


def test_keys_are_fresh_and_never_shown_by_repr() -> None:
    first, second = new_keys(), new_keys()
    assert first.api_key != second.api_key
    assert first.seal_key != second.seal_key
    assert first.api_key not in repr(first)
    assert first.seal_key not in repr(first)


def test_kept_keys_stay_the_same_and_only_their_owner_reads_them(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    keys = kept_keys(path)
    assert kept_keys(path).api_key == keys.api_key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_that_is_not_keys_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_text("{}")
    with pytest.raises(Failure, match="move it away"):
        kept_keys(path)
    assert path.read_text() == "{}"


def test_a_file_of_keys_from_before_there_were_operators_gets_one_and_keeps_the_rest(
    tmp_path: Path,
) -> None:
    path = tmp_path / "keys.json"
    path.write_text(json.dumps({"api_key": "a", "seal_key": "s"}))
    keys = kept_keys(path)
    assert (keys.api_key, keys.seal_key) == ("a", "s")
    assert keys.operator_key
    assert kept_keys(path) == keys
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
