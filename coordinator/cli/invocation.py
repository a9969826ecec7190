"""How whoever runs this command can run it again: for hints and for lines to paste."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path


def this_command() -> str:
    """`kessai` by its name, or by its path in a .venv, as a shell in this folder finds it."""
    beside = Path(sys.executable).with_name("kessai")
    if shutil.which("kessai"):
        return "kessai"
    if beside.exists():
        return shlex.quote(os.path.relpath(beside))
    return f"{shlex.quote(sys.executable)} -m coordinator.cli"
