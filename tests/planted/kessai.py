"""`kessai` with a bug planted: `python -m tests.planted.kessai NAME simulate --seed 5`."""

from __future__ import annotations

import sys

import pytest

from coordinator.cli.main import main
from tests.planted.catalog import BY_NAME

if __name__ == "__main__":
    BY_NAME[sys.argv.pop(1)].plant(pytest.MonkeyPatch())
    main()
