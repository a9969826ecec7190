"""Drives a transaction to its end: decide, perform, record, commit, again.

The driver has the I/O and none of the branches; those are in `domain.decide`. Each transaction is
driven by at most one task of this process, which does not belong to the caller and outlives it.
Whether another process drives it too does not matter for safety: every commit is a
compare-and-set.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from datetime import datetime, timedelta
from typing import Any, TypeVar

from coordinator.domain.decide import Advance, Perform, Rest, decide
from coordinator.domain.errors import StoreUnavailable
from coordinator.domain.flow import Flow
from coordinator.domain.ids import TransactionId
from coordinator.domain.machine import Event, State
from coordinator.domain.moves import advance, record
from coordinator.domain.record import evolve
from coordinator.domain.transaction import Change, Draft, Transaction, as_recovered, flow_of
from coordinator.engine.calls import Calls
from coordinator.engine.returned import note_returned
from coordinator.engine.updates import Updates
from coordinator.ports import (
    Clock,
    CommitResult,
    Committed,
    LostRace,
    Observer,
    Participant,
    Randomness,
    Store,
)

T = TypeVar("T")

TRY_PATIENCE = timedelta(seconds=5)
"""How long a Try that was held back is waited for in memory: whoever takes the transaction up from
the table has to suppose that the Try left, and to wait for its participant to cancel it."""
OUTAGE_BASE_S = 0.1
OUTAGE_CAP_S = 5.0
"""Waits between two tries to reach the database, in seconds."""


class Driver:
    """Runs one task for each transaction that this process drives.

    `patience_s`: waits up to this long keep the task; longer ones, and those for a customer, give
    the transaction back to the table with a due time. A Try is waited for as long as TRY_PATIENCE.
    `owner` is this process's name in claims.
    """

    def __init__(
        self,
        *,
        store: Store,
        participants: Mapping[str, Participant],
        flows: Mapping[str, Flow],
        clock: Clock,
        randomness: Randomness,
        observer: Observer,
        owner: str,
        patience_s: float,
    ) -> None:
        self._store = store
        self._flows = flows
        self._clock = clock
        self._calls = Calls(participants, randomness=randomness, observer=observer)
        self._observer = observer
        self._owner = owner
        self._patience = timedelta(seconds=patience_s)
        self._tasks: dict[TransactionId, asyncio.Task[None]] = {}
        self._known: dict[TransactionId, Transaction] = {}
        self._committing: set[TransactionId] = set()
        self._submitting: dict[asyncio.Task[None], asyncio.Future[CommitResult]] = {}
        self.updates = Updates(store, self._known.get)

    @property
    def in_flight(self) -> int:
        """How many transactions this process drives now."""
        return len(self._tasks)

    @property
    def committing(self) -> int:
        """How many commits of this process are under way."""
        return len(self._committing) + len(self._submitting)

    async def submit(self, change: Change) -> CommitResult:
        """Commits a change that was decided beside the driver: a new payment, a cancel.

        The transaction is driven from there; what ran for it before is dropped. A caller that goes
        away meanwhile changes nothing: what is committed is driven.

        Raises what `Store.commit` raises.
        """
        answer: asyncio.Future[CommitResult] = asyncio.get_running_loop().create_future()
        self._submitting[self._task(change.after.id, self._submit(change))] = answer
        return await answer

    def start(self, transaction: Transaction) -> None:
        """Drives `transaction`, unless a task already does."""
        if transaction.id not in self._tasks and not transaction.settled:
            self._spawn(transaction)

    def restart(self, transaction: Transaction) -> None:
        """Drives `transaction` from where it stands now; what ran for it before is dropped.

        For a change that was committed beside the running task: its calls no longer matter.
        """
        self._drop(transaction.id)
        self.start(transaction)

    def resume(self, transaction: Transaction) -> None:
        """Drives `transaction` if this process holds its claim and yet no task of it runs.

        So it is when the answer to the commit that created it was lost.
        """
        if transaction.claimed_by == self._owner:
            self.start(as_recovered(transaction))

    def not_committed_for(self, seconds: float) -> list[Transaction]:
        """What it drives whose last commit, by any process, is so long ago or longer."""
        now = self._clock.now()
        recently = now - timedelta(seconds=seconds)
        return [
            known
            for known in self._known.values()
            # The time may be that of another process, whose clock may be ahead.
            if not recently < known.updated_at <= now and known.id not in self._committing
        ]

    def lose(self, transaction: Transaction) -> None:
        """Another process holds it: what runs for it here is dropped.

        Unless something was committed since it stood like `transaction`, or is being committed: it
        may be that very commit that gave the claim back.
        """
        known, task = self._known.get(transaction.id), self._tasks.get(transaction.id)
        if known is transaction and task is not None and transaction.id not in self._committing:
            task.cancel()
            self._observer.claim_lost(transaction.id)

    def drives(self, transaction_id: TransactionId) -> bool:
        """Whether a task of this process drives it now."""
        return transaction_id in self._tasks

    async def drain(self, seconds: float) -> None:
        """Lets the running tasks finish for so long, then drops them; recovery takes them up."""
        tasks = self.tasks
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """Every task of this driver that has not ended, always in one order."""
        return list(dict.fromkeys((*self._submitting, *self._tasks.values())))

    def _spawn(self, transaction: Transaction) -> None:
        self._adopt(transaction, self._task(transaction.id, self._run(Draft(transaction))))

    def _task(
        self, transaction_id: TransactionId, run: Coroutine[Any, Any, None]
    ) -> asyncio.Task[None]:
        # Its name is all that a task needs to keep until it ends.
        task = asyncio.create_task(run, name=transaction_id)
        task.add_done_callback(self._ended)
        return task

    def _adopt(self, transaction: Transaction, task: asyncio.Task[None]) -> None:
        self._tasks[transaction.id] = task
        self._known[transaction.id] = transaction

    def _ended(self, task: asyncio.Task[None]) -> None:
        transaction_id = TransactionId(task.get_name())
        unanswered = self._submitting.pop(task, None)
        if unanswered is not None:
            unanswered.cancel()
        if self._tasks.get(transaction_id) is task:
            del self._tasks[transaction_id]
            del self._known[transaction_id]
            self.updates.no_longer_driven(transaction_id)
        if not task.cancelled() and (error := task.exception()) is not None:
            # Our own bug. The transaction stays where it durably stands and becomes due again.
            self._observer.troubled("drive", error, transaction_id)

    async def _submit(self, change: Change) -> None:
        """Becomes the transaction's driving task once the change is committed."""
        committed = await self._answer(change)
        del change  # the payment takes long, and may do without what began it
        if committed is not None:
            await self._run(_as_stored(committed))

    async def _answer(self, change: Change) -> Transaction | None:
        """Commits, and tells the submitter; the transaction when this task is to drive it."""
        task = asyncio.current_task()
        assert task is not None, "this runs in a task"
        try:
            result = await self._store.commit(change)
        except Exception as error:  # noqa: BLE001 - it is the caller's to hear
            answer = self._submitting.pop(task)
            if not answer.done():
                answer.set_exception(error)
            return None
        if isinstance(result, Committed):
            self._observer.committed(change)
            self._drop(change.after.id)
            self._adopt(result.transaction, task)
            self.updates.publish(result.transaction)
        answer = self._submitting.pop(task)
        if not answer.done():
            answer.set_result(result)
        return result.transaction if isinstance(result, Committed) else None

    def _drop(self, transaction_id: TransactionId) -> None:
        running = self._tasks.pop(transaction_id, None)
        if running is not None:
            running.cancel()

    async def _run(self, start: Draft) -> None:
        draft: Draft | None = start
        flow = flow_of(self._flows, start.transaction)
        del start  # superseded by the first commit, which may be long before the end
        now = self._clock.now()
        while draft is not None:
            action = decide(draft.transaction, flow, now)
            if isinstance(action, Perform):
                results = await self._calls.perform(draft.transaction, action.calls)
                now = self._clock.now()
                draft = record(draft, flow, results, now)
                continue
            if isinstance(action, Advance):
                draft = await self._advance(draft, flow, action, now)
            elif isinstance(action, Rest):
                return
            elif self._waits_here(draft.transaction, action.until - now):
                await self._clock.sleep((action.until - now).total_seconds())
            else:
                await self._write(draft.change(now=now, due_at=action.until, keep_claim=False))
                return
            now = self._clock.now()

    def _waits_here(self, transaction: Transaction, wait: timedelta) -> bool:
        """Whether the task is kept for so long. Its memory alone knows of a Try that never left."""
        if transaction.pending:
            return False
        created = transaction.state is State.CREATED
        return wait <= (max(TRY_PATIENCE, self._patience) if created else self._patience)

    async def _commit(self, draft: Draft, now: datetime) -> Draft | None:
        """The draft to go on from, or None when somebody else drives the transaction."""
        before = draft.transaction
        if before.rests and not before.settled:
            # It waits for its caller: whoever is there when its time is over takes it up.
            until = before.reserved_until
            stored = await self._write(draft.change(now=now, due_at=until, keep_claim=False))
            return None if stored is None or stored.transaction.rests else stored
        # What is due stays due as it was: a new time would touch the index of due times.
        due_at = None if before.settled else min(before.due_at or now, now)
        return await self._write(draft.change(now=now, due_at=due_at, keep_claim=True))

    async def _advance(
        self, draft: Draft, flow: Flow, action: Advance, now: datetime
    ) -> Draft | None:
        """The draft to go on from, or None when somebody else drives the transaction."""
        if draft.transaction.refund_of is not None and Event.PAY in action.events:
            if draft.entries:  # what was confirmed is durable before the payment is told
                return await self._commit(draft, now)
            await self._tell_payment(draft.transaction)
        return await self._commit(advance(draft, flow, action.events, now, action.failure), now)

    async def _tell_payment(self, refund: Transaction) -> None:
        """Makes the payment know of a refund whose confirmations are all durable."""
        noted = await self._patiently(
            "note a refund",
            refund.id,
            lambda: note_returned(self._store, self._flows[refund.flow], self._clock, refund),
        )
        if noted is not None:
            self._observer.committed(noted)
            self.updates.publish(noted.after)

    async def _write(self, change: Change) -> Draft | None:
        """Commits; None when somebody else drives the transaction."""
        self._committing.add(change.after.id)
        try:
            result = await self._patiently(
                "commit", change.after.id, lambda: self._store.commit(change)
            )
        finally:
            self._committing.discard(change.after.id)
        if isinstance(result, Committed):
            self._observer.committed(change)
            self._publish(result.transaction)
            return _as_stored(result.transaction)
        assert isinstance(result, LostRace), "only a new transaction can meet a taken key"
        return await self._after_lost_race(change)

    async def _after_lost_race(self, change: Change) -> Draft | None:
        """Re-reads. Goes on where the row stands, unless another process holds it."""
        fresh = await self._reread(change.after.id)
        if fresh is None:
            return None
        self._publish(fresh)
        if is_same_write(fresh, change):
            self._observer.committed(change)
            return _as_stored(fresh)
        if self._only_reclaimed(fresh, change):
            after = evolve(change.after, version=fresh.version + 1)
            return await self._write(evolve(change, after=after, expected_version=fresh.version))
        if fresh.claimed_by in {"", self._owner}:
            return Draft(as_recovered(fresh))
        self._observer.claim_lost(fresh.id)
        return None

    def _only_reclaimed(self, fresh: Transaction, change: Change) -> bool:
        """Whether nothing happened since but that this process claimed the row once more.

        One version further, so that nobody else had it in between: what another process sent to a
        participant leaves no other trace in the row.
        """
        before = change.after.sequence - len(change.entries)
        return (fresh.claimed_by, fresh.sequence, fresh.version) == (
            self._owner,
            before,
            change.expected_version + 1,
        )

    def _publish(self, transaction: Transaction) -> None:
        if asyncio.current_task() is self._tasks.get(transaction.id):
            self._known[transaction.id] = transaction
        self.updates.publish(transaction)

    async def _reread(self, transaction_id: TransactionId) -> Transaction | None:
        return await self._patiently(
            "read", transaction_id, lambda: self._store.get(transaction_id)
        )

    async def _patiently(
        self, what: str, transaction_id: TransactionId, ask: Callable[[], Awaitable[T]]
    ) -> T:
        """Waits out an outage of the database, without forgetting what was learned."""
        wait_s = OUTAGE_BASE_S
        while True:
            try:
                return await ask()
            except StoreUnavailable as error:
                self._observer.troubled(what, error, transaction_id)
                await self._clock.sleep(wait_s)
                wait_s = min(OUTAGE_CAP_S, wait_s * 2)


def is_same_write(row: Transaction, change: Change) -> bool:
    """Whether `row` is what `change` wrote: an answer to a commit may be lost after it was done."""
    after = change.after
    return (row.version, row.sequence, row.state, row.updated_at) == (
        after.version,
        after.sequence,
        after.state,
        after.updated_at,
    )


def _as_stored(transaction: Transaction) -> Draft:
    return Draft(transaction, stored=transaction.steps)
