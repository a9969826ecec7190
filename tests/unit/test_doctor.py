"""What the doctor makes of what it finds."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from adapters.system import SystemClock
from coordinator.domain.errors import StoreUnavailable
from coordinator.domain.machine import State
from coordinator.domain.record import evolve
from coordinator.engine.operate.doctor import Check, CheckStatus, Doctor
from coordinator.engine.operate.flows import FlowView
from coordinator.engine.operate.participants import ListParticipants
from coordinator.ports import (
    BreakerState,
    Census,
    DatabaseFacts,
    ParticipantStatus,
    Pause,
    Reach,
    Reached,
    Waiting,
)
from tests.support.domain import FLOWS, NOW

OK, WARNING, FAILED = CheckStatus.OK, CheckStatus.WARNING, CheckStatus.FAILED
QUIET = Census(
    by_state={State.CREATED: 2},
    oldest_s={},
    attention={},
    held=0,
    overdue=0,
    overdue_oldest_s=0.0,
    waiting={},
    outbox=0,
    outbox_oldest_s=0.0,
)
STATUS = ParticipantStatus(
    name="card", breaker=BreakerState.CLOSED, since=NOW, in_flight=0, waiting=0, max_in_flight=5
)


class Frozen(SystemClock):
    """A clock that stands still."""

    def now(self) -> datetime:
        return NOW


class Found:
    """A world in which everything is as it should be, but for what a test changes.

    It is the store, the surroundings, the flows and the one participant at once.
    """

    def __init__(self) -> None:
        self.facts = DatabaseFacts(NOW, "0005", "0005")
        self.away: StoreUnavailable | None = None
        self.found = QUIET
        self.broker_reached: Reached | None = Reached(Reach.SERVING)
        self.card_reached = Reached(Reach.SERVING)
        self.card_status = STATUS
        self.pause: Pause | None = None
        self.faults: tuple[str, ...] = ()

    async def database(self) -> DatabaseFacts:
        if self.away is not None:
            raise self.away
        return self.facts

    async def census(self) -> Census:
        return self.found

    async def broker(self) -> Reached | None:
        return self.broker_reached

    async def participant(self, _name: str) -> Reached:
        return self.card_reached

    async def flows(self) -> list[FlowView]:
        return [FlowView("card_only", FLOWS["card_only"], self.pause)]

    def status(self) -> ParticipantStatus:
        return self.card_status

    def examined(self) -> Mapping[str, Check]:
        """What the doctor says, by check."""
        anything: Any = self
        participants = ListParticipants(
            store=anything,
            participants={"card": anything},
            flows={"card_only": FLOWS["card_only"]},
            surroundings=anything,
        )
        doctor = Doctor(
            store=anything,
            surroundings=anything,
            participants=participants,
            flows=anything,
            clock=Frozen(),
            faults=self.faults,
        )
        checks = asyncio.run(doctor())
        assert all(bool(check.advice) == (check.status is not OK) for check in checks)
        return {check.name: check for check in checks}


def test_where_all_is_well_there_is_nothing_to_do() -> None:
    checks = Found().examined()
    assert {check.status for check in checks.values()} == {OK}
    assert list(checks) == [
        "database",
        "clock",
        "schema",
        "broker",
        "recovery",
        "outbox",
        "transactions",
        "flow:card_only",
        "participant:card",
    ]


def test_faults_that_are_injected_on_purpose_are_told_before_anything_else() -> None:
    world = Found()
    world.faults = ("reply-lost@card/confirm,probability=0.3", "broker-away@publisher")
    name, check = next(iter(world.examined().items()))
    assert (name, check.status) == ("faults", WARNING)
    assert all(rule in check.finding for rule in world.faults)


def test_without_the_database_the_rest_is_looked_at_all_the_same() -> None:
    world = Found()
    world.away = StoreUnavailable("connection refused (host db, database kessai)")
    checks = world.examined()
    assert list(checks) == ["database", "broker", "participant:card"]
    assert checks["database"].status is FAILED
    assert "connection refused" in checks["database"].finding


@pytest.mark.parametrize(
    ("ahead_s", "status", "words"),
    [
        (0.9, OK, "0.9 s ahead of ours"),
        (-1.5, WARNING, "1.5 s behind ours"),
        (29.0, WARNING, "ahead"),
        (-31.0, FAILED, "behind"),
    ],
)
def test_the_databases_clock_is_compared_with_ours(
    ahead_s: float, status: CheckStatus, words: str
) -> None:
    world = Found()
    world.facts = evolve(world.facts, now=NOW + timedelta(seconds=ahead_s))
    check = world.examined()["clock"]
    assert check.status is status
    assert words in check.finding


def test_another_schema_is_named_with_the_one_that_is_needed() -> None:
    world = Found()
    world.facts = evolve(world.facts, revision="0004")
    check = world.examined()["schema"]
    assert (check.status, check.finding) == (FAILED, "it is at 0004, and 0005 is needed")


@pytest.mark.parametrize(
    ("oldest_s", "status"), [(14.0, OK), (15.0, WARNING), (59.0, WARNING), (60.0, FAILED)]
)
def test_what_is_due_has_to_be_taken_up(oldest_s: float, status: CheckStatus) -> None:
    world = Found()
    world.found = evolve(QUIET, overdue=3, overdue_oldest_s=oldest_s)
    check = world.examined()["recovery"]
    assert check.status is status
    assert check.finding.startswith("3 are due and not taken up")


@pytest.mark.parametrize(
    ("oldest_s", "status"), [(59.0, OK), (60.0, WARNING), (599.0, WARNING), (600.0, FAILED)]
)
def test_events_have_to_be_published(oldest_s: float, status: CheckStatus) -> None:
    world = Found()
    world.found = evolve(QUIET, outbox=7, outbox_oldest_s=oldest_s)
    check = world.examined()["outbox"]
    assert check.status is status
    assert check.finding.startswith("7 events wait")


def test_a_broker_that_is_away_or_missing_holds_events_back() -> None:
    world = Found()
    world.found = evolve(QUIET, outbox=7)
    world.broker_reached = Reached(Reach.UNREACHABLE, "NATS with JetStream: TimeoutError")
    assert world.examined()["broker"].status is FAILED
    world.broker_reached = None
    check = world.examined()["broker"]
    assert check.status is WARNING
    assert "7 wait in the outbox" in check.finding


def test_transactions_that_need_a_person_are_counted_by_code() -> None:
    world = Found()
    world.found = evolve(QUIET, attention={"TOO_OLD": 2, "ANSWER_MISMATCH": 1}, held=1)
    check = world.examined()["transactions"]
    assert check.status is WARNING
    assert "1 held by operators, 3 need a person: ANSWER_MISMATCH 1, TOO_OLD 2" in check.finding


def test_a_paused_flow_says_by_whom_and_why() -> None:
    world = Found()
    world.pause = Pause("card_only", "alice", "the processor is down", NOW)
    check = world.examined()["flow:card_only"]
    assert (check.status, check.finding) == (WARNING, "paused by alice: the processor is down")
    ends = datetime(2026, 1, 2, 3, 5, tzinfo=UTC)
    world.pause = Pause("card_only", "kessai", "too many failed", NOW, ends)
    assert "until 03:05:00 UTC" in world.examined()["flow:card_only"].finding


@pytest.mark.parametrize("reach", [Reach.UNREACHABLE, Reach.NOT_SERVING])
def test_a_participant_that_does_not_answer_is_named_with_those_who_wait(reach: Reach) -> None:
    world = Found()
    world.card_reached = Reached(reach, "it did not answer")
    assert world.examined()["participant:card"].status is FAILED
    world.found = evolve(QUIET, waiting={"card_charge": Waiting(4, 120.0)})
    finding = world.examined()["participant:card"].finding
    assert finding == "it did not answer; 4 steps wait for it, the oldest for 120 s"


def test_a_participant_that_answers_may_still_be_in_trouble() -> None:
    world = Found()
    world.card_reached = Reached(Reach.NO_HEALTH_CHECK, "it answers, but knows no health checks")
    assert world.examined()["participant:card"].status is OK
    world.found = evolve(QUIET, waiting={"card_charge": Waiting(4, 120.0)})
    assert world.examined()["participant:card"].status is WARNING
    world.card_status = evolve(STATUS, breaker=BreakerState.OPEN, last_failure="UNAVAILABLE")
    finding = world.examined()["participant:card"].finding
    assert finding == "it answers, but its breaker is open (UNAVAILABLE)"
