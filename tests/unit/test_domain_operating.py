from __future__ import annotations

from datetime import timedelta

import pytest

from coordinator.domain.decide import Rest, decide
from coordinator.domain.entries import Act, Attention, EntryKind, Hold
from coordinator.domain.flow import BadFlow, FlowRow, bind
from coordinator.domain.machine import IN_DOUBT, LIVE, SETTLED, State
from coordinator.domain.moves import record
from coordinator.domain.operating import Mandate, held, noted, resumed, unheld
from coordinator.domain.outcome import Applied, Unknown
from coordinator.domain.phase import Operation
from coordinator.domain.record import evolve
from coordinator.domain.transaction import Draft, Result, StepStatus
from phases.registry import PHASES
from tests.support.domain import BOTH, NOW, standing

ALICE = Mandate("alice", "the bank asked us to wait", "ticket 7")


@pytest.mark.parametrize("act", Act)
def test_an_act_is_a_line_of_the_journal_and_moves_nothing(act: Act) -> None:
    before = standing(State.CAPTURING)
    after = noted(before, act, ALICE, NOW, "card_charge")
    (line,) = after.entries
    assert (line.kind, line.event, line.phase) == (EntryKind.OPERATOR, act.value, "card_charge")
    assert (line.actor, line.detail, line.evidence) == ("alice", ALICE.reason, "ticket 7")
    assert line.from_state is line.to_state is State.CAPTURING
    assert line.sequence == after.transaction.sequence == before.transaction.sequence + 1
    assert evolve(after.transaction, sequence=before.transaction.sequence) == before.transaction


@pytest.mark.parametrize("state", sorted(LIVE))
def test_nothing_is_decided_for_a_held_transaction(state: State) -> None:
    draft = held(standing(state), ALICE, NOW)
    assert draft.transaction.hold == Hold("alice", ALICE.reason)
    assert draft.transaction.rests
    for days in (0, 1000):
        assert decide(draft.transaction, BOTH, NOW + timedelta(days=days)) == Rest()


@pytest.mark.parametrize("state", sorted(LIVE))
def test_what_is_given_free_is_decided_as_before(state: State) -> None:
    before = standing(state)
    after = unheld(held(before, ALICE, NOW), ALICE, NOW)
    assert after.transaction.hold is None
    assert [line.event for line in after.entries] == ["hold", "unhold"]
    assert decide(after.transaction, BOTH, NOW) == decide(before.transaction, BOTH, NOW)


def test_a_settled_transaction_is_not_held() -> None:
    for state in SETTLED:
        with pytest.raises(AssertionError):
            held(standing(state), ALICE, NOW)


def test_resuming_asks_every_unfinished_step_at_once_and_keeps_its_attempts() -> None:
    draft = standing(State.SETTLING)
    later = NOW + timedelta(hours=1)
    steps = tuple(
        evolve(step, attempts=7, next_attempt_at=later) for step in draft.transaction.steps
    )
    waiting = Draft(evolve(draft.transaction, steps=steps))
    for step in resumed(waiting, ALICE, NOW).transaction.steps:
        done = step.status is StepStatus.CONFIRMED
        assert step.next_attempt_at == (later if done else None)
        assert step.attempts == 7


@pytest.mark.parametrize("state", sorted(LIVE))
def test_what_is_decided_and_not_done_for_long_needs_a_person(state: State) -> None:
    draft = standing(state)
    age_s = BOTH.attention_after_s
    result = Result("points_reserve", Operation.QUERY, Unknown("UNAVAILABLE"))
    for seconds, old in ((age_s - 1, False), (age_s, True)):
        now = draft.transaction.state_since + timedelta(seconds=seconds)
        after = record(draft, BOTH, [result], now)
        raised = old and state in IN_DOUBT
        code = after.transaction.attention.code if after.transaction.attention else ""
        assert code == ("TOO_OLD" if raised else "")
        if raised:
            told = Attention("TOO_OLD", f"it is {state} for {age_s:.0f} s")
            assert after.transaction.attention == told
        assert [event.attention for event in after.events] == (
            [after.transaction.attention] if raised else []
        )


def test_that_it_needs_a_person_is_announced_once() -> None:
    draft = standing(State.SETTLING)
    draft = Draft(evolve(draft.transaction, attention=Attention("TOO_OLD", "old")))
    result = Result("points_reserve", Operation.CONFIRM, Unknown("X", suspicious=True))
    after = record(draft, BOTH, [result], NOW)
    assert after.transaction.attention is not None
    assert after.transaction.attention.code == "X"
    assert after.events == ()


def test_a_flow_that_announces_nothing_does_not_announce_that_either() -> None:
    quiet = bind(FlowRow("quiet", try_stages=(("points_reserve", "merchant_credit"),)), PHASES)
    draft = standing(State.SETTLING)
    result = Result("points_reserve", Operation.CONFIRM, Unknown("X", suspicious=True))
    after = record(draft, quiet, [result], NOW)
    assert after.transaction.attention is not None
    assert after.events == ()


def test_an_answer_that_comes_late_does_not_make_it_old() -> None:
    draft = standing(State.SETTLING)
    late = NOW + timedelta(seconds=BOTH.attention_after_s + 1)
    done = Result("points_reserve", Operation.CONFIRM, Applied())
    after = record(draft, BOTH, [done], late)
    assert after.transaction.attention is None
    assert after.events == ()
    left = Result("merchant_credit", Operation.CONFIRM, Unknown("UNAVAILABLE"))
    assert record(draft, BOTH, [done, left], late).transaction.attention is not None


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf")])
def test_a_flow_says_after_how_long_it_needs_a_person(seconds: float) -> None:
    row = FlowRow(
        "odd",
        try_stages=(("points_reserve", "merchant_credit"),),
        attention_after_s=seconds,
    )
    with pytest.raises(BadFlow, match="attention_after_s"):
        bind(row, PHASES)
