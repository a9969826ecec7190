"""What an operator's answer is worth, whatever the participant says."""

from __future__ import annotations

import itertools

import pytest

from coordinator.domain.decide import Advance, decide
from coordinator.domain.machine import Event, State
from coordinator.domain.operating import Mandate
from coordinator.domain.outcome import Applied, Outcome, Pending, Refused, Unknown
from coordinator.domain.permitted import StepAnswer
from coordinator.domain.record import evolve
from coordinator.domain.resolving import (
    Accept,
    CancelFirst,
    Contradicted,
    NeedsEvidence,
    Said,
    judge,
    resolved,
    said,
)
from coordinator.domain.transaction import StepStatus
from tests.support.domain import BOTH, NOW, standing

ALICE = Mandate("alice", "the processor told us")
WITH_EVIDENCE = Mandate("alice", "the processor told us", "statement 7")
C, X = StepAnswer.CONFIRMED, StepAnswer.CANCELLED


@pytest.mark.parametrize(
    ("outcome", "word"),
    [
        (Applied(), Said.HELD),
        (Applied(confirmed=True), Said.CONFIRMED),
        (Pending(), Said.PENDING),
        (Refused("CANCELLED_AT_PARTICIPANT", ""), Said.CANCELLED),
        (Refused("NO_FUNDS", ""), Said.REFUSED),
        (Unknown("UNKNOWN_TRANSACTION"), Said.NOTHING),
        (Unknown("ANSWER_MISMATCH", suspicious=True), Said.OTHERWISE),
        (Unknown("UNAVAILABLE"), Said.UNKNOWN),
        (Unknown("BREAKER_OPEN", retry_after_s=1.0), Said.UNKNOWN),
        (Unknown("UNEXPECTED_STATUS", suspicious=True), Said.UNKNOWN),
    ],
)
def test_a_query_says_one_word(outcome: Outcome, word: Said) -> None:
    assert said(outcome) is word


ACCEPT, FIRST, AGAINST, EVIDENCE = Accept, CancelFirst, Contradicted, NeedsEvidence
EXPECTED: dict[tuple[State, StepAnswer], dict[Said, type]] = {
    (State.CAPTURING, C): {Said.CONFIRMED: ACCEPT, Said.UNKNOWN: EVIDENCE},
    (State.SETTLING, C): {Said.CONFIRMED: ACCEPT, Said.UNKNOWN: EVIDENCE},
    (State.CAPTURING, X): dict.fromkeys(
        [Said.HELD, Said.PENDING, Said.CANCELLED, Said.REFUSED, Said.NOTHING, Said.UNKNOWN], FIRST
    ),
    (State.SETTLING, X): {
        Said.CANCELLED: ACCEPT,
        Said.REFUSED: EVIDENCE,
        Said.UNKNOWN: EVIDENCE,
    },
    (State.CANCELLING, X): {
        Said.CANCELLED: ACCEPT,
        Said.REFUSED: EVIDENCE,
        Said.UNKNOWN: EVIDENCE,
    },
}


@pytest.mark.parametrize(("place", "word"), list(itertools.product(EXPECTED, Said)))
def test_what_the_participant_says_wins(place: tuple[State, StepAnswer], word: Said) -> None:
    state, answer = place
    expected = EXPECTED[place].get(word, AGAINST)
    assert type(judge(state, answer, word, ALICE)) is expected
    settled = ACCEPT if expected is EVIDENCE else expected
    assert type(judge(state, answer, word, WITH_EVIDENCE)) is settled


@pytest.mark.parametrize(
    ("state", "answer", "word", "reason"),
    [
        (
            State.SETTLING,
            C,
            Said.UNKNOWN,
            "the participant could not be asked, so that your answer needs evidence",
        ),
        (
            State.CANCELLING,
            X,
            Said.REFUSED,
            (
                "the participant only says that it refused, which does not tell whether it holds "
                "it, so that your answer needs evidence"
            ),
        ),
        (
            State.CAPTURING,
            X,
            Said.CONFIRMED,
            "it was captured there: resume the transaction, or resolve it as confirmed",
        ),
        (State.CANCELLING, X, Said.CONFIRMED, "it is final there: resume the transaction"),
        (
            State.SETTLING,
            C,
            Said.HELD,
            "it is still held there: resume the transaction, and its Confirm is sent again",
        ),
    ],
)
def test_an_answer_that_does_not_count_says_what_to_do_instead(
    state: State, answer: StepAnswer, word: Said, reason: str
) -> None:
    judgement = judge(state, answer, word, ALICE)
    assert isinstance(judgement, Contradicted | NeedsEvidence)
    assert judgement.reason == reason


def test_evidence_of_nothing_but_blanks_is_none() -> None:
    blank = Mandate("alice", "the processor told us", " \n")
    assert isinstance(judge(State.SETTLING, C, Said.UNKNOWN, blank), NeedsEvidence)


def test_no_word_of_a_participant_and_no_evidence_alone_makes_a_pivot_not_captured() -> None:
    for word in Said:
        judgement = judge(State.CAPTURING, X, word, WITH_EVIDENCE)
        assert isinstance(judgement, CancelFirst | Contradicted)


@pytest.mark.parametrize(
    ("state", "answer", "status"),
    [
        (State.CAPTURING, C, StepStatus.CONFIRMED),
        (State.CAPTURING, X, StepStatus.REFUSED),
        (State.SETTLING, C, StepStatus.CONFIRMED),
        (State.SETTLING, X, StepStatus.CANCELLED),
        (State.CANCELLING, X, StepStatus.CANCELLED),
    ],
)
def test_an_answer_that_counts_moves_its_step_and_is_journaled(
    state: State, answer: StepAnswer, status: StepStatus
) -> None:
    draft = standing(state)
    step = evolve(draft.transaction.step("card_charge"), last_error="X", next_attempt_at=NOW)
    after = resolved(draft, step, answer, WITH_EVIDENCE, NOW)
    moved = after.transaction.step("card_charge")
    assert (moved.status, moved.last_error, moved.next_attempt_at) == (status, "", None)
    assert after.transaction.state is state
    [line] = after.entries
    assert (line.event, line.phase, line.code) == ("resolve", "card_charge", answer.name)
    assert (line.actor, line.evidence) == ("alice", "statement 7")
    others = [each for each in after.transaction.steps if each.phase != "card_charge"]
    assert others == [each for each in draft.transaction.steps if each.phase != "card_charge"]


def test_a_pivot_that_was_not_captured_has_the_payment_released() -> None:
    draft = standing(State.CAPTURING)
    step = draft.transaction.step("card_charge")
    action = decide(resolved(draft, step, X, ALICE, NOW).transaction, BOTH, NOW)
    assert isinstance(action, Advance)
    assert action.events == (Event.RELEASE,)
    assert action.failure is not None
    assert (action.failure.code, action.failure.reason, action.failure.phase) == (
        "CANCELLED_BY_OPERATOR",
        "the processor told us",
        "card_charge",
    )
