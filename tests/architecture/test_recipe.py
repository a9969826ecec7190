"""docs/adding-a-phase.md, done to the letter in a copy of the code: it lints, and it pays."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from fault_injection.coverage.cells import cells_of
from fault_injection.coverage.floor import FLOOR
from fault_injection.coverage.ledger import Ledger
from fault_injection.world import FLOWS

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "adding-a-phase.md"
COPIED = (
    "adapters",
    "coordinator",
    "fault_injection",
    "participants",
    "phases",
    "proto",
    "tests",
)
FLOW = "gift_card_and_card"
CHANGED = ("phases/gift_card.py", "phases/registry.py", "phases/flows.py")


def blocks() -> list[str]:
    """The page's blocks, in the order they are pasted: the file, the import, the line, the row."""
    found = re.findall(r"^   ```\w+\n(.*?)^   ```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    return [textwrap.dedent(block) for block in found]


def insert(path: Path, before: str, text: str) -> None:
    """Pastes the text before the one place that reads `before`."""
    source = path.read_text()
    assert source.count(before) == 1, f"{path.name} has not one place that reads {before!r}"
    path.write_text(source.replace(before, text + before))


def attempt(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs a Python module there."""
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=folder,
        env={"PYTHONPATH": f"{folder}:{folder / 'proto'}", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )


def run(folder: Path, *arguments: str) -> str:
    """What a Python module says there; it must succeed."""
    done = attempt(folder, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the code in which the page's blocks stand where the page says."""
    folder = tmp_path_factory.mktemp("recipe")
    for name in COPIED:
        skip = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / name, ignore=skip)
    shutil.copy(ROOT / "pyproject.toml", folder)
    file, line, name, row = blocks()
    (folder / "phases/gift_card.py").write_text(file)
    registry, flows = folder / "phases/registry.py", folder / "phases/flows.py"
    insert(registry, "from phases.merchant_credit import", line)
    insert(registry, "        NOTIFY,\n", textwrap.indent(name, " " * 8))
    insert(flows, ")\n\n\ndef bind_flows(", textwrap.indent(row, " " * 4))
    return folder


def test_what_the_page_says_to_write_passes_the_linter_as_it_is(followed: Path) -> None:
    run(followed, "ruff", "check", "--no-cache", *CHANGED)
    run(followed, "ruff", "format", "--check", "--no-cache", *CHANGED)


def test_the_new_flow_passes_the_tests_that_run_over_the_registry(followed: Path) -> None:
    (followed / "tests/unit/test_whose.py").write_text(
        "import coordinator, phases.gift_card as new\n\n\n"
        f"def test_{FLOW}_is_the_copys() -> None:\n"
        f"    assert coordinator.__file__ == {str(followed / 'coordinator/__init__.py')!r}\n"
        f"    assert new.__file__ == {str(followed / CHANGED[0])!r}\n"
    )
    options = ["-vv", "-p", "no:cacheprovider", "--no-cov"]
    whole = run(
        followed, "pytest", *options, "tests/unit/test_phases.py", "tests/unit/test_config.py"
    )
    assert f"[{FLOW}]" in whole
    assert "[gift_card-" in whole
    files = ("tests/property/test_domain_rules.py", "tests/simulation/test_business_paths.py")
    swept = f"{FLOW}/pay/singles"  # one path is enough here
    chosen = f"({FLOW} and (domain_rules or never_decided)) or {swept} or tame_world or copys"
    told = run(followed, "pytest", *options, "-k", chosen, "tests/unit/test_whose.py", *files)
    assert f"test_{FLOW}_is_the_copys PASSED" in told
    for name in files:
        assert re.search(rf"{re.escape(name)}::.*{FLOW}.* PASSED", told), name
    assert "test_a_tame_world_pays_every_flow_without_waiting PASSED" in told


def test_the_new_flow_is_swept_and_is_red_until_it_was_tried_often_enough(followed: Path) -> None:
    ledger = Ledger()  # everything else was
    ledger.add("sweep singles", dict.fromkeys(cells_of(FLOWS), FLOOR))
    ledger.write(followed / "others.json")
    faults = ("coordinator.cli", "faults")
    sweep = ("sweep", "--flow", FLOW, "--path", "refused-by-gift_card", "--windows", "4")
    swept = run(followed, *faults, *sweep, "--coverage", "new.json", "--output", "jsonl")
    record = json.loads(swept)
    assert (record["flow"], record["path"]) == (FLOW, "refused-by-gift_card")
    assert record["singles"] > 50
    files = ("--from", "others.json", "--from", "new.json")
    judged = attempt(followed, *faults, "coverage", *files, "--output", "jsonl")
    assert judged.returncode == 1
    assert "BELOW_FLOOR" in judged.stderr
    records = list(map(json.loads, judged.stdout.splitlines()))
    low = {each["flow"] for each in records if each["count"] < each["least"]}
    assert low == {FLOW, f"{FLOW} refund"}
    tried = {each["operation"] for each in records if each["step"] == "gift_card" and each["count"]}
    assert {"try", "cancel"} <= tried


def test_a_place_that_has_moved_is_said(tmp_path: Path) -> None:
    path = tmp_path / "registry.py"
    path.write_text("a\n")
    with pytest.raises(AssertionError, match="not one place"):
        insert(path, "b", "c")
