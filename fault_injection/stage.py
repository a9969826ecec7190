"""The real service as something that is done to step by step: for tests that decide as they go.

Between two steps no time passes. The coordinators' background work is done while time is let pass;
where nothing is due for long, time skips to when something is.
"""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

from coordinator.domain.decide import Call
from coordinator.domain.errors import KessaiError
from coordinator.domain.ids import TransactionId
from coordinator.domain.phase import Operation
from coordinator.domain.transaction import Change
from fault_injection.invariants import Violation, check
from fault_injection.model_participant import Defer, Fault, LoseRequest, Refuse
from fault_injection.reference.seen import Part, Seen
from fault_injection.virtual_time import EPOCH, Kept
from fault_injection.world import FLOWS, LIMIT_S, RECOVER_EVERY_S, World

NO_ANSWER = "NO_ANSWER"
"""What a caller hears of a process that dies."""
LATE_S = 100.0
"""After so long whatever was late has arrived, in seconds."""
_ROWS = (
    "SELECT id, caller, idempotency_key, flow, order_id, amount_minor, state, version,"
    " failure_code, capture_key, held_by, refunded_minor, payment_id,"
    " ordinal FROM transactions"
)
_STEPS = (
    "SELECT transaction_id, phase, role, amount_minor, final_minor FROM steps"
    " WHERE amount_minor IS NOT NULL ORDER BY transaction_id, position"
)
_DUE = (
    "SELECT min(max(due_at, coalesce(claimed_until, due_at))) FROM transactions"
    " WHERE due_at IS NOT NULL AND held_by IS NULL"
)
_UNPUBLISHED = "SELECT 1 FROM outbox WHERE published_at IS NULL LIMIT 1"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a caller hears: an error's code or nothing, and what it was given."""

    code: str
    value: Any = None


Asking: TypeAlias = tuple[World, Callable[[], Awaitable[object]]]
"""Something that is asked of a coordinator."""


class Process(World):
    """One coordinator."""

    async def revived(self) -> None:
        """Returns once the process that `crash_at` killed, if any, is there again."""
        if self._revival is not None:
            await self._revival


