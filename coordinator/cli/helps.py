"""How every `--help` reads: what the command does, examples, and its exit codes."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

import typer

from coordinator.cli.failures import MEANINGS, ExitCode

OPERATORS = "For operators"
CALLERS = "For callers"
RUNNING = "Running it"
"""The parts of the list of commands."""
Command = TypeVar("Command", bound=Callable[..., Any])


def epilog(*examples: str, interruptible: bool = True, **codes: str) -> str:
    """The end of a command's help: examples, then its exit codes.

    `codes` are names of ExitCode in small letters with what they mean here, empty for the usual
    meaning; ok and usage are always there, and interrupted unless Ctrl-C is the usual end.
    """
    meant = {ExitCode.OK: "", ExitCode.USAGE: ""}
    if interruptible:
        meant[ExitCode.INTERRUPTED] = ""
    meant |= {ExitCode[name.upper()]: meaning for name, meaning in codes.items()}
    lines = ["Examples:"]
    lines += [f"  {example}" for example in examples]
    lines += ["", "Exit codes:"]
    lines += [f"  {code.value}  {meant[code] or MEANINGS[code]}" for code in sorted(meant)]
    return "\n".join(lines).replace("[", "\\[")


def command(
    app: typer.Typer,
    *examples: str,
    name: str | None = None,
    interruptible: bool = True,
    forwards: bool = False,
    panel: str | None = None,
    **codes: str,
) -> Callable[[Command], Command]:
    """Adds a function to `app` as a command; its docstring, examples and codes are the help.

    `panel` is the part of the list of commands that it stands in. One that `forwards` gets what
    it does not know in its context, for another command to read.
    """
    unknown = {"allow_extra_args": True, "ignore_unknown_options": True} if forwards else None

    def add(function: Command) -> Command:
        end = epilog(*examples, interruptible=interruptible, **codes)
        adds = app.command(
            name,
            help=_flowed(function),
            epilog=end,
            context_settings=unknown,
            rich_help_panel=panel,
        )
        adds(function)
        return function

    return add


def _flowed(function: Callable[..., Any]) -> str:
    """The docstring with one line for each paragraph, so that the terminal breaks the lines."""
    paragraphs = (inspect.getdoc(function) or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
