"""Binding a flow: every rule refuses what breaks it, and says so."""

from __future__ import annotations

from dataclasses import replace

import pytest

from coordinator.domain.errors import ConfigurationError
from coordinator.domain.flow import BadFlow, FlowRow, bind
from coordinator.domain.phase import Phase, Role
from phases.flows import bind_flows

TAKE = Phase("take", "Take", Role.TAKES, "p")
GIVE = Phase("give", "Give", Role.GIVES, "p")
GIVE_2 = Phase("give_2", "Give twice", Role.GIVES, "p")
PIVOT = Phase("pivot", "Pivot", Role.TAKES, "p", confirm_refusable=True)
PIVOT_2 = Phase("pivot_2", "Second pivot", Role.TAKES, "p", confirm_refusable=True)
STUCK = Phase("stuck", "Stuck", Role.TAKES, "p", cancellable=False)
SAY = Phase("say", "Say", Role.ANNOUNCES)
KEEP = Phase("keep", "Keep", Role.KEEPS, "p", longest_hold_s=600.0)
PHASES = {p.name: p for p in (TAKE, GIVE, GIVE_2, PIVOT, PIVOT_2, STUCK, SAY, KEEP)}
GOOD = FlowRow("good", (("take", "give"), ("pivot",)), announce="say")


def problems(row: FlowRow) -> tuple[str, ...]:
    with pytest.raises(BadFlow) as caught:
        bind(row, PHASES)
    assert isinstance(caught.value, ConfigurationError)
    assert str(caught.value).startswith(f"flow {row.name}: ")
    return caught.value.problems


def test_a_good_row_becomes_a_flow() -> None:
    flow = bind(GOOD, PHASES)
    assert flow.stages == ((TAKE, GIVE), (PIVOT,))
    assert flow.called == (TAKE, GIVE, PIVOT)
    assert flow.phases == (TAKE, GIVE, PIVOT, SAY)
    assert flow.takers == (TAKE, PIVOT)
    assert flow.pivot is PIVOT
    assert flow.announce is SAY
    assert flow.by_name["give"] is GIVE


def test_a_flow_needs_neither_pivot_nor_announcement() -> None:
    flow = bind(FlowRow("quiet", (("take", "give"),)), PHASES)
    assert flow.pivot is None
    assert flow.announce is None
    assert flow.phases == flow.called


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (replace(GOOD, try_stages=(("take", "give", "gone"),)), "unknown phase 'gone'"),
        (replace(GOOD, announce="gone"), "unknown phase 'gone'"),
        (replace(GOOD, try_stages=(("take", "give"), ("take",))), "phase 'take' twice"),
        (replace(GOOD, announce="pivot", try_stages=(("take", "give"),)), "cannot announce"),
        (replace(GOOD, try_stages=(("stuck", "give"),)), "phase 'stuck' has no undo"),
        (
            replace(GOOD, try_stages=(("take", "give", "say"),), announce=""),
            "name it as `announce`",
        ),
        (replace(GOOD, try_stages=(("pivot", "pivot_2", "give"),)), "pivot, pivot_2"),
        (replace(GOOD, try_stages=(("give",),)), "no phase takes money"),
        (replace(GOOD, try_stages=(("take",),)), "exactly one phase must give"),
        (replace(GOOD, try_stages=(("take", "give", "give_2"),)), "exactly one phase must give"),
        (replace(GOOD, try_stages=(("take", "give"), ())), "a try stage is empty"),
        (replace(GOOD, try_budget_s=0.0), "try_budget_s must be above 0"),
        (replace(GOOD, try_budget_s=float("nan")), "try_budget_s must be above 0"),
        (replace(GOOD, try_budget_s=901.0), "at most reservation_s"),
        (replace(GOOD, reservation_s=float("inf")), "and that at most"),
        (replace(GOOD, try_stages=(("take", "give", "keep"),)), "600, as long as phase 'keep'"),
    ],
)
def test_a_row_that_breaks_one_rule_is_refused_by_that_rule_alone(
    row: FlowRow, problem: str
) -> None:
    [only] = problems(row)
    assert problem in only


def test_all_broken_rules_are_told_at_once() -> None:
    told = problems(FlowRow("bad", (("gone",), ()), announce="take", try_budget_s=-1.0))
    assert len(told) == 6


def test_a_flow_name_is_snake_case() -> None:
    row = replace(GOOD, name="Points And Card")
    with pytest.raises(BadFlow, match="snake case"):
        bind(row, PHASES)


def test_two_flows_of_one_name_are_refused() -> None:
    with pytest.raises(BadFlow, match="two flows"):
        bind_flows([GOOD, GOOD], PHASES)


def test_a_flow_reserves_no_longer_than_its_least_patient_participant_holds() -> None:
    row = replace(GOOD, try_stages=(("take", "give", "keep"),), reservation_s=600.0)
    flow = bind(row, PHASES)
    assert flow.longest_reservation_s == 600.0
    assert flow.keepers == (KEEP,)


def test_a_refund_goes_the_other_way_merchant_first_and_leaves_what_is_kept() -> None:
    row = replace(GOOD, try_stages=(("take", "give", "keep"), ("pivot",)), reservation_s=600.0)
    refund = bind(row, PHASES).refund
    names = [[phase.name for phase in stage] for stage in refund.stages]
    assert names == [["give"], ["take", "pivot"]]
    roles = {phase.name: phase.role for phase in refund.called}
    assert roles == {"give": Role.TAKES, "take": Role.GIVES, "pivot": Role.GIVES}
    assert refund.pivot is None
    assert refund.announce is SAY
