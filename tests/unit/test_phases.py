"""The phases and flows there are: what a new one has to be."""

from __future__ import annotations

import pytest

from coordinator.domain.errors import ConfigurationError
from coordinator.domain.flow import Flow, FlowRow
from coordinator.domain.phase import Phase, Role
from phases.flows import FLOW_ROWS, bind_flows
from phases.registry import PHASES

FLOWS = bind_flows(FLOW_ROWS, PHASES)


@pytest.mark.parametrize(("name", "phase"), PHASES.items())
def test_a_phase_is_registered_under_its_own_name_and_used(name: str, phase: Phase) -> None:
    assert phase.name == name
    assert phase.title
    assert any(phase in flow.phases for flow in FLOWS.values())


@pytest.mark.parametrize("flow", FLOWS.values(), ids=FLOWS.keys())
def test_a_flow_asks_for_the_pivot_last_and_announces(flow: Flow) -> None:
    if flow.pivot is not None:
        assert flow.stages[-1] == (flow.pivot,)
    assert flow.announce is PHASES["notify"]


@pytest.mark.parametrize("flow", FLOWS.values(), ids=FLOWS.keys())
def test_a_single_try_fits_into_its_flows_budget(flow: Flow) -> None:
    assert all(phase.retry.timeout_s <= flow.try_budget_s for phase in flow.called)


def test_flows_have_names_of_their_own() -> None:
    assert len(FLOWS) == len(FLOW_ROWS)


def test_a_capture_may_be_refused_and_a_card_token_is_a_secret() -> None:
    assert PHASES["card_charge"].confirm_refusable
    assert PHASES["card_charge"].secret_source
    assert PHASES["merchant_credit"].role is Role.GIVES


def test_a_bad_row_stops_the_service_from_starting() -> None:
    with pytest.raises(ConfigurationError, match="flow odd: unknown phase 'no_such_phase'"):
        bind_flows([FlowRow("odd", (("no_such_phase", "merchant_credit", "card_charge"),))], PHASES)
