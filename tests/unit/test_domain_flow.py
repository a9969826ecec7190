"""Binding a flow: every rule refuses what breaks it, and says so."""

from __future__ import annotations

from dataclasses import replace

import pytest

from coordinator.domain.errors import ConfigurationError
from coordinator.domain.flow import BadFlow, FlowRow, bind
from coordinator.domain.phase import Phase, Role
from coordinator.domain.retry import LONGEST_S
from phases.flows import bind_flows

TAKE = Phase("take", "Take", Role.TAKES, "p")
GIVE = Phase("give", "Give", Role.GIVES, "p")
GIVE_2 = Phase("give_2", "Give twice", Role.GIVES, "p")
PIVOT = Phase("pivot", "Pivot", Role.TAKES, "p", confirm_refusable=True, secret_source=True)
PIVOT_2 = Phase("pivot_2", "Second pivot", Role.TAKES, "p", confirm_refusable=True)
STUCK = Phase("stuck", "Stuck", Role.TAKES, "p", cancellable=False)
SAY = Phase("say", "Say", Role.ANNOUNCES)
KEEP = Phase("keep", "Keep", Role.KEEPS, "p", longest_hold_s=600.0)
PHASES = {p.name: p for p in (TAKE, GIVE, GIVE_2, PIVOT, PIVOT_2, STUCK, SAY, KEEP)}
GOOD = FlowRow("good", (("take", "give"), ("pivot",)), announce="say")

GIVES_ONCE = "exactly one phase must give the money to the merchant"
BUDGET = f"try_budget_s must be above 0, at most reservation_s, and that at most {LONGEST_S}"
ATTENTION = f"attention_after_s must be above 0 and at most {LONGEST_S}"


def problems(row: FlowRow) -> tuple[str, ...]:
    with pytest.raises(BadFlow) as caught:
        bind(row, PHASES)
    assert isinstance(caught.value, ConfigurationError)
    assert str(caught.value) == f"flow {row.name}: {'; '.join(caught.value.problems)}"
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
        (
            replace(GOOD, announce="pivot", try_stages=(("take", "give"),)),
            "phase 'pivot' cannot announce",
        ),
        (replace(GOOD, try_stages=(("stuck", "give"),)), "phase 'stuck' has no undo"),
        (
            replace(GOOD, try_stages=(("take", "give", "say"),), announce=""),
            "phase 'say' announces; name it as `announce`, not in a try stage",
        ),
        (
            replace(GOOD, try_stages=(("pivot", "pivot_2", "give"),)),
            "only the pivot's confirm may still be refused, but these all may: pivot, pivot_2",
        ),
        (replace(GOOD, try_stages=(("give",),)), "no phase takes money"),
        (replace(GOOD, try_stages=(("take",),)), GIVES_ONCE),
        (replace(GOOD, try_stages=(("take", "give", "give_2"),)), GIVES_ONCE),
        (replace(GOOD, try_stages=(("take", "give"), ())), "a try stage is empty"),
        (replace(GOOD, try_budget_s=0.0), BUDGET),
        (replace(GOOD, try_budget_s=float("nan")), BUDGET),
        (replace(GOOD, try_budget_s=901.0), BUDGET),
        (replace(GOOD, reservation_s=float("inf")), BUDGET),
        (
            replace(GOOD, try_stages=(("take", "give", "keep"),)),
            "reservation_s must be at most 600, as long as phase 'keep' holds",
        ),
        (replace(GOOD, attention_after_s=0.0), ATTENTION),
        (replace(GOOD, attention_after_s=LONGEST_S + 1), ATTENTION),
        (replace(GOOD, name="Good"), "its name must be snake case, at most 40 characters"),
    ],
)
def test_a_row_that_breaks_one_rule_is_refused_by_that_rule_alone(
    row: FlowRow, problem: str
) -> None:
    [only] = problems(row)
    assert only == problem


def test_all_broken_rules_are_told_at_once() -> None:
    told = problems(FlowRow("bad", (("gone",), ()), announce="take", try_budget_s=-1.0))
    assert len(told) == 6


@pytest.mark.parametrize(
    ("budget_s", "reservation_s", "attention_after_s"),
    [(0.5, 0.5, 0.5), (1.0, LONGEST_S, LONGEST_S), (LONGEST_S, LONGEST_S, 1.0)],
)
def test_the_times_of_a_flow_may_be_short_alike_or_as_long_as_any(
    budget_s: float, reservation_s: float, attention_after_s: float
) -> None:
    row = replace(
        GOOD,
        try_budget_s=budget_s,
        reservation_s=reservation_s,
        attention_after_s=attention_after_s,
    )
    flow = bind(row, PHASES)
    assert flow.name == "good"
    times = (flow.try_budget_s, flow.reservation_s, flow.attention_after_s)
    assert times == (budget_s, reservation_s, attention_after_s)


def test_a_reservation_beyond_all_bounds_is_told_once() -> None:
    row = replace(GOOD, try_stages=(("take", "give", "keep"),), reservation_s=LONGEST_S)
    [only] = problems(row)
    assert only == "reservation_s must be at most 600, as long as phase 'keep' holds"
    assert problems(replace(row, reservation_s=LONGEST_S + 1)) == (BUDGET,)


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
    assert [(p.confirm_refusable, p.secret_source) for p in refund.called] == [(False, False)] * 3
    assert refund.pivot is None
    assert refund.announce is SAY
