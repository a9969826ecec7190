"""Packages that are found by their entry points, and may be missing."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from coordinator import plugins as module
from coordinator.config import child_environment
from coordinator.plugins import plugins

ENVIRONMENT = {
    "KESSAI_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
    "KESSAI_PARTICIPANTS": json.dumps({"card": "127.0.0.1:1"}),
    "KESSAI_CALLERS": json.dumps({"shop": "0" * 64}),
    "KESSAI_SEAL_KEYS": json.dumps([base64.b64encode(b"k" * 32).decode()]),
}


WITHOUT = """
import sys

class LeftOut:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "fault_injection":
            raise ModuleNotFoundError(f"No module named {name!r}", name="fault_injection")

sys.meta_path.insert(0, LeftOut())
from coordinator.cli.main import app
app(sys.argv[1:], prog_name="kessai")
"""


def found(monkeypatch: pytest.MonkeyPatch, *values: str) -> list[object]:
    """What is loaded of entry points with these values."""
    points = [EntryPoint(value, value, "kessai.test") for value in values]
    monkeypatch.setattr(module, "entry_points", lambda group: points if group == "g" else [])
    return list(plugins("g"))


def test_what_an_entry_point_names_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert found(monkeypatch, "json:loads", "json") == [
        __import__("json").loads,
        __import__("json"),
    ]


def test_a_package_that_was_left_out_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    assert found(monkeypatch, "left_out_package.cli", "json") == [json]


def test_a_package_that_is_there_and_broken_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModuleNotFoundError):
        found(monkeypatch, "json.no_such_module")


def test_this_installation_can_inject_faults() -> None:
    assert len(list(plugins("kessai.faults"))) == 1


def without_the_harness(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command line where `fault_injection` was left out, but its entry points were not."""
    return subprocess.run(
        [sys.executable, "-c", WITHOUT, *arguments],
        env=child_environment(**environment),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_without_the_harness_the_command_line_lacks_its_commands_alone() -> None:
    result = without_the_harness("--help")
    assert result.returncode == 0, result.stderr
    assert "serve" in result.stdout
    assert "simulate" not in result.stdout


def test_without_the_harness_no_profile_can_have_faults() -> None:
    result = without_the_harness(
        "config", "show", **ENVIRONMENT, KESSAI_PROFILE="staging", KESSAI_FAULTS="slow@store"
    )
    assert result.returncode == 2
    assert "KESSAI_FAULTS: fault injection is not installed here" in result.stderr
