"""Tells the whole story of one transaction, as of one moment."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from coordinator.domain.flow import Flow
from coordinator.domain.ids import TransactionId
from coordinator.domain.permitted import (
    Answers,
    Verdict,
    WaitsFor,
    answers,
    verdicts,
    waits_for,
)
from coordinator.domain.record import Record
from coordinator.domain.transaction import JournalEntry, Transaction
from coordinator.engine.operate.desk import Desk
from coordinator.ports import Claim, Store


class Story(Record, frozen=True):
    """The transaction, and everything that an operator needs to decide.

    `flow` is None if it is not served here; `earlier` are the lines that the journal has before.
    """

    transaction: Transaction
    flow: Flow | None
    claim: Claim | None
    waits: tuple[WaitsFor, ...]
    verdicts: tuple[Verdict, ...]
    answers: tuple[Answers, ...]
    journal: Sequence[JournalEntry]
    earlier: int
    now: datetime


class Explain:
    """The use case."""

    def __init__(self, *, store: Store, desk: Desk) -> None:
        self._store = store
        self._desk = desk

    async def __call__(self, transaction_id: TransactionId, lines: int) -> Story:
        """The story, with the journal's last `lines`.

        Raises TransactionNotFound, StoreUnavailable.
        """
        found = await self._desk.found(transaction_id)
        claim = await self._store.claim_of(transaction_id)
        journal = await self._desk.last_lines(found, lines)
        now, flow = self._desk.now(), self._desk.flow_of(found)
        driven_by = "" if claim is None else claim.owner
        return Story(
            transaction=found,
            flow=flow,
            claim=claim,
            waits=waits_for(found, flow, driven_by, now),
            verdicts=verdicts(found, flow, driven_by, now),
            answers=answers(found, flow, now),
            journal=journal,
            earlier=journal[0].sequence - 1 if journal else 0,
            now=now,
        )
