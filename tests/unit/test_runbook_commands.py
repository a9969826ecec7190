"""Every command that the runbook and the page of commands name can be used like that."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from coordinator.cli.main import app

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("operating", "command-line")
TEXT = "\n".join((ROOT / f"docs/{page}.md").read_text() for page in PAGES)


def commands() -> list[str]:
    found = set(re.findall(r"`kessai ([^`]+)`", TEXT))
    return sorted(found - {"--install-completion"})  # an option of the root, which typer adds


def problem(words: list[str]) -> str:
    """What is wrong with a command line, by the commands and options that there are."""
    command: Any = get_command(app)
    while words and words[0] in getattr(command, "commands", {}):
        command, words = command.commands[words[0]], words[1:]
    if words == ["--help"]:
        return ""
    if hasattr(command, "commands"):
        return f"no command {' '.join(words) or '(a group alone)'}"
    missing = [
        param.opts[0]
        for param in command.params
        if words and param.required and param.opts[0].startswith("--")
        if not set(param.opts) & set(words)
    ]
    if missing:
        return f"needs {', '.join(missing)}"
    known = {name for param in command.params for name in (*param.opts, *param.secondary_opts)}
    known |= {"--help"}
    unknown = [word for word in words if word.startswith("--") and word not in known]
    return f"no option {', '.join(unknown)}" if unknown else ""


@pytest.mark.parametrize("line", commands())
def test_a_command_of_the_runbook_exists_with_its_options(line: str) -> None:
    assert problem(shlex.split(line)) == ""


@pytest.mark.parametrize(
    "line", ["nonsense", "payments", "payments get ID --nonsense x", "tx hold ID"]
)
def test_a_command_that_does_not_exist_is_found(line: str) -> None:
    assert problem(shlex.split(line))
