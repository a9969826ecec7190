"""`make mutants` runs every test of the domain, and rings when too many mutants live."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from tests import mutants

ROOT = Path(__file__).resolve().parents[2]


def test_every_test_of_the_domain_hunts_mutants() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mutmut"]
    listed = settings["pytest_add_cli_args_test_selection"]
    found = [str(path.relative_to(ROOT)) for path in ROOT.glob("tests/unit/test_domain_*.py")]
    assert listed == [*sorted(found), "tests/property"]


@pytest.mark.parametrize(
    ("killed", "timeout", "code"), [(190, 0, 0), (180, 10, 0), (189, 0, 1), (0, 0, 1)]
)
def test_too_many_mutants_that_live_or_were_never_tried_ring(
    killed: int, timeout: int, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = tmp_path / "stats.json"
    written.write_text(json.dumps({"killed": killed, "timeout": timeout, "total": 200}))
    monkeypatch.setattr(mutants, "WRITTEN", written)
    assert mutants.main() == code
