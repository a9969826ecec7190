"""Questions before something that cannot be taken back.

They are asked on a terminal only, on stderr, so that data on stdout stays data. Without a terminal
nothing is assumed: whoever means it says `--yes`.
"""

from __future__ import annotations

import sys

from coordinator.cli.failures import ExitCode, Failure
from coordinator.cli.output import messages, plain, say

TYPED = 6
"""How many of an ID's last characters are typed to confirm."""


def on_a_terminal() -> bool:
    """Whether somebody is there who can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def confirm(question: str, *, yes: bool) -> None:
    """Returns if the answer is yes. Raises Failure otherwise, or if nobody can be asked."""
    if yes:
        return
    need_a_terminal(question)
    if _answer(f"{question} [y/N] ").lower() not in {"y", "yes"}:
        raise _not_confirmed()


def confirm_by_id(question: str, its_id: str, *, yes: bool) -> None:
    """Returns if the ID's last characters are typed. Raises Failure otherwise."""
    if yes:
        return
    need_a_terminal(question)
    say(plain(question))
    if _answer(f"Type the last {TYPED} characters of the ID to go on: ") != its_id[-TYPED:]:
        raise _not_confirmed()


def need_a_terminal(question: str) -> None:
    """Raises Failure if nobody can be asked."""
    if not on_a_terminal():
        raise Failure(
            "this has to be confirmed, and there is no terminal to ask on; nothing was done",
            ExitCode.USAGE,
            "NOT_CONFIRMED",
            f"{question}\nadd --yes if that is what you want".lstrip(),
        )


def _not_confirmed() -> Failure:
    return Failure("not confirmed; nothing was done", ExitCode.FAILED, "NOT_CONFIRMED")


def _answer(question: str) -> str:
    """One line; what is not answered (Ctrl-D) is an empty one. The question's line is ended."""
    messages().print(plain(question), end="", markup=False, soft_wrap=True)
    sys.stderr.flush()
    line = ""
    try:
        line = sys.stdin.readline()
    finally:  # also by Ctrl-C
        if not line.endswith("\n"):
            say("")
    return line.strip()
