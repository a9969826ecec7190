"""A server that was started here must not outlive whoever started it, even when that is killed.

A guard is a small process that holds the reading end of its owner's pipe. When the pipe closes it
stops the server, if that still runs: with the gentle signal first, so that those who still work
with it can finish, then with the harder ones.

This file is also the guard's own program; it needs the standard library alone.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO

LOOK_EVERY_S = 0.05
GRACE_S = 15.0
"""How long each signal may take before the next one is sent."""


class Guard:
    """One guarded server in one folder; `lock` has one owner at a time.

    `Guard(lock)` waits at most `limit_s` for the guard of an owner that was killed to finish its
    work. Raises OSError when the lock cannot be had.
    """

    def __init__(self, lock: Path, limit_s: float = 4 * GRACE_S) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: IO[str] = lock.open("w")
        try:
            _take(self._lock, limit_s)
        except BaseException:
            self._lock.close()
            raise

    def watch(self, pid: int, signals: Sequence[signal.Signals]) -> None:
        """From now on, the end of this process stops the server `pid`."""
        command = [sys.executable, "-I", "-S", __file__, str(pid), *(str(int(n)) for n in signals)]
        self._process = subprocess.Popen(  # noqa: S603 - our own program, our own arguments
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=(self._lock.fileno(),),
        )

    def close(self) -> None:
        """Ends the guard, after the server: one that still runs is stopped by the guard."""
        process, self._process = self._process, None
        if process is not None:
            assert process.stdin is not None
            process.stdin.close()
            process.wait()
        self._lock.close()


def _take(file: IO[str], limit_s: float) -> None:
    """Locks the file; the guard of an owner that was killed holds it until its server is gone."""
    for _ in range(round(limit_s / LOOK_EVERY_S)):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _pause()
        else:
            return
    raise TimeoutError(f"somebody else uses {file.name}")


def _pause() -> None:
    select.select([], [], [], LOOK_EVERY_S)


def stop(pid: int, signals: Sequence[int], grace_s: float = GRACE_S) -> None:
    """Sends one signal after the other until the process is gone, by this ID alone."""
    for number in signals:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return
        for _ in range(round(grace_s / LOOK_EVERY_S)):
            if not runs(pid):
                return
            _pause()


def runs(pid: int) -> bool:
    """Whether the process runs. One that waits to be reaped does not, where that can be seen."""
    if not hasattr(os, "pidfd_open"):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        return True
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        return not select.select([descriptor], [], [], 0)[0]
    finally:
        os.close(descriptor)


def _main(pid: int, signals: Sequence[int]) -> None:
    while os.read(sys.stdin.fileno(), 1024):
        pass
    if runs(pid):
        stop(pid, signals)


if __name__ == "__main__":
    _main(int(sys.argv[1]), [int(number) for number in sys.argv[2:]])
