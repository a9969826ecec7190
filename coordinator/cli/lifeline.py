"""A server that was started by `kessai up` must not outlive it, even when `up` is killed.

`up` holds the writing end of the server's stdin. When that closes, for whatever reason, the server
gets the same signal a clean stop sends.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import Annotated

import typer

LifelineOption = Annotated[
    bool, typer.Option("--lifeline", hidden=True, help="Stop when stdin is closed.")
]
FLAG = "--lifeline"


def hold_lifeline() -> None:
    """From now on, the end of stdin stops this process with SIGTERM."""
    threading.Thread(target=_wait_for_the_end, name="lifeline", daemon=True).start()


def _wait_for_the_end() -> None:
    descriptor = sys.stdin.fileno()
    while os.read(descriptor, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
