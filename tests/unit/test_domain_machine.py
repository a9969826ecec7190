"""The table: every state × event pair, and what is generated from it."""

from __future__ import annotations

import itertools
import sqlite3

import pytest

from coordinator.domain import machine
from coordinator.domain.errors import Bug, IllegalTransition
from coordinator.domain.machine import TABLE, Event, State, fire

LEGAL = {
    (State.CREATED, Event.HOLD): State.RESERVED,
    (State.CREATED, Event.RELEASE): State.CANCELLING,
    (State.RESERVED, Event.CAPTURE): State.CAPTURING,
    (State.RESERVED, Event.RELEASE): State.CANCELLING,
    (State.CAPTURING, Event.SETTLE): State.SETTLING,
    (State.CAPTURING, Event.RELEASE): State.CANCELLING,
    (State.SETTLING, Event.PAY): State.PAID,
    (State.CANCELLING, Event.FAIL): State.FAILED,
    (State.PAID, Event.REFUND): State.REFUNDED,
}
"""Written out a second time, on purpose: a change of the table is a change of this test."""

ILLEGAL = [pair for pair in itertools.product(State, Event) if pair not in LEGAL]


def test_the_table_is_the_design() -> None:
    assert {(row.source, row.event): row.target for row in TABLE} == LEGAL
    assert len(TABLE) == len(LEGAL)
    assert len(LEGAL) + len(ILLEGAL) == len(State) * len(Event)


@pytest.mark.parametrize(("state", "event"), LEGAL)
def test_a_row_of_the_table_leads_to_its_target(state: State, event: Event) -> None:
    assert fire(state, event) is LEGAL[state, event]


@pytest.mark.parametrize(("state", "event"), ILLEGAL)
def test_every_other_pair_is_our_bug_and_names_itself(state: State, event: Event) -> None:
    with pytest.raises(IllegalTransition, match=f"no transition {event} from {state}") as caught:
        fire(state, event)
    assert isinstance(caught.value, Bug)


def test_every_state_can_be_reached_and_every_live_one_can_end() -> None:
    reached = {machine.INITIAL} | {row.target for row in TABLE}
    assert reached == set(State)
    ends = set(machine.SETTLED)
    while more := {row.source for row in TABLE if row.target in ends} - ends:
        ends |= more
    assert ends == set(State)


def test_the_sets_of_states_agree_with_the_table() -> None:
    sources = {row.source for row in TABLE}
    assert set(State) - sources == machine.TERMINAL
    assert set(State) == machine.LIVE | machine.SETTLED
    assert not machine.LIVE & machine.SETTLED
    assert machine.TERMINAL < machine.SETTLED
    assert machine.ANNOUNCED == machine.SETTLED
    released = {State.CANCELLING}
    while more := {row.target for row in TABLE if row.source in released} - released:
        released |= more
    assert released == machine.RELEASED
    may_release = {row.source for row in TABLE if row.event is Event.RELEASE}
    assert may_release == machine.CANCELLABLE | {State.CAPTURING}


def test_once_settling_there_is_only_forward() -> None:
    ahead = {State.SETTLING}
    while more := {row.target for row in TABLE if row.source in ahead} - ahead:
        ahead |= more
    assert not ahead & machine.RELEASED


def test_the_diagram_has_the_rows_of_the_table_and_no_others() -> None:
    lines = machine.mermaid().splitlines()
    assert lines[0] == "stateDiagram-v2"
    assert lines[1].strip() == "[*] --> CREATED"
    arrows = [line.strip() for line in lines if ": " in line]
    assert arrows == [f"{row.source} --> {row.target}: {row.event}" for row in TABLE]
    ends = {line.split()[0] for line in lines if line.endswith("--> [*]")}
    assert ends == machine.TERMINAL
    assert len(lines) == 2 + len(TABLE) + len(machine.TERMINAL)


def test_the_sql_check_of_states_lets_in_exactly_the_named_ones() -> None:
    assert machine.state_check("state", frozenset({State.PAID, State.FAILED})) == (
        "state IN ('PAID', 'FAILED')"
    )
    for text in (*(state.value for state in State), "paid", "", "GONE"):
        inside = _holds(machine.state_check("state"), state=text)
        assert inside == (text in set(State))


@pytest.mark.parametrize(("state", "event"), list(itertools.product(State, Event)))
def test_the_sql_check_of_transitions_is_the_table(state: State, event: Event) -> None:
    check = machine.transition_check("source", "event", "target")
    for target in State:
        legal = LEGAL.get((state, event)) is target
        assert _holds(check, source=state, event=event, target=target) == legal


def test_the_sql_check_of_transitions_is_spelled_as_the_schema_has_it() -> None:
    assert machine.transition_check("a", "b", "c").split(" OR ") == [
        f"(a = '{row.source}' AND b = '{row.event}' AND c = '{row.target}')" for row in TABLE
    ]


def _holds(condition: str, **values: str) -> bool:
    """What SQL says of the condition, with these columns."""
    columns = ", ".join(f":{name} AS {name}" for name in values)
    connection = sqlite3.connect(":memory:")
    try:
        query = f"SELECT {condition} FROM (SELECT {columns})"
        return bool(connection.execute(query, {k: str(v) for k, v in values.items()}).fetchone()[0])
    finally:
        connection.close()
