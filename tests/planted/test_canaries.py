"""The commands themselves ring: with a bug planted they fail, and say what, where and how again."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUG = "cancel-not-sent-for-an-unknown-try"
SEEDS = "0..9"


def kessai(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.planted.kessai", BUG, *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_simulate_fails_with_the_invariant_the_story_and_a_command_that_replays_it() -> None:
    done = kessai("simulate", "--seeds", SEEDS)
    assert done.returncode == 1, done.stderr
    assert re.search(r"seed \d+: ([SL]\d+|steps): ", done.stderr), done.stderr
    assert " leaves" in done.stderr
    assert "journal   1 transition CREATED create" in done.stderr
    replay = re.search(r"replay: kessai (.+)", done.stderr)
    assert replay is not None, done.stderr
    again = kessai(*shlex.split(replay[1]))
    assert again.returncode == 1
    assert (
        re.findall(r"seed \d+: .+", again.stderr)[-1:]
        == re.findall(r"seed \d+: .+", done.stderr)[-1:]
    )


def test_sweep_fails_with_the_invariant_the_case_and_a_command_that_replays_it() -> None:
    done = kessai("faults", "sweep", "--flow", "card_only", "--path", "no-answer-from-card_charge")
    assert done.returncode == 1, done.stderr
    assert re.search(r"INVARIANT_BROKEN: \S+: ([SL]\d+|steps): ", done.stderr), done.stderr
    replay = re.search(r"replay: kessai (.+)", done.stderr)
    assert replay is not None, done.stderr
    assert kessai(*shlex.split(replay[1])).returncode == 1
