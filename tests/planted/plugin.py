"""A pytest plugin: `-p tests.planted.plugin --plant NAME` plants a bug before any test is read."""

from __future__ import annotations

import pytest

from tests.planted.catalog import BY_NAME


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--plant NAME`."""
    parser.addoption("--plant", choices=sorted(BY_NAME), help="the bug to plant")


def pytest_configure(config: pytest.Config) -> None:
    """For as long as the process lives: nothing undoes it."""
    name = config.getoption("--plant")
    if name is not None:
        BY_NAME[name].plant(pytest.MonkeyPatch())
