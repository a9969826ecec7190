"""Real processes over one database, killed, frozen and cut off from each other under load.

The rows G, H, I and J of the pyramid (docs/testing.md). Shops rest between two things: these runs
wait more than they compute, and other tests run beside them.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from fault_injection.chaos.havoc import Fault
from fault_injection.chaos.report import Report
from fault_injection.chaos.run import ChaosPlan, run

PAUSE_S = 0.1


def outcome(plan: ChaosPlan) -> Report:
    """The report of a run in which everything held and everything ended."""
    with tempfile.TemporaryDirectory(prefix="kessai-chaos-", dir="/tmp") as folder:
        report = run(plan, Path(folder) / "stack")
    print(report)  # noqa: T201 - every random run says its seed
    assert report.violations == ()
    assert report.quiet_s is not None
    assert sum(report.faults.values()) == sum(plan.faults.values())
    assert report.transactions > 100
    assert report.books >= 5
    return report


@pytest.mark.timeout(900)
def test_g_and_h_whatever_is_killed_or_frozen_every_payment_ends_and_what_was_told_stays_true() -> (
    None
):
    outcome(
        ChaosPlan(
            seed=20261124,
            faults={
                Fault.KILL_COORDINATOR: 11,
                Fault.KILL_AT_A_POINT: 16,
                Fault.FREEZE_COORDINATOR: 3,
                Fault.KILL_POSTGRES: 5,
            },
            pause_s=PAUSE_S,
        )
    )


@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", [20261125, 20261126])
def test_i_whatever_the_network_does_for_a_minute_every_payment_ends_as_it_was_told(
    seed: int,
) -> None:
    report = outcome(
        ChaosPlan(seed=seed, faults={Fault.NETWORK: 18}, seconds=60.0, pause_s=PAUSE_S)
    )
    assert len(report.faults) > 5  # kinds: the seed decides which


@pytest.mark.timeout(900)
def test_j_two_coordinators_eight_shops_and_every_kind_of_fault_for_a_minute() -> None:
    outcome(
        ChaosPlan(
            seed=20261127,
            faults={
                Fault.KILL_COORDINATOR: 2,
                Fault.KILL_AT_A_POINT: 2,
                Fault.FREEZE_COORDINATOR: 1,
                Fault.KILL_PARTICIPANT: 3,
                Fault.KILL_POSTGRES: 1,
                Fault.KILL_BROKER: 2,
                Fault.NETWORK: 10,
                Fault.HOSTILE: 6,
            },
            seconds=60.0,
            shops=8,
            errors=0.02,
            pause_s=PAUSE_S,
        )
    )
