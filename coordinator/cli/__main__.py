"""`python -m coordinator.cli`: the same command as `kessai`, for processes it starts itself."""

from __future__ import annotations

from coordinator.cli.main import main

main()
