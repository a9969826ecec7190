"""Imports point one way: the contracts of pyproject.toml, kept by import-linter."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("coordinator", "phases", "adapters", "participants", "fault_injection", "proto")


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs import-linter over the packages in `folder`."""
    program = Path(sys.executable).with_name("lint-imports")
    return subprocess.run(
        [program, "--config", folder / "pyproject.toml", "--no-cache"],
        cwd=folder,
        env={"PYTHONPATH": str(folder / "proto")},  # the copy's `kessai`, not the installed one
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The code as it is, where it may be spoiled."""
    folder = tmp_path_factory.mktemp("copy")
    shutil.copy(ROOT / "pyproject.toml", folder)
    for name in FOLDERS:
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / name, ignore=ignore)
    return folder


def test_every_contract_is_kept(copy: Path) -> None:
    result = lint(copy)
    assert result.returncode == 0, result.stdout + result.stderr
    assert " 0 broken" in result.stdout


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("coordinator/domain/bad.py", "import coordinator.ports", "Imports point one way"),
        ("coordinator/engine/bad.py", "import phases.registry", "Imports point one way"),
        ("phases/bad.py", "import coordinator.engine.drive", "Imports point one way"),
        ("coordinator/rpc/bad.py", "import adapters.nats", "know the adapters"),
        ("adapters/bad.py", "import coordinator.bootstrap", "Imports point one way"),
        ("coordinator/engine/bad.py", "import sqlalchemy", "The core knows no database"),
        ("coordinator/domain/bad.py", "import grpc", "The core knows no database"),
        ("phases/bad.py", "import kessai.payments.v1.payments_pb2", "The core knows no database"),
        ("phases/bad.py", "import coordinator.ports", "Phases are data"),
        ("participants/bad.py", "import coordinator.domain.money", "Participants stand alone"),
        ("proto/kessai/client/bad.py", "import coordinator.domain.money", "client stands alone"),
        ("proto/kessai/client/bad.py", "import structlog", "client stands alone"),
        ("coordinator/cli/bad.py", "import kessai.client.retry", "does not know its client"),
    ],
)
def test_a_wrong_import_breaks_its_contract(
    copy: Path, module: str, line: str, contract: str
) -> None:
    bad = copy / module
    bad.write_text(f"{line}\n")
    try:
        result = lint(copy)
    finally:
        bad.unlink()
    assert result.returncode == 1
    broken = [text for text in result.stdout.splitlines() if text.endswith("BROKEN")]
    assert any(contract in text for text in broken), result.stdout
