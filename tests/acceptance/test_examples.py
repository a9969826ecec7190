"""Every example in examples/ runs as it stands, against real processes, and prints what it says."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from coordinator import config
from coordinator.cli.stack import Plan, Stack
from coordinator.cli.up import OPTIONS

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
LIMIT_S = 60
PRINTS = {
    "bill_to_approve_later.py": (
        r"bill 1: RESERVED, held until \d\d:\d\d:\d\d UTC",
        r"bill 1: PAID, 700 of 1000 yen taken",
        r"bill 2: RESERVED, held until \d\d:\d\d:\d\d UTC",
        r"bill 2: FAILED, CANCELLED_BY_CALLER: rejected by accounting",
    ),
    "checkout.py": (
        r"order-\S+: PAID, 600 by points_reserve and 400 by card_charge",
        r"order-\S+: FAILED, CARD_DECLINED: .+",
        r"not accepted: tenders TENDERS_DO_NOT_ADD_UP: .+",
    ),
    "refund_desk.py": (
        r"paid: 600 points_reserve, 400 card_charge",
        r"refund 1: SUCCEEDED, 300 card_charge",
        r"refund 2: SUCCEEDED, 200 points_reserve, 50 card_charge",
        r"given back so far: 550 of 1000",
        r"refused: REFUND_EXCEEDS_PAYMENT, 450 are left",
    ),
    "wallet_top_up.py": (
        r"PAID: 3000 JPY to wallet-alice",
        r"waiting for the customer: redirect \S+",
        r"PAID: 3000 JPY to wallet-alice",
    ),
}


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with (
        tempfile.TemporaryDirectory(prefix="kessai-examples-", dir="/tmp") as folder,
        Stack(Plan(Path(folder) / "stack", options=OPTIONS)) as running,
    ):
        yield running


def test_every_example_is_run_here() -> None:
    assert sorted(path.name for path in EXAMPLES.glob("*.py")) == sorted(PRINTS)


@pytest.mark.parametrize("name", PRINTS)
def test_an_example_prints_what_it_says(stack: Stack, name: str) -> None:
    done = subprocess.run(
        [sys.executable, EXAMPLES / name],
        env=config.child_environment(
            KESSAI_ADDRESS=stack.address, KESSAI_API_KEY=stack.keys.api_key
        ),
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == len(PRINTS[name]), done.stdout
    for line, pattern in zip(lines, PRINTS[name], strict=True):
        assert re.fullmatch(pattern, line), done.stdout
