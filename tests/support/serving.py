"""`kessai serve` as real processes, each in a session of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from adapters.postgres.migrate import migrate
from coordinator import config
from coordinator.cli.ready import announced, announced_admin
from tests.support.service import settings

LIMIT_S = 60.0


class Serving:
    """A `kessai serve` in a session of its own; its log is in a file."""

    def __init__(self, log: Path, environment: Mapping[str, str], *arguments: str) -> None:
        self.log = log
        self.admin_address = ""
        with log.open("wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "coordinator.cli", "serve", *arguments],
                env=dict(environment),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                start_new_session=True,
                text=True,
            )

    def address(self) -> str:
        """What it announces."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.admin_address = announced_admin(line) or self.admin_address
            if address := announced(line):
                return address
        raise AssertionError(self.log.read_text())

    def workers(self) -> set[int]:
        """The processes that it started and that have not ended."""
        shown = subprocess.run(
            ["ps", "-o", "pid=,stat=", "--ppid", str(self.process.pid)],
            capture_output=True,
            text=True,
            check=False,
        )
        rows = [line.split() for line in shown.stdout.splitlines()]
        return {int(pid) for pid, stat in rows if not stat.startswith("Z")}

    def end(self) -> int:
        """Its exit status."""
        return self.process.wait(LIMIT_S)

    def logged(self, event: str) -> list[dict[str, object]]:
        """Its log lines of this event."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line[:1] == "{"]
        return [line for line in lines if line["event"] == event]


Serve: TypeAlias = Callable[..., Serving]


@contextmanager
def servings(folder: Path, environment: Mapping[str, str]) -> Iterator[Serve]:
    """Starts processes by their arguments and changes of the environment.

    Whatever a failed test left running is killed by its ID.
    """
    started: list[Serving] = []

    def start(*arguments: str, **changes: str) -> Serving:
        log = folder / f"serving-{len(started)}.log"
        started.append(Serving(log, {**environment, **changes}, *arguments))
        return started[-1]

    try:
        yield start
    finally:
        for one in started:
            if one.process.poll() is None:
                for pid in (one.process.pid, *one.workers()):
                    os.kill(pid, signal.SIGKILL)
            one.process.wait(LIMIT_S)
            for pipe in (one.process.stdin, one.process.stdout):
                assert pipe is not None
                pipe.close()


def environment(url: str, **changes: Any) -> dict[str, str]:
    """The environment of a `kessai serve` over the database at `url`, its schema made."""
    migrate(url)
    return config.child_environment(**config.as_environment(settings(url, **changes)))


def until(holds: Callable[[], bool], what: str) -> None:
    """Returns once it holds; looks again and again."""
    for _ in range(round(LIMIT_S / 0.05)):
        if holds():
            return
        time.sleep(0.05)
    raise AssertionError(f"still not: {what}")
