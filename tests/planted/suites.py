"""Layers that are tests of pytest: run in a process of their own, with the bug planted in it."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.planted.bug import Layer

ROOT = Path(__file__).resolve().parents[2]
SUITES: Mapping[Layer, tuple[str, ...]] = {
    Layer.UNIT: (
        "tests/unit/test_domain_*.py",
        "tests/unit/test_engine.py",
        "tests/unit/test_recover.py",
        "tests/unit/test_guarded_participant.py",
        "tests/property/test_domain_rules.py",
    ),
    Layer.CASES: (
        "tests/simulation/test_reports.py",
        "tests/simulation/test_operators.py",
        "tests/simulation/test_takeover.py",
        "tests/simulation/test_breakers.py",
    ),
    Layer.STORE: (
        "tests/contract/test_store_faults.py",
        "tests/contract/test_store_queues.py",
        "tests/contract/test_store.py",
        "tests/contract/test_store_operators.py",
    ),
    Layer.FENCE: ("tests/contract/test_participant_conformance.py",),
}
CHOSEN: Mapping[Layer, str] = {Layer.STORE: "not sqlite", Layer.FENCE: "keeps_every_rule"}
"""Which of the tests, as pytest's -k; all of them where nothing is said."""
PASSED = re.compile(r"([0-9]+) passed")
FAILED = re.compile(r"^(?:FAILED|ERROR) [^:]+::(.+?)(?: - (.*))?$", re.MULTILINE)
OPTIONS = (
    *("-x", "-n0", "-o", "addopts=", "--import-mode=importlib", "-rfE", "--tb=no"),
    *("--timeout=60", "-p", "no:cacheprovider", "-p", "tests.planted.plugin"),
)
LONGEST_S = 280.0
"""How long a suite may take, in seconds."""
OK, FOUND = 0, 1
"""Exit codes of pytest."""


def run(layer: Layer, bug: str, where: str) -> tuple[str, int, str]:
    """What failed first (empty: nothing), how many tests were run, and the name of that test.

    `where` is a part of the names of the tests to run; all of them when it is empty.

    Raises RuntimeError when the tests could not be run.
    """
    words = [sys.executable, "-m", "pytest", *OPTIONS, *(["--plant", bug] if bug else [])]
    chosen = " and ".join(each for each in (CHOSEN.get(layer, ""), where) if each)
    words += ["-k", chosen] if chosen else []
    for word in SUITES[layer]:
        files = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob(word))
        words += files if "*" in word else [word]
    done = subprocess.run(
        words, cwd=ROOT, capture_output=True, text=True, timeout=LONGEST_S, check=False
    )
    passed = int(found[1]) if (found := PASSED.search(done.stdout)) else 0
    failed = FAILED.search(done.stdout)
    if done.returncode == FOUND and failed is not None:
        return failed[2] or "a test failed", passed + 1, failed[1]
    if done.returncode != OK:
        raise RuntimeError(f"{layer} with {bug or 'nothing'} planted:\n{done.stdout}{done.stderr}")
    return "", passed, ""
