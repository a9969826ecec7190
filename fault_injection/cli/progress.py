"""A progress bar of the harness's commands, on a terminal alone."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from coordinator.cli.output import messages


@contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[], None]]:
    """What is called after each of `total` things."""
    console = messages()
    if not console.is_terminal or total == 1:
        yield lambda: None
        return
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        redirect_stdout=sys.stdout.isatty(),  # data in a pipe stays there
        transient=True,
    ) as shown:
        task = shown.add_task(what, total=total)
        yield lambda: shown.advance(task)
