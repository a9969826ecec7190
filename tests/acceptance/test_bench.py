"""`kessai bench run` as a newcomer runs it, as small as it can be."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.results import QUANTILES, read
from coordinator import config


def test_a_short_benchmark_pays_and_keeps_what_it_measured(tmp_path: Path) -> None:
    asked = ["bench", "run", "--scenario", "one-stream", "--rounds", "1", "--seconds", "1"]
    files = ["--json", str(tmp_path / "found.json"), "--html", str(tmp_path / "found.html")]
    done = subprocess.run(
        [sys.executable, "-m", "coordinator.cli", *asked, "--memory=64", *files, "--output=json"],
        env=config.child_environment(),
        capture_output=True, text=True, timeout=170, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = read(tmp_path / "found.json")
    assert json.loads(done.stdout)["build"] == found.build
    (run,) = found.runs
    assert set(run.answers) == {"PAID"}
    assert run.rate > 0
    assert len(run.latency_ms) == len(QUANTILES)
    assert set(run.cpu_ms) == {"coordinator", "database", "participants", "load"}
    assert run.cpu_ms["coordinator"] > 0
    (memory,) = found.memory
    assert memory.in_flight == 64
    assert "<svg" in (tmp_path / "found.html").read_text()
