"""Every command explains itself, quickly and without a terminal."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from coordinator.cli.main import app
from coordinator.config import Settings

HEAVY = ("grpc", "sqlalchemy", "google.protobuf", "pydantic_settings", "nats", "structlog")


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    for name, child in getattr(command, "commands", {}).items():
        yield from commands(child, (*path, name))


COLUMNS = 79
"""The help of a terminal of 80 leaves the last one empty."""
ALL = sorted(commands(get_command(app)))


def test_there_is_every_command_the_issue_asks_for() -> None:
    asked = {
        "version", "keygen", "migrate", "serve", "up", "demo",
        "participant serve", "participant check",
        *(f"payments {name}" for name in ("create", "get", "list", "watch", "cancel", "journal")),
        *(f"tx {name}" for name in ("list", "explain", "resume", "hold", "unhold", "cancel")),
        "tx resolve", "flow list", "flow pause", "flow resume", "participants", "doctor",
        "config show", "simulate", "chaos", "faults sweep", "faults coverage", "model",
        "payments capture", *(f"refunds {name}" for name in ("create", "get", "list", "watch")),
    }  # fmt: skip
    assert asked <= {" ".join(path) for path in ALL}


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_help_has_examples_and_exit_codes(path: tuple[str, ...]) -> None:
    result = CliRunner().invoke(app, [*path, "--help"])
    assert result.exit_code == 0
    assert "Examples:\n   kessai" in "\n".join(line.rstrip() for line in result.output.splitlines())
    assert "Exit codes:" in result.output
    assert "2  usage or bad input" in result.output
    ends_by_ctrl_c = path in {("up",), ("serve",), ("participant", "serve")}
    assert ("130  interrupted by Ctrl-C" in result.output) is not ends_by_ctrl_c


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_examples_can_be_pasted_from_a_terminal_of_80_columns(path: tuple[str, ...]) -> None:
    help_ = CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": "200"}).output
    _, _, end = help_.partition("Examples:")
    examples, _, _ = end.partition("Exit codes:")
    assert [line for line in map(str.rstrip, examples.splitlines()) if len(line) > COLUMNS] == []


def test_help_needs_no_heavy_module() -> None:
    code = f"""
import sys
from coordinator.cli.main import app
print([name for name in {HEAVY!r} if name in sys.modules])
"""
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert found.stdout.strip() == "[]"


def test_an_unknown_command_or_option_is_a_usage_error() -> None:
    for arguments in (["nonsense"], ["payments", "list", "--nonsense"], ["payments", "create"]):
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 2
        assert "Traceback" not in result.output


def test_the_module_is_the_same_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "coordinator.cli", "version", "--output", "jsonl"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert '"kessai"' in done.stdout


SECRETS = {"seal_keys", "callback_keys"}
"""Command lines can be read by others."""


def test_every_setting_has_a_flag_except_the_secret_keys() -> None:
    serve = get_command(app).commands["serve"]  # type: ignore[attr-defined] # it is a group
    flags = {parameter.name for parameter in serve.params} - {"help", "lifeline"}
    renamed = {
        "participant": "participants",
        "caller": "callers",
        "operator": "operators",
        "flow": "flows",
        "limit": "limits",
        "participant_limit": "participant_limits",
    }
    settings = set(Settings.model_fields) - SECRETS - {"worker"}  # the parent's own way to tell
    assert {renamed.get(name, name) for name in flags} == settings


def test_the_help_of_serve_shows_every_default_and_what_is_required() -> None:
    serve = get_command(app).commands["serve"]  # type: ignore[attr-defined] # it is a group
    flags = {parameter.name: parameter for parameter in serve.params}
    renamed = {
        "participants": "participant",
        "callers": "caller",
        "operators": "operator",
        "flows": "flow",
        "limits": "limit",
        "participant_limits": "participant_limit",
    }
    for name, field in Settings.model_fields.items():
        if name in SECRETS | {"worker"}:
            continue
        flag = flags[renamed.get(name, name)]
        if field.is_required():
            assert "Required." in flag.help
        elif name == "reflection":
            assert flag.show_default == "no-reflection"
        elif field.default not in ("", (), {}):
            assert flag.show_default in {str(field.default), str(field.default).removesuffix(".0")}


def test_every_argument_has_a_description() -> None:
    check = get_command(app).commands["participant"].commands["check"]  # type: ignore[attr-defined] # a group
    assert all(parameter.help for parameter in check.params)


def test_completion_can_be_installed() -> None:
    shown = CliRunner().invoke(app, ["--help"]).output
    assert "--install-completion" in shown


@pytest.mark.parametrize(
    ("typed", "expected"),
    [("kessai tx re", {"resolve", "resume"}), ("kessai tx resolve --as ", {"captured"}),
     ("kessai tx list --nee", {"--needs-attention"})],
)  # fmt: skip
def test_a_shell_completes_commands_options_and_choices(typed: str, expected: set[str]) -> None:
    words = typed.split(" ")
    env = {
        "_KESSAI_COMPLETE": "complete_bash",
        "COMP_WORDS": typed,
        "COMP_CWORD": str(len(words) - 1),
    }
    done = CliRunner().invoke(app, [], env=env, prog_name="kessai")
    assert expected <= {line.strip() for line in done.stdout.splitlines()}
