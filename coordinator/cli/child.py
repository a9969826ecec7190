"""One process of our own: started, waited for, stopped by its own ID, and started again.

A child runs in a session of its own, so that Ctrl-C in the terminal reaches only whoever started
it. It gets its settings by its environment and writes its log to a file, or to its starter's
stderr. It holds a lifeline (`lifeline.py`), so it ends when its starter is killed.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from coordinator.cli.lifeline import FLAG
from coordinator.cli.output import plain
from coordinator.cli.ready import announced, announced_admin

TAIL_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Ready:
    """A child says it can be called."""

    name: str
    pid: int
    address: str


@dataclass(frozen=True, slots=True)
class Ended:
    """A process ended. `expected` if we stopped it; `status` is negative for a signal.

    The status of a process that is not our child is None: only its parent is told.
    """

    name: str
    pid: int
    status: int | None
    expected: bool


ChildEvent: TypeAlias = Ready | Ended


class Child:
    """A `kessai` command as a process. Its events go to `report`, from another thread.

    Without a `log` it writes to this process's stderr.
    """

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        log: Path | None,
        report: Callable[[ChildEvent], None],
    ) -> None:
        self.name = name
        self.log = log
        self._arguments = tuple(arguments)
        self.environment = dict(environment)
        self._report = report
        self.admin_address = ""
        """Where operators can call, once it is ready; empty where they cannot."""
        self._process: subprocess.Popen[str] | None = None
        self._follower: threading.Thread | None = None
        self._stopping: set[int] = set()

    @property
    def pid(self) -> int:
        """The ID of the last process that was started."""
        assert self._process is not None, "not started yet"
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has been started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Starts it; returns at once. It is ready when `Ready` was reported."""
        assert not self.running, f"{self.name} runs already"
        if self._process is not None:
            self._close(self._process)
        with self.log.open("ab") if self.log else nullcontext() as log:
            process = subprocess.Popen(  # noqa: S603 - our own command, our own arguments
                [sys.executable, "-P", "-m", "coordinator.cli", *self._arguments, FLAG],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=self.environment,
                start_new_session=True,
                text=True,
                errors="replace",
            )
        self._process = process
        self._follower = threading.Thread(
            target=self._follow, args=(process,), name=f"follow-{self.name}", daemon=True
        )
        self._follower.start()

    def ask_to_stop(self) -> None:
        """Sends SIGTERM, if it runs."""
        if self._process is not None and self.running:
            self._stopping.add(self._process.pid)
            self._process.terminate()

    def stop(self, limit_s: float) -> None:
        """Asks it to stop and waits at most `limit_s`; then kills it."""
        self.ask_to_stop()
        process = self._process
        if process is None:
            return
        try:
            process.wait(limit_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._close(process)

    def kill(self) -> None:
        """Kills it at once, as a crash would."""
        process = self._process
        if process is None:
            return
        self._stopping.add(process.pid)
        process.kill()
        process.wait()
        self._close(process)

    def _follow(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self.admin_address = announced_admin(line) or self.admin_address
            address = announced(line)
            if address is not None:
                self._report(Ready(self.name, process.pid, address))
        status = process.wait()
        self._report(Ended(self.name, process.pid, status, process.pid in self._stopping))

    def _close(self, process: subprocess.Popen[str]) -> None:
        """Gives the pipes of an ended process back."""
        if self._follower is not None:
            self._follower.join()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


def tail(log: Path, lines: int = 15) -> list[str]:
    """The last lines of a log; none if it is not there."""
    if not log.exists():
        return []
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
        text = file.read().decode(errors="replace")
    return [plain(line) for line in text.splitlines()[-lines:]]


def watch(
    name: str, pid: int, report: Callable[[ChildEvent], None], expected: Callable[[], bool]
) -> threading.Event:
    """Reports the end of a process that somebody else started and stops, and sets the event.

    Only Linux can wait for such a process; elsewhere its end shows by what no longer works.
    """
    ended = threading.Event()
    if not hasattr(os, "pidfd_open"):
        return ended
    descriptor = os.pidfd_open(pid)

    def wait() -> None:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        poll.poll()
        os.close(descriptor)
        ended.set()
        report(Ended(name, pid, None, expected()))

    threading.Thread(target=wait, name=f"watch-{name}", daemon=True).start()
    return ended
