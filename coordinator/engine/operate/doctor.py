"""Looks at everything that the service needs, and says what to do about what is wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import timedelta
from enum import StrEnum

from coordinator.domain.errors import StoreUnavailable
from coordinator.domain.record import Record, evolve
from coordinator.engine.operate.flows import FlowDesk, FlowView
from coordinator.engine.operate.participants import ListParticipants, ParticipantView
from coordinator.ports import (
    BreakerState,
    Census,
    Clock,
    DatabaseFacts,
    Reach,
    Reached,
    Store,
    Surroundings,
)

CLOCK_WARNING_S = 1.0
CLOCK_FAILED_S = 30.0
"""How far the database's clock may be from ours, in seconds: ours says when a retry is due, the
database's whether it is."""
OVERDUE_WARNING_S = 15.0
OVERDUE_FAILED_S = 60.0
"""How long a transaction may be due without being taken up, in seconds."""
OUTBOX_WARNING_S = 60.0
OUTBOX_FAILED_S = 600.0
"""How long an event may wait to be published, in seconds."""


class CheckStatus(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


class Check(Record, frozen=True):
    """One check: what was found, and what to do about it (empty when there is nothing to do)."""

    name: str
    status: CheckStatus
    finding: str
    advice: str = ""


class Doctor:
    """The use case. `faults` are the rules of those that are injected on purpose."""

    def __init__(
        self,
        *,
        store: Store,
        surroundings: Surroundings,
        participants: ListParticipants,
        flows: FlowDesk,
        clock: Clock,
        faults: Sequence[str] = (),
    ) -> None:
        self._faults = [injected(faults)] if faults else []
        self._store = store
        self._surroundings = surroundings
        self._participants = participants
        self._flows = flows
        self._clock = clock

    async def __call__(self) -> Sequence[Check]:
        """Every check, in the order in which they should be looked at. Never raises for an outage.

        Without the database only what does not need it is looked at.
        """
        try:
            checks = await _of_the_database(self._surroundings, self._clock)
            census = await self._store.census()
            flows = await self._flows.flows()
        except StoreUnavailable as error:
            checks, census, flows = [_database_is_away(error)], None, []
        checks = [*self._faults, *checks]
        checks.append(_broker(await self._surroundings.broker(), census))
        if census is not None:
            checks += [_recovery(census), _outbox(census), _transactions(census)]
            checks += [_flow(each) for each in flows]
        reached = await self._participants.reached()
        views = self._participants.seen(census or _NOBODY, reached)
        return checks + [_participant(view) for view in views]


async def look_around(
    surroundings: Surroundings, participants: Iterable[str], clock: Clock
) -> Sequence[Check]:
    """What can be checked where the service itself is down: what it stands on."""
    try:
        checks = await _of_the_database(surroundings, clock)
    except StoreUnavailable as error:
        checks = [_database_is_away(error)]
    checks.append(_broker(await surroundings.broker(), None))
    names = sorted(participants)
    reached = await asyncio.gather(*(surroundings.participant(name) for name in names))
    return checks + [_answer(name, found) for name, found in zip(names, reached, strict=True)]


async def _of_the_database(surroundings: Surroundings, clock: Clock) -> list[Check]:
    before = clock.now()
    facts = await surroundings.database()
    took = clock.now() - before
    answers = Check("database", CheckStatus.OK, f"it answers in {_ms(took)} ms")
    ahead_s = (facts.now - before - took / 2).total_seconds()
    return [answers, _clock(ahead_s, took.total_seconds() / 2), _schema(facts)]


_NOBODY = Census(
    by_state={},
    oldest_s={},
    attention={},
    held=0,
    overdue=0,
    overdue_oldest_s=0.0,
    waiting={},
    outbox=0,
    outbox_oldest_s=0.0,
)


def injected(rules: Sequence[str]) -> Check:
    """Faults are injected on purpose: whatever else is found may be their doing."""
    finding = f"faults are injected on purpose: {'; '.join(rules)}"
    advice = "what else is found may be their doing; without KESSAI_FAULTS there are none"
    return Check("faults", CheckStatus.WARNING, finding, advice)


def _ms(took: timedelta) -> str:
    return f"{took.total_seconds() * 1000:.0f}"


def _grade(value: float, warning: float, failed: float) -> CheckStatus:
    if value >= failed:
        return CheckStatus.FAILED
    return CheckStatus.WARNING if value >= warning else CheckStatus.OK


def _database_is_away(error: StoreUnavailable) -> Check:
    return Check(
        "database",
        CheckStatus.FAILED,
        f"it cannot be used: {error.detail or 'it does not answer'}",
        "see that PostgreSQL runs, and that KESSAI_DATABASE_URL is right; payments wait meanwhile",
    )


def _clock(ahead_s: float, uncertain_s: float) -> Check:
    status = _grade(abs(ahead_s) - uncertain_s, CLOCK_WARNING_S, CLOCK_FAILED_S)
    where = "ahead of" if ahead_s > 0 else "behind"
    finding = f"the database's clock is {abs(ahead_s):.1f} s {where} ours"
    if status is CheckStatus.OK:
        return Check("clock", status, finding)
    return Check("clock", status, finding, "synchronise the clocks of both machines (NTP)")


def _schema(facts: DatabaseFacts) -> Check:
    if facts.revision == facts.needed:
        return Check("schema", CheckStatus.OK, f"it is at revision {facts.revision}")
    finding = f"it is at {facts.revision or 'no revision'}, and {facts.needed} is needed"
    advice = "run `kessai migrate` of the newer version, then restart what is older"
    return Check("schema", CheckStatus.FAILED, finding, advice)


def _broker(reached: Reached | None, census: Census | None) -> Check:
    if reached is None:
        waiting = "" if census is None else f": {census.outbox} wait in the outbox"
        finding = f"none is configured, so that events wait{waiting}"
        return Check("broker", CheckStatus.WARNING, finding, "set KESSAI_NATS_URL")
    if reached.reach is Reach.SERVING:
        return Check("broker", CheckStatus.OK, "it answers")
    advice = "see that NATS runs with JetStream; events wait in the outbox, payments are untouched"
    return Check("broker", CheckStatus.FAILED, reached.detail, advice)


def _recovery(census: Census) -> Check:
    if not census.overdue:
        return Check("recovery", CheckStatus.OK, "nothing that is due waits to be taken up")
    oldest_s = census.overdue_oldest_s
    finding = f"{census.overdue} are due and not taken up, the oldest for {oldest_s:.0f} s"
    status = _grade(oldest_s, OVERDUE_WARNING_S, OVERDUE_FAILED_S)
    if status is CheckStatus.OK:
        return Check("recovery", status, finding)
    advice = "see that a process with role all or work runs; after an outage it catches up slowly"
    return Check("recovery", status, finding, advice)


def _outbox(census: Census) -> Check:
    if not census.outbox:
        return Check("outbox", CheckStatus.OK, "every event is published")
    oldest_s = census.outbox_oldest_s
    finding = f"{census.outbox} events wait, the oldest for {oldest_s:.0f} s"
    status = _grade(oldest_s, OUTBOX_WARNING_S, OUTBOX_FAILED_S)
    if status is CheckStatus.OK:
        return Check("outbox", status, finding)
    advice = "see the broker, and that a process with role all or work runs"
    return Check("outbox", status, finding, advice)


def _transactions(census: Census) -> Check:
    live = sum(census.by_state.values())
    held = f", {census.held} held by operators" if census.held else ""
    if not census.attention:
        return Check("transactions", CheckStatus.OK, f"{live} are live{held}, none needs a person")
    codes = ", ".join(f"{code} {count}" for code, count in sorted(census.attention.items()))
    total = sum(census.attention.values())
    finding = f"{live} are live{held}, {total} need a person: {codes}"
    advice = "`kessai tx list --needs-attention`, then `kessai tx explain` for each"
    return Check("transactions", CheckStatus.WARNING, finding, advice)


def _flow(view: FlowView) -> Check:
    name, pause = f"flow:{view.name}", view.pause
    if pause is None:
        return Check(name, CheckStatus.OK, "it takes new payments")
    until = "" if pause.until is None else f" until {pause.until:%H:%M:%S} UTC"
    finding = f"paused by {pause.actor}{until}: {pause.reason}"
    advice = f"when its reason is over: `kessai flow resume {view.name}`"
    return Check(name, CheckStatus.WARNING, finding, advice)


def _participant(view: ParticipantView) -> Check:
    status, check = view.status, _answer(view.name, view.reached)
    waiting = f"{view.waiting} steps wait for it, the oldest for {view.oldest_s:.0f} s"
    if check.status is CheckStatus.FAILED:
        return evolve(check, finding=f"{check.finding}; {waiting}") if view.waiting else check
    if status.breaker is not BreakerState.CLOSED:
        finding = f"it answers, but its breaker is {status.breaker} ({status.last_failure})"
        return Check(check.name, CheckStatus.WARNING, finding, _PARTICIPANT_ADVICE)
    if view.waiting:
        finding = f"it answers, and {waiting}"
        return Check(check.name, CheckStatus.WARNING, finding, _PARTICIPANT_ADVICE)
    return check


_PARTICIPANT_ADVICE = (
    "see that it runs and can be reached; what waits for it goes on when it answers"
)


def _answer(name: str, reached: Reached) -> Check:
    name = f"participant:{name}"
    if reached.reach in {Reach.UNREACHABLE, Reach.NOT_SERVING}:
        return Check(name, CheckStatus.FAILED, reached.detail, _PARTICIPANT_ADVICE)
    return Check(name, CheckStatus.OK, reached.detail or "it answers")
