"""Tells those who wait in this process what was committed, and lets them wait for it.

A payment that this process does not drive is not announced here; it is read again and again.
Waiting is what most payments do most of the time, so a waiter is one future and one timer.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable

from coordinator.domain.errors import ShuttingDown
from coordinator.domain.ids import TransactionId
from coordinator.domain.transaction import Transaction
from coordinator.ports import Store

POLL_S = 0.25
POLL_CAP_S = 2.0
"""How soon a payment that is driven elsewhere is read again, in seconds; doubles up to the cap."""


class _Waiter:
    """One who waits: the newest version it was told of, and what wakes it.

    `until_rest`: it waits until the transaction rests, and need not be woken before.
    """

    __slots__ = ("expired", "latest", "poll", "poll_s", "until_rest", "woken")

    def __init__(self, transaction: Transaction, *, until_rest: bool) -> None:
        self.latest = transaction
        self.until_rest = until_rest
        self.expired = False
        self.poll: asyncio.TimerHandle | None = None
        self.poll_s = POLL_S
        self.woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def tell(self, transaction: Transaction) -> None:
        if transaction.version > self.latest.version:
            self.latest = transaction
            if transaction.rests or not self.until_rest:
                self.wake()

    def wake(self) -> None:
        if not self.woken.done():
            self.woken.set_result(None)

    def stop_polling(self) -> None:
        if self.poll is not None:
            self.poll.cancel()
            self.poll = None

    def expire(self) -> None:
        self.expired = True
        self.wake()


class Updates:
    """Committed changes by transaction.

    `known_here` gives the newest committed version of a transaction that this process drives, and
    None for one that it does not drive.
    """

    def __init__(
        self, store: Store, known_here: Callable[[TransactionId], Transaction | None]
    ) -> None:
        self._store = store
        self._known_here = known_here
        self._waiting: dict[TransactionId, list[_Waiter]] = {}
        self._closed = False

    @property
    def waiting(self) -> int:
        """How many transactions somebody waits for."""
        return len(self._waiting)

    def close(self) -> None:
        """Ends every wait, and those to come: this process is being stopped."""
        self._closed = True
        for waiters in self._waiting.values():
            for waiter in waiters:
                waiter.expire()

    def publish(self, transaction: Transaction) -> None:
        """Tells whoever waits for this transaction."""
        for waiter in self._waiting.get(transaction.id, ()):
            waiter.tell(transaction)

    def no_longer_driven(self, transaction_id: TransactionId) -> None:
        """Wakes whoever waits for this transaction, to read it from now on."""
        for waiter in self._waiting.get(transaction_id, ()):
            waiter.wake()

    async def at_rest(self, transaction: Transaction, wait_s: float) -> Transaction:
        """The transaction once it rests, or as it durably stands after `wait_s` seconds."""
        if transaction.rests:
            return transaction
        waiter = self._join(transaction, until_rest=True)
        timer = asyncio.get_running_loop().call_later(max(wait_s, 0.0), waiter.expire)
        try:
            await self._catch_up(waiter)
            while not (waiter.latest.rests or waiter.expired):
                await self._told(waiter)
                await self._look(waiter)
            return waiter.latest
        finally:
            timer.cancel()
            self._leave(waiter)

    async def follow(self, transaction: Transaction) -> AsyncGenerator[Transaction]:
        """The transaction as it stands, then after every change that is seen, until it is settled.

        Versions only grow. Close the iterator (or finish it) to stop waiting. Raises ShuttingDown
        when this process is being stopped.
        """
        waiter = self._join(transaction, until_rest=False)
        try:
            if not transaction.settled:
                await self._catch_up(waiter)
            sent = waiter.latest
            yield sent
            while not sent.settled:
                if waiter.expired:
                    raise ShuttingDown
                await self._told(waiter)
                await self._look(waiter)
                if waiter.latest.version > sent.version:
                    sent = waiter.latest
                    yield sent
        finally:
            self._leave(waiter)

    def _join(self, transaction: Transaction, *, until_rest: bool) -> _Waiter:
        waiter = _Waiter(transaction, until_rest=until_rest)
        if self._closed:
            waiter.expire()
        self._waiting.setdefault(transaction.id, []).append(waiter)
        return waiter

    def _leave(self, waiter: _Waiter) -> None:
        waiter.stop_polling()
        waiting = self._waiting[waiter.latest.id]
        waiting.remove(waiter)
        if not waiting:
            del self._waiting[waiter.latest.id]

    async def _catch_up(self, waiter: _Waiter) -> None:
        """Whatever was committed before the waiter joined."""
        known = self._known_here(waiter.latest.id) or await self._store.get(waiter.latest.id)
        if known is not None:
            waiter.tell(known)

    def _told(self, waiter: _Waiter) -> asyncio.Future[None]:
        """What to await until something happens: being told, or time to read the row.

        A plain future, so that a payment under way holds no coroutine only to wait.
        """
        if self._known_here(waiter.latest.id) is None:
            loop = asyncio.get_running_loop()
            waiter.poll = loop.call_later(waiter.poll_s, waiter.wake)
            waiter.poll_s = min(POLL_CAP_S, 2 * waiter.poll_s)
        return waiter.woken

    async def _look(self, waiter: _Waiter) -> None:
        """Gets the waiter ready for its next wait; reads the row where nobody here tells it."""
        waiter.stop_polling()
        waiter.woken = asyncio.get_running_loop().create_future()
        if self._known_here(waiter.latest.id) is None and not waiter.expired:
            await self._catch_up(waiter)
