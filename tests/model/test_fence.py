"""The fence of the model says and does what the real fence does, after every history there is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypedDict

import pytest
import sqlalchemy as sa
from kessai.participant.v1 import participant_pb2 as pb

from coordinator.domain.phase import Operation
from fault_injection.model.fence import NOW, Status, answer, delivered, histories, now
from fault_injection.model.variants import SOUND
from participants import world
from participants.business import (
    Confirmed,
    Held,
    HoldRequest,
    OpenTry,
    Pending,
    Refused,
    TryOutcome,
)
from participants.database import make_engine
from participants.errors import FenceError
from participants.fence import Fence

AMOUNT = pb.Money(currency_code="JPY", minor_units=600)
ASKED_FOR = dict.fromkeys("PHR", Operation.TRY) | {
    "C": Operation.CONFIRM,
    "F": Operation.CONFIRM,
    "X": Operation.CANCEL,
}
NO = Refused("NO", "the test says so")


class _Named(TypedDict):
    transaction_id: str
    phase: str


@dataclass
class Obedient:
    """Does what the history's next letter says."""

    letter: str = "H"

    def hold(self, _connection: sa.Connection, _request: HoldRequest) -> TryOutcome:
        answers: dict[str, TryOutcome] = {"H": Held(), "P": Pending(), "R": NO}
        return answers[self.letter]

    def confirm(
        self, _connection: sa.Connection, _held: OpenTry, _final_minor: int
    ) -> Confirmed | Refused:
        return Confirmed() if self.letter == "C" else NO

    def cancel(self, _connection: sa.Connection, _held: OpenTry) -> None:
        pass


class Walker:
    """One step at the real fence, and the business behind it."""

    def __init__(self, engine: sa.Engine) -> None:
        self.business = Obedient()
        self.fence = Fence(engine, self.business)
        self.id = world.new_transaction_id()

    def walk(self, history: str) -> None:
        before = ""
        for letter in history:
            self.business.letter = letter
            if before == "P" and letter != "X":
                outcome = Held() if letter == "H" else NO
                self.fence.decide(self.id, "phase", lambda _c, _o, made=outcome: made)  # type: ignore[misc]
            else:
                self.ask(ASKED_FOR[letter])
            before = letter

    def ask(self, operation: Operation) -> Status | None:
        """The answer's status; None for an error, and where nothing is known."""
        try:
            said = self._send(operation)
        except FenceError:
            return None
        name = pb.Status.Name(said.status).removeprefix("STATUS_")
        return None if said.status == pb.STATUS_UNKNOWN_TRANSACTION else Status(name)

    def _send(self, operation: Operation) -> pb.Answer:
        named = _Named(transaction_id=self.id, phase="phase")
        match operation:
            case Operation.TRY:
                request = pb.TryRequest(**named, amount=AMOUNT, account="alice")
                return self.fence.try_(request).answer
            case Operation.CONFIRM:
                return self.fence.confirm(pb.ConfirmRequest(**named, amount=AMOUNT)).answer
            case Operation.CANCEL:
                return self.fence.cancel(pb.CancelRequest(**named)).answer
            case Operation.QUERY:
                return self.fence.query(pb.QueryRequest(**named)).answer


@pytest.fixture
def engine(new_database: Callable[[], str]) -> Iterator[sa.Engine]:
    made = make_engine(new_database())
    Fence(made, Obedient()).create_tables()
    yield made
    made.dispose()


def test_there_are_eighteen_histories() -> None:
    there_are = "- P H R X PH PR PX HC HF HX RX PHC PHF PHX PRX HFX PHFX"
    assert sorted(histories(SOUND)) == sorted(there_are.replace("-", "").split(" "))


def test_after_every_history_each_request_does_and_says_the_same(engine: sa.Engine) -> None:
    for history in histories(SOUND):
        for operation in Operation:
            follows = delivered(history, operation, SOUND, pivot=True) or (history,)
            for after in follows:
                walker = Walker(engine)
                walker.walk(history)
                walker.business.letter = after[-1:]
                said = walker.ask(operation)
                assert said == answer(after, operation), (history, operation, after)
                assert walker.ask(Operation.QUERY) == NOW.get(now(after)), (history, operation)
