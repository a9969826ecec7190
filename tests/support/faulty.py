"""Ports behind the wrappers of `fault_injection.faults`, with rules or with none."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, cast

import sqlalchemy as sa

from adapters.postgres.sql_store import SqlStore
from adapters.system import SystemClock
from coordinator.ports import Clock
from fault_injection.faults.injection import Injection
from fault_injection.faults.reading import read
from fault_injection.faults.store import FaultyStore
from fault_injection.world import Recorder
from tests.support.stores import Stores


def injection(
    rules: str = "", *, clock: Clock | None = None, observer: Recorder | None = None
) -> Injection:
    """These rules at work, in the running loop."""
    return Injection(
        read(rules) if rules else (),
        clock=clock or SystemClock(),
        observer=observer or Recorder(),
    )


class _Behind(FaultyStore):
    """The wrapper; what is no part of the port is the store's own."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


class FaultyStores(Stores):
    """The stores of `inner`, each behind a wrapper with no rule."""

    def __init__(self, inner: Stores) -> None:
        self._inner = inner

    def make(self, owner: str = "one", **options: Any) -> SqlStore:
        return cast("SqlStore", _Behind(self._inner.make(owner, **options), injection()))

    def connect(self) -> AbstractContextManager[sa.Connection]:
        return self._inner.connect()

    def execute_unchecked(self, sql: str) -> None:
        self._inner.execute_unchecked(sql)

    def engine_of(self, store: SqlStore) -> sa.Engine:
        return self._inner.engine_of(cast("Any", store)._store)

    def committer_of(self, store: SqlStore) -> tuple[object, str]:
        return self._inner.committer_of(cast("Any", store)._store)

    def lose_connection(self, *connection: Any) -> BaseException:
        return self._inner.lose_connection(*connection)

    def close(self) -> None:
        self._inner.close()
