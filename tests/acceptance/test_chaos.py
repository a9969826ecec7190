"""Two coordinators over one database, killed, frozen and cut off from it under load."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from fault_injection.chaos.havoc import Fault
from fault_injection.chaos.run import ChaosPlan, run

PLAN = ChaosPlan(
    seed=20261124,
    faults={
        Fault.KILL_COORDINATOR: 30,
        Fault.KILL_POSTGRES: 5,
        Fault.FREEZE_COORDINATOR: 3,
    },
)


@pytest.mark.timeout(600)
def test_whatever_is_killed_every_payment_ends_and_nothing_that_was_told_becomes_untrue() -> None:
    with tempfile.TemporaryDirectory(prefix="kessai-chaos-", dir="/tmp") as folder:
        report = run(PLAN, Path(folder) / "stack")
    print(report)  # noqa: T201 - every random run says its seed
    assert report.violations == ()
    assert report.quiet_s is not None
    assert report.transactions > 100
