"""`make mutants` runs every test of the domain."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_every_test_of_the_domain_hunts_mutants() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mutmut"]
    listed = settings["pytest_add_cli_args_test_selection"]
    found = [str(path.relative_to(ROOT)) for path in ROOT.glob("tests/unit/test_domain_*.py")]
    assert listed == [*sorted(found), "tests/property"]
