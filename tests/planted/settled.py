"""Bugs in what comes after the decision: refunds, announcements, operators, reports."""

from __future__ import annotations

import itertools
import uuid
from typing import Any

import pytest
import sqlalchemy as sa

from adapters.postgres import claims
from adapters.postgres.schema import transactions
from coordinator.domain import opening, resolving
from coordinator.domain.decide import decide
from coordinator.domain.machine import State
from coordinator.domain.record import evolve
from coordinator.domain.transaction import OutboxEvent, RefundOf
from coordinator.engine import drive, refund, relay, report, returned
from coordinator.engine.operate import resolve
from fault_injection.model_participant import ModelParticipant
from tests.planted.bug import Layer, planted


@planted("A refund does not tell its payment.", Layer.SINGLES, Layer.SEEDS)
def refund_does_not_tell_its_payment(patch: pytest.MonkeyPatch) -> None:
    async def nothing(*_asked: object) -> None:
        return None

    patch.setattr(drive, "note_returned", nothing)


@planted(
    "A refund does not count the others; and its participants do not check it once more.",
    Layer.SINGLES,
    Layer.SEEDS,
    where="refund at once",
)
def refund_does_not_count_the_others(patch: pytest.MonkeyPatch) -> None:
    count = refund.refundable
    patch.setattr(refund, "refundable", lambda payment, _refunds: count(payment, []))
    patch.setattr(ModelParticipant, "_is_too_much", lambda _self, _key: False)


@planted(
    "Refunds are counted, but nothing keeps two of them from counting the same ones.",
    Layer.SINGLES,
    Layer.SEEDS,
)
def refund_race_for_an_ordinal(patch: pytest.MonkeyPatch) -> None:
    of, numbers = RefundOf, itertools.count(1)
    patch.setattr(opening, "RefundOf", lambda payment_id, _ordinal: of(payment_id, next(numbers)))
    patch.setattr(ModelParticipant, "_is_too_much", lambda _self, _key: False)


@planted(
    "A payment is told of a refund only once that is settled: two at one instant see neither.",
    Layer.SINGLES,
    Layer.SEEDS,
)
def refund_told_when_it_is_too_late(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(returned, "given_back", lambda each: each.state is State.PAID)


@planted(
    "An event's ID is drawn when it is published, so that a repeat is another event.",
    Layer.SEEDS,
)
def event_id_not_stable(patch: pytest.MonkeyPatch) -> None:
    publish, numbers = relay.Relay._publish, itertools.count()

    async def anew(self: relay.Relay, event: OutboxEvent) -> bool:
        drawn = str(uuid.uuid5(uuid.UUID(event.id), str(next(numbers))))
        return await publish(self, evolve(event, id=drawn))

    patch.setattr(relay.Relay, "_publish", anew)


@planted(
    "Recovery takes up what an operator holds, and drives it.",
    Layer.OPERATORS,
)
def hold_ignored_by_recovery(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(drive, "decide", lambda tx, *rest: decide(evolve(tx, hold=None), *rest))

    patch.setattr(claims, "_T", _NobodyHolds())


class _NobodyHolds:
    """The columns of `transactions`, where no operator holds anything."""

    def __getattr__(self, name: str) -> Any:
        return self if name == "held_by" else getattr(transactions.c, name)

    def is_(self, _nothing: None) -> sa.ColumnElement[bool]:
        return sa.true()


@planted(
    "An operator's word that nothing was captured is taken without a Cancel first.",
    Layer.CASES,
    where="never_arrived_is_undone",
)
def operators_word_taken_without_a_cancel(patch: pytest.MonkeyPatch) -> None:
    judge = resolving.judge

    def trusting(*asked: Any) -> resolving.Judgement:
        judged = judge(*asked)
        return resolving.Accept() if isinstance(judged, resolving.CancelFirst) else judged

    patch.setattr(resolve, "judge", trusting)


@planted(
    "A participant that reports a success after the release is thanked, and nothing is undone.",
    Layer.CASES,
    where="late_success",
)
def late_success_ignored(patch: pytest.MonkeyPatch) -> None:
    async def nothing(*_asked: object) -> None:
        return None

    patch.setattr(report.Report, "_undo", nothing)
