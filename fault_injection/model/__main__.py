"""`python -m fault_injection.model` is `kessai model`."""

from __future__ import annotations

import sys

from coordinator.cli.main import app

if __name__ == "__main__":
    app(["model", *sys.argv[1:]], prog_name="kessai")
