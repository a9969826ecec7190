"""Starts the server in a folder, and leaves it running: `python -m adapters.embedded.start FOLDER`.

For owners with threads: the wheel forks when it runs as root, and a forked copy of a process that
gRPC works in may die before it becomes the server.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

from adapters.embedded.postgres import start

TRIES = 30
PAUSE_S = 1.0


def main(folder: Path) -> None:
    """Returns once the server is ready, which may take longer than the wheel waits (10 s)."""
    for left in reversed(range(TRIES)):
        try:
            start(folder)
        except (subprocess.SubprocessError, AssertionError):
            # What it began goes on, and is found ready by a later try.
            if not left:
                raise
            threading.Event().wait(PAUSE_S)
        else:
            return


if __name__ == "__main__":
    main(Path(sys.argv[1]))
