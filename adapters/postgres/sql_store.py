"""The Store port over SQLAlchemy Core: everything that does not depend on the SQL dialect.

Database work is synchronous and runs in executors: writes in one thread, in groups; claims in one
of their own, so that no amount of reading keeps recovery and the relay waiting; what looks at
everything (an operator's search, the census) in another, so that it keeps nobody waiting; reads on
a small pool. A read whose connection turns out to be dead is repeated on a new one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import sqlalchemy as sa

from adapters.postgres import claims, operating, reading
from adapters.postgres.group_commit import GroupCommit, Grouped
from adapters.postgres.group_writer import Connect, FaultPoint, GroupWriter, WriteStatements
from adapters.postgres.trouble import Kind, diagnose
from adapters.sealing import Sealer
from coordinator.domain.errors import KessaiError, StoreUnavailable
from coordinator.domain.ids import TransactionId
from coordinator.domain.record import evolve
from coordinator.domain.transaction import Change, JournalEntry, OutboxEvent, Transaction
from coordinator.ports import (
    Census,
    Claim,
    CommitResult,
    Pause,
    PaymentQuery,
    TransactionQuery,
)

T = TypeVar("T")
_READ_ATTEMPTS = 3


class SqlStore:
    """Implements `coordinator.ports.Store`.

    connect      a connection to the database, given back on leaving the context
    statements   how the dialect writes groups
    clock        the database's clock
    owner        names this process in claims; unique among all processes that ever wrote
    lease_s      how long a claim lasts, in seconds
    readers      threads that read
    timer        seconds since some fixed moment
    grouped      hears of every group of writes
    """

    def __init__(
        self,
        *,
        connect: Connect,
        statements: WriteStatements,
        clock: claims.DatabaseClock,
        owner: str,
        sealer: Sealer,
        lease_s: float,
        batch_limit: int,
        queue_limit: int,
        readers: int,
        timer: Callable[[], float],
        grouped: Grouped,
        faults: FaultPoint,
    ) -> None:
        if not owner or lease_s <= 0:
            raise ValueError("a store needs an owner's name and a lease_s above 0")
        self._connect = connect
        self._clock = clock
        self._owner = owner
        self._sealer = sealer
        self._lease_s = lease_s
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="kessai-writer")
        self._readers = ThreadPoolExecutor(readers, thread_name_prefix="kessai-reader")
        self._claimer = ThreadPoolExecutor(1, thread_name_prefix="kessai-claimer")
        self._looker = ThreadPoolExecutor(1, thread_name_prefix="kessai-looker")
        self._group = GroupCommit(
            GroupWriter(connect, statements, faults).write,
            self._writer,
            owner=owner,
            batch_limit=batch_limit,
            queue_limit=queue_limit,
            timer=timer,
            grouped=grouped,
        )

    @property
    def queued(self) -> int:
        """Writes that wait for the writer; 0 at rest."""
        return self._group.waiting

    async def start(self) -> None:
        """Returns when the database answers. Raises StoreUnavailable."""
        await self.ping()

    async def close(self) -> None:
        """Settles every write that was taken, then lets go of the database. May be repeated."""
        await self._group.close()
        self._writer.shutdown()
        self._claimer.shutdown()
        self._looker.shutdown()
        self._readers.shutdown()

    async def commit(self, change: Change) -> CommitResult:
        """See `Store.commit`. Raises StoreUnavailable, Overloaded, Bug."""
        return await self._group.submit(change)

    async def get(self, transaction_id: TransactionId) -> Transaction | None:
        """See `Store.get`. Raises StoreUnavailable, SecretUnreadable, Bug (cannot be read)."""
        key = {"id": transaction_id}
        return await self._run(
            lambda c: reading.one(c.execute(reading.BY_ID, key).all(), self._sealer)
        )

    async def find_by_key(self, caller: str, idempotency_key: str) -> Transaction | None:
        """See `Store.find_by_key`. Raises StoreUnavailable, SecretUnreadable, Bug."""
        key = {"caller": caller, "idempotency_key": idempotency_key}
        return await self._run(
            lambda c: reading.one(c.execute(reading.BY_KEY, key).all(), self._sealer)
        )

    async def count_live(self, caller: str, at_most: int) -> int:
        """See `Store.count_live`. Raises StoreUnavailable."""
        key = {"caller": caller, "at_most": at_most}
        return await self._run(lambda c: int(c.execute(reading.COUNT_LIVE, key).scalar_one()))

    async def refunds_of(self, payment_id: TransactionId) -> Sequence[Transaction]:
        """See `Store.refunds_of`. Raises StoreUnavailable, Bug."""
        key = {"payment_id": payment_id}
        return await self._run(
            lambda c: reading.refunds(c.execute(reading.BY_PAYMENT, key).all(), self._sealer)
        )

    async def list_payments(self, query: PaymentQuery) -> Sequence[Transaction]:
        """See `Store.list_payments`. Raises StoreUnavailable.

        A payment that cannot be read is logged and left out. A page that is shorter than
        `query.limit` is still the last one.
        """
        return await self._run(lambda c: self._page(c, query))

    async def journal(
        self, transaction_id: TransactionId, after: int, limit: int
    ) -> Sequence[JournalEntry]:
        """See `Store.journal`. Raises StoreUnavailable."""
        key = {"id": transaction_id, "after": after, "limit": limit}
        return await self._run(
            lambda c: [
                reading.journal_entry(row) for row in c.execute(reading.JOURNAL_AFTER, key).all()
            ]
        )

    async def claim_due(
        self, limit: int, flows: Collection[str] | None = None
    ) -> Sequence[Transaction]:
        """See `Store.claim_due`. Raises StoreUnavailable.

        A transaction that cannot be read, or whose secret does not open, is claimed, logged and
        left out, so that it cannot keep the others from being recovered; it is offered again when
        the claim has run out.
        """
        return await self._run(lambda c: self._claim_due(c, limit, flows), self._claimer)

    async def renew_claims(self, ids: Sequence[TransactionId]) -> frozenset[TransactionId]:
        """See `Store.renew_claims`. Raises StoreUnavailable."""
        statement = claims.renew(list(ids), self._owner, self._lease_s, self._clock)
        return await self._run(
            lambda c: frozenset(TransactionId(found) for found in c.execute(statement).scalars()),
            self._claimer,
        )

    async def release_claims(self) -> int:
        """See `Store.release_claims`. Raises StoreUnavailable.

        Waits for the writes that were taken: those of callers who have gone claim rows, too.
        """
        await self._group.settled()
        statement = claims.release(self._owner, self._clock)
        return await self._run(lambda c: c.execute(statement).rowcount, self._claimer)

    async def claim_of(self, transaction_id: TransactionId) -> Claim | None:
        """See `Store.claim_of`. Raises StoreUnavailable."""
        statement = claims.claim_of(transaction_id, self._clock)
        row = await self._run(lambda c: c.execute(statement).one_or_none())
        if row is None:
            return None
        return Claim(row.claimed_by, (row.claimed_until - row.now).total_seconds())

    async def search(self, query: TransactionQuery) -> Sequence[Transaction]:
        """See `Store.search`. Raises StoreUnavailable. Leaves out as `list_payments` does."""
        return await self._run(lambda c: self._found(c, query), self._looker)

    async def count(self, query: TransactionQuery, at_most: int) -> int:
        """See `Store.count`. Raises StoreUnavailable."""
        statement = operating.count(query, at_most)
        return await self._run(lambda c: int(c.execute(statement).scalar_one()), self._looker)

    async def census(self) -> Census:
        """See `Store.census`. Raises StoreUnavailable."""
        return await self._run(lambda c: operating.take_census(c, self._clock), self._looker)

    async def pauses(self) -> Sequence[Pause]:
        """See `Store.pauses`. Raises StoreUnavailable."""
        return await self._run(
            lambda c: [operating.pause_of(row) for row in c.execute(operating.PAUSES)]
        )

    async def pause(self, pause: Pause) -> None:
        """See `Store.pause`. Raises StoreUnavailable."""
        values = {name: getattr(pause, name) for name in pause.__struct_fields__}
        await self._run(lambda c: c.execute(operating.PAUSE, values) and None)

    async def unpause(self, flow: str) -> bool:
        """See `Store.unpause`. Raises StoreUnavailable."""
        return await self._run(lambda c: c.execute(operating.unpause(flow)).rowcount > 0)

    async def claim_events(self, limit: int, lease_s: float) -> Sequence[OutboxEvent]:
        """See `Store.claim_events`. Raises StoreUnavailable.

        An event that cannot be read is claimed, logged and left out, as in `claim_due`.
        """
        statement = claims.claim_events(self._owner, lease_s, limit, self._clock)
        events = await self._run(
            lambda c: reading.readable_events(c.execute(statement)), self._claimer
        )
        return sorted(events, key=lambda event: (event.at, event.id))

    async def mark_published(self, events: Sequence[OutboxEvent]) -> None:
        """See `Store.mark_published`. Raises StoreUnavailable."""
        if not events:
            return
        statement = claims.mark_published([event.id for event in events], self._clock.now)
        await self._run(lambda c: c.execute(statement) and None, self._claimer)

    async def ping(self) -> None:
        """See `Store.ping`. Raises StoreUnavailable."""
        await self._run(lambda c: c.execute(sa.select(1)).scalar_one())

    def _page(self, connection: sa.Connection, query: PaymentQuery) -> list[Transaction]:
        found: list[Transaction] = []
        while True:
            groups = reading.grouped(connection.execute(reading.page(query)))
            found += reading.readable(groups, self._sealer)
            if len(groups) < query.limit or len(found) >= query.limit:
                return found[: query.limit]
            last = groups[-1][0]
            query = evolve(query, before=(last.created_at, last.id))

    def _found(self, connection: sa.Connection, query: TransactionQuery) -> list[Transaction]:
        found: list[Transaction] = []
        while True:
            groups = reading.grouped(connection.execute(operating.page(query)))
            found += reading.readable(groups, self._sealer)
            if len(groups) < query.limit or len(found) >= query.limit:
                return found[: query.limit]
            query = evolve(query, before=groups[-1][0].id)

    def _claim_due(
        self, connection: sa.Connection, limit: int, flows: Collection[str] | None
    ) -> list[Transaction]:
        statement = claims.claim_transactions(
            self._owner,
            self._lease_s,
            limit,
            self._clock,
            None if flows is None else tuple(sorted(flows)),
        )
        ids = list(connection.execute(statement).scalars())
        if not ids:
            return []
        rows = connection.execute(reading.BY_IDS, {"ids": ids})
        claimed = reading.readable(reading.grouped(rows), self._sealer)
        return sorted(claimed, key=lambda each: (each.due_at is None, each.due_at, each.id))

    async def _run(
        self, work: Callable[[sa.Connection], T], executor: ThreadPoolExecutor | None = None
    ) -> T:
        """One unit of work in one database transaction, in a reader's thread if not another."""
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(executor or self._readers, self._unit, work)
        except RuntimeError:
            raise StoreUnavailable("the store is closed") from None

    def _unit(self, work: Callable[[sa.Connection], T]) -> T:
        error: KessaiError = StoreUnavailable()
        for _ in range(_READ_ATTEMPTS):
            try:
                with self._connect() as connection, connection.begin():
                    return work(connection)
            except KessaiError:
                raise
            except Exception as problem:  # noqa: BLE001 - translated in one place
                trouble = diagnose(problem)
                error = trouble.as_error()
                if trouble.kind not in {Kind.LOST, Kind.TRANSIENT}:
                    break
        raise error
