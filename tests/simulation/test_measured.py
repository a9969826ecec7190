"""Calls of participants are told with their outcome and their time."""

from __future__ import annotations

import asyncio
from datetime import datetime

import pytest

from coordinator.domain.decide import Call
from coordinator.domain.ids import TransactionId
from coordinator.domain.outcome import Outcome, Refused
from coordinator.domain.phase import Operation
from coordinator.engine.measured import Measured
from fault_injection.virtual_time import VirtualClock, run
from fault_injection.world import Recorder
from phases.registry import PHASES
from tests.support.domain import ID, NOW, opened

REFUSED = Refused("CARD_DECLINED", "no")
CARD = PHASES["card_charge"]
TRY = Call(CARD, Operation.TRY, opened().transaction.step("card_charge"), 3.0)


class Slow:
    """Refuses after 1.5 seconds."""

    async def perform(
        self, _transaction_id: TransactionId, _call: Call, _hold_until: datetime
    ) -> Outcome:
        await VirtualClock().sleep(1.5)
        return REFUSED


def test_a_call_is_told_with_its_outcome_and_how_long_it_took() -> None:
    observer = Recorder()

    async def ask() -> Outcome:
        measured = Measured("card", Slow(), clock=VirtualClock(), observer=observer)
        return await measured.perform(ID, TRY, NOW)

    assert run(ask()) == REFUSED
    ((participant, operation, outcome, seconds),) = observer.calls
    assert (participant, operation, outcome) == ("card", Operation.TRY, REFUSED)
    assert seconds == pytest.approx(1.5)


def test_a_call_that_is_given_up_is_not_told() -> None:
    observer = Recorder()

    async def give_up() -> None:
        measured = Measured("card", Slow(), clock=VirtualClock(), observer=observer)
        asking = asyncio.create_task(measured.perform(ID, TRY, NOW))
        await VirtualClock().sleep(1.0)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)

    run(give_up())
    assert observer.calls == []