class Stage:
    """See the head of this module. One coordinator at first; a second one may join it."""

    def __init__(self) -> None:
        self.loop = Kept()
        self.world = Process(self._fate)
        self.world.pausing = None
        self.second: Process | None = None
        self.away: set[str] = set()
        self.fates: dict[tuple[str, Operation], deque[Fault]] = defaultdict(deque)
        self.refused: set[tuple[str, str]] = set()
        self._joined = 0
        self._healed = False
        self.loop.run(self.world.start())

    @property
    def worlds(self) -> list[Process]:
        """Every coordinator that is there."""
        return [self.world, *([self.second] if self.second else [])]

    def now_s(self) -> float:
        """Seconds since the beginning."""
        return self.loop.time()

    def _fate(self, transaction_id: TransactionId, call: Call, _attempt: int) -> Fault | None:
        if self._healed:
            return None
        if call.phase.participant in self.away:
            return LoseRequest()
        waiting = self.fates[call.phase.name, call.operation]
        if not waiting:
            return None
        fault = waiting.popleft()
        refusable = call.operation is Operation.TRY or (
            call.operation is Operation.CONFIRM and call.phase.confirm_refusable
        )
        if isinstance(fault, Refuse):
            if not refusable:
                return None  # it has no right to
            self.refused.add((transaction_id, call.phase.name))
        if isinstance(fault, Defer) and call.operation is not Operation.TRY:
            return None
        return fault

    # Asking

    def ask(self, *asking: Asking) -> list[Answer]:
        """Asks all of it at one instant. Raises what is no answer: a bug."""
        return self.loop.run(self._ask(asking))

    async def _ask(self, asking: tuple[Asking, ...]) -> list[Answer]:
        for world in self.worlds:
            await world.revived()
            await world.intake.run_once()  # a process that starts reads the pauses first
        asked = await asyncio.gather(*(world.life.ask(ask) for world, ask in asking))
        for world in self.worlds:
            await world.revived()
        return [_answer(each) for each in asked]

    # Time

    def advance(self, seconds: float, *, asleep: World | None = None) -> None:
        """Lets time pass. What `asleep` has claimed it does not renew, nor looks for more."""
        self.loop.run(self._advance(seconds, asleep))

    async def _advance(self, seconds: float, asleep: World | None) -> None:
        clock = self.world.clock
        end_s = clock.monotonic() + seconds
        while True:
            for world in self.worlds:
                await world.revived()
                if world is not asleep:
                    await self._work(world)
            left_s = end_s - clock.monotonic()
            if left_s <= 0:
                return
            driven = any(world.driver.in_flight for world in self.worlds)
            quiet_s = 0.0 if driven else self._quiet_s()
            await clock.sleep(min(left_s, max(RECOVER_EVERY_S, quiet_s)))

    async def _work(self, world: World) -> None:
        """What a coordinator does in the background, where there is something for it to do."""
        if world.driver.in_flight:
            await world.renew.run_once()
        if self._quiet_s() <= 0:
            await world.recover.run_once()
        if self.world.database.rows(_UNPUBLISHED):
            await world.relay.run_once()

    def _quiet_s(self) -> float:
        """How long nothing is due, in seconds."""
        [(due,)] = self.world.database.rows(_DUE)
        if due is None:
            return math.inf
        moment = datetime.fromisoformat(due).replace(tzinfo=EPOCH.tzinfo)
        return (moment - self.world.clock.now()).total_seconds()

    # Processes

    def crash(self, world: World, down_s: float) -> None:
        """A coordinator dies, and another one starts in its place after so long."""

        async def die() -> None:
            await world.crash()
            await self.world.clock.sleep(down_s)
            world.restart()
            await world.intake.run_once()

        self.loop.run(die())

    def join(self) -> None:
        """A second coordinator, over the same database."""

        async def begin() -> Process:
            self._joined += 1
            second = self.world.beside(f"second-{self._joined}")
            await second.intake.run_once()
            return second

        self.second = self.loop.run(begin())

    def leave(self) -> None:
        """The second coordinator is stopped, as a deployment does."""
        second, self.second = self.second, None
        assert second is not None, "there is a second coordinator"

        async def stop() -> None:
            await second.driver.drain(0)
            await second.store.release_claims()
            await second.store.close()

        self.loop.run(stop())

    # Seeing

    def seen(self) -> dict[str, Seen]:
        """Everything as it stands at this moment, in the table and at the participants."""
        parts: dict[str, dict[str, Part]] = defaultdict(dict)
        database = self.world.database
        rows = database.rows(_ROWS)
        flows = {row[0]: FLOWS[row[3]].refund if row[12] else FLOWS[row[3]] for row in rows}
        for key, phase, role, minor, final in database.rows(_STEPS):
            its = flows[key].by_name[phase]
            model = self.world.participants[its.participant]
            word = model.records.get((key, phase), "")
            confirmed = model.confirmed.get((key, phase), 0)
            refused = (key, phase) in self.refused
            parts[key][phase] = Part(
                role, minor, final, str(word), confirmed, its.confirm_refusable, refused
            )
        found = {}
        for row in rows:
            words = [each or "" for each in (*row[8:11], row[12])]
            values = [*row[:8], *words[:3], row[11], words[3], row[13] or 0, parts[row[0]]]
            found[row[0]] = Seen(*values)
        return found

    def strangers(self) -> set[str]:
        """Transactions that a participant knows and the table does not."""
        known = {row[0] for row in self.world.database.rows("SELECT id FROM transactions")}
        models = self.world.participants.values()
        return {str(key) for model in models for key, _ in model.records} - known

    # The end

    def heal(self) -> None:
        """The last fault is over."""
        self._healed = True
        self.away.clear()
        for world in self.worlds:
            world.store.before_commit = world.store.after_commit = _nothing

    def rest(self) -> None:
        """Lets everything run to its end, then checks every invariant. Raises Violation."""
        self.advance(LIMIT_S)
        self.advance(max(flow.longest_reservation_s for flow in FLOWS.values()) + LATE_S)
        self.loop.run(self._check())

    async def _check(self) -> None:
        for model in self.world.participants.values():
            await model.settled()
        while await self.world.relay.run_once():
            pass
        for transaction_id in self.seen():
            try:
                check(await self.world.scene(TransactionId(transaction_id)))
            except Violation as violation:
                raise Violation(f"{violation}; {transaction_id}") from violation
        for world in self.worlds:
            busy = world.driver.in_flight, world.driver.committing, world.store.queued
            if any(busy):
                raise Violation(f"S18: {world.owner} has {busy} left at rest")
        for what, problem in self.world.observer.troubles:
            if not problem.startswith("NotUndone"):
                raise Violation(f"bug: {what}: {problem}")

    def close(self) -> None:
        """Stops everything."""
        if self.second is not None:
            self.leave()
        self.loop.run(self.world.close())
        self.loop.close()


def _nothing(_change: Change) -> None:
    """What happens at a commit when nothing is to happen."""


def _answer(asked: asyncio.Task[Any] | None) -> Answer:
    if asked is None or asked.cancelled():
        return Answer(NO_ANSWER)
    error = asked.exception()
    if isinstance(error, KessaiError):
        return Answer(error.code)
    return Answer("", asked.result())
