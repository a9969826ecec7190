"""Tells how every call of a participant went: its outcome, and how long it took.

Wraps the adapter itself, within everything that holds calls back, so that what it tells is the
participant's own doing.
"""

from __future__ import annotations

from datetime import datetime

from coordinator.domain.decide import Call
from coordinator.domain.ids import TransactionId
from coordinator.domain.outcome import Outcome
from coordinator.ports import Clock, Observer, Participant


class Measured:
    """A `Participant` called `name` that passes on to another one. Abandoned calls are not told."""

    def __init__(
        self, name: str, participant: Participant, *, clock: Clock, observer: Observer
    ) -> None:
        self._name = name
        self._participant = participant
        self._clock = clock
        self._observer = observer

    async def perform(
        self, transaction_id: TransactionId, call: Call, hold_until: datetime
    ) -> Outcome:
        """See `Participant.perform`."""
        started = self._clock.monotonic()
        outcome = await self._participant.perform(transaction_id, call, hold_until)
        seconds = self._clock.monotonic() - started
        self._observer.called(self._name, call.operation, outcome, seconds)
        return outcome
