"""A participant's words never carry a card token on, whatever it writes and whenever."""

from __future__ import annotations

import pytest
from kessai.participant.v1 import participant_pb2 as pb

from adapters.participant_answers import outcome_of
from coordinator.domain.decide import Call
from coordinator.domain.outcome import Refused
from coordinator.domain.phase import Operation
from coordinator.domain.record import evolve
from coordinator.domain.transaction import Step
from tests.support.domain import BOTH, ID, opened

TOKEN = "tok_Live_9f8e7d6c5b4a"


def card_step(source: str) -> Step:
    return evolve(opened(BOTH).transaction.step("card_charge"), source=source)


def refusal(operation: Operation, source: str, code: str, reason: str) -> Refused:
    step = card_step(source)
    assert step.amount is not None
    answer = pb.Answer(
        transaction_id=ID,
        phase=step.phase,
        amount=pb.Money(currency_code=step.amount.currency, minor_units=step.amount.minor),
        status=pb.STATUS_REFUSED,
        refusal=pb.Refusal(code=code, reason=reason),
    )
    found = outcome_of(ID, Call(BOTH.by_name["card_charge"], operation, step, 1.0), answer)
    assert isinstance(found, Refused)
    return found


@pytest.mark.parametrize("written", [TOKEN, TOKEN.upper(), TOKEN.lower()])
@pytest.mark.parametrize(
    ("operation", "source"),
    [(Operation.TRY, TOKEN), (Operation.CONFIRM, ""), (Operation.QUERY, "")],
)
def test_a_token_that_is_echoed_is_taken_out(
    operation: Operation, source: str, written: str
) -> None:
    found = refusal(operation, source, "DECLINED", f"the card {written} is not welcome.")
    assert TOKEN.lower() not in found.reason.lower()
    assert found.reason == "the card [secret] is not welcome."


def test_a_token_in_the_code_of_a_try_is_taken_out() -> None:
    found = refusal(Operation.TRY, TOKEN, f"NO_SUCH_{TOKEN.upper()}", "no such card")
    assert "9F8E" not in found.code


def test_an_ordinary_reason_stays_as_it_is() -> None:
    reason = "The authorization has expired; pay again."
    assert refusal(Operation.CONFIRM, "", "CAPTURE_EXPIRED_2", reason).reason == reason
    assert refusal(Operation.CONFIRM, "", "CAPTURE_EXPIRED_2", reason).code == "CAPTURE_EXPIRED_2"
