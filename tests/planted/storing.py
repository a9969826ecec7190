"""Bugs in what is made durable, when, and by whom."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa

from adapters.postgres import claims, sql_store
from adapters.postgres import statements as postgres
from adapters.postgres.fields import OUTBOX
from adapters.postgres.group_writer import Connect, GroupWriter
from adapters.postgres.schema import outbox, transactions
from adapters.sqlite import statements as sqlite
from coordinator.domain.machine import State
from coordinator.domain.record import evolve
from coordinator.domain.transaction import Change, Draft, EntryKind, OutboxEvent
from coordinator.engine import capture, drive
from coordinator.ports import CommitResult, Committed
from tests.planted.bug import Layer, planted


@planted(
    "A commit does not ask whether the row is still as it was read.",
    Layer.MODEL,
    Layer.SEEDS,
    Layer.PAIRS,
    Layer.STORE,
    variant="version-ignored",
)
def version_not_compared(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(sqlite, "_UPDATE", _without(sqlite._UPDATE, "version = ?", "? > 0"))
    patch.setattr(
        postgres, "UPDATE", _without(postgres.UPDATE, "t.version = i.version - 1", "i.version > 0")
    )


def _without(statement: str, condition: str, nothing: str) -> str:
    changed = statement.replace(f"AND {condition}", f"AND {nothing}")
    assert changed != statement, "the condition is not there any more"
    return changed


@planted(
    "A claim leaves the version as it is, so that whoever held the row before may still write.",
    Layer.MODEL,
    Layer.STORE,
    variant="claim-keeps-version",
)
def claim_without_a_version_bump(patch: pytest.MonkeyPatch) -> None:
    claim = claims.claim_transactions

    def quiet(*asked: Any) -> Any:
        return claim(*asked).values(version=transactions.c.version)

    patch.setattr(claims, "claim_transactions", quiet)


@planted(
    "A process that lost its claim writes all the same: it reads the version again, and repeats.",
    Layer.UNIT,
    Layer.PAIRS,
    where="two_coordinators_that_drive",
)
def stale_claim_writes(patch: pytest.MonkeyPatch) -> None:
    after_lost_race = drive.Driver._after_lost_race

    async def forcing(self: drive.Driver, change: Change) -> Draft | None:
        fresh = await self._reread(change.after.id)
        if fresh is None or drive.is_same_write(fresh, change):
            return await after_lost_race(self, change)
        last, version = fresh.sequence, fresh.version
        entries = tuple(evolve(e, sequence=last + n) for n, e in enumerate(change.entries, 1))
        after = evolve(change.after, version=version + 1, sequence=last + len(entries))
        again = evolve(change, after=after, expected_version=version, entries=entries)
        return await self._write(again)

    patch.setattr(drive.Driver, "_after_lost_race", forcing)


@planted(
    "Recovery looks for states by a list, and the list lacks SETTLING.",
    Layer.CRASHES,
    Layer.SEEDS,
    where="two workers",
)
def recovery_forgets_a_state(patch: pytest.MonkeyPatch) -> None:
    claim = claims.claim_transactions

    def partly(*asked: Any) -> Any:
        return claim(*asked).where(transactions.c.state != State.SETTLING.value)

    patch.setattr(claims, "claim_transactions", partly)


@planted(
    "The announcement is forgotten when the transaction is settled.",
    Layer.SINGLES,
    Layer.SEEDS,
    Layer.UNIT,
)
def announcement_forgotten(patch: pytest.MonkeyPatch) -> None:
    change = Draft.change
    patch.setattr(Draft, "change", lambda self, **kw: evolve(change(self, **kw), events=()))


@planted(
    "The outbox row is written after the commit, in a database transaction of its own.",
    Layer.STORE,
    where="announcement_is_durable",
)
def outbox_outside_the_commit(patch: pytest.MonkeyPatch) -> None:
    commit = sql_store.SqlStore.commit

    async def apart(self: sql_store.SqlStore, change: Change) -> CommitResult:
        result = await commit(self, evolve(change, events=()))
        if isinstance(result, Committed) and change.events:
            await self._run(lambda connection: _write_events(connection, change.events))
        return result

    patch.setattr(sql_store.SqlStore, "commit", apart)


@planted(
    "The outbox row is written before the commit, which then may fail or lose its race.",
    Layer.STORE,
    where="loser_writes_nothing",
)
def announced_before_the_commit(patch: pytest.MonkeyPatch) -> None:
    commit = sql_store.SqlStore.commit

    async def early(self: sql_store.SqlStore, change: Change) -> CommitResult:
        if change.events:
            await self._run(lambda connection: _write_events(connection, change.events))
        return await commit(self, evolve(change, events=()))

    patch.setattr(sql_store.SqlStore, "commit", early)


def _write_events(connection: sa.Connection, events: Sequence[OutboxEvent]) -> None:
    for event in events:
        row = {field.name: field.get(event) for field in OUTBOX}
        known = sa.select(outbox.c.id).where(outbox.c.id == event.id)
        if connection.execute(known).one_or_none() is None:
            connection.execute(sa.insert(outbox).values(**row))


@planted(
    "A commit whose last line is an attempt writes the row, and not its journal lines.",
    Layer.SINGLES,
    Layer.SEEDS,
    Layer.UNIT,
)
def journal_line_missing(patch: pytest.MonkeyPatch) -> None:
    change = Draft.change

    def silent(self: Draft, **when: Any) -> Change:
        made = change(self, **when)
        attempt = made.entries and made.entries[-1].kind is EntryKind.ATTEMPT
        return evolve(made, entries=()) if attempt else made

    patch.setattr(Draft, "change", silent)


@planted(
    "The caller is answered while the commit is still under way: it nearly always succeeds.",
    Layer.SEEDS,
    Layer.UNIT,
)
def answer_told_before_it_is_durable(patch: pytest.MonkeyPatch) -> None:
    submit = drive.Driver.submit

    async def early(self: drive.Driver, change: Change) -> CommitResult:
        known = await self._store.find_by_key(change.after.caller, change.after.idempotency_key)
        if known is not None:
            return await submit(self, change)
        asyncio.ensure_future(submit(self, change)).add_done_callback(_unheard)
        return Committed(change.after)

    patch.setattr(drive.Driver, "submit", early)


def _unheard(task: asyncio.Future[Any]) -> None:
    if not task.cancelled():
        task.exception()


@planted(
    "A COMMIT whose answer was lost is taken for one that was not done.",
    Layer.STORE,
    where="whose_answer_is_lost",
)
def ambiguous_commit_taken_for_a_failure(patch: pytest.MonkeyPatch) -> None:
    write = GroupWriter._write

    def unaware(self: GroupWriter, connection: Any, group: Any, **_known: Any) -> Any:
        return write(self, connection, group, repeated=False)

    patch.setattr(GroupWriter, "_write", unaware)


@planted(
    "A COMMIT whose answer was lost is taken for one that was done.",
    Layer.STORE,
    where="whose_answer_is_lost",
)
def ambiguous_commit_taken_for_a_success(patch: pytest.MonkeyPatch) -> None:
    init = GroupWriter.__init__

    def hopeful(self: GroupWriter, connect: Connect, *rest: Any) -> None:
        init(self, lambda: _hoping(connect), *rest)

    patch.setattr(GroupWriter, "__init__", hopeful)


@contextmanager
def _hoping(connect: Connect) -> Iterator[Any]:
    with connect() as connection:
        yield _Hopeful(connection)


class _Hopeful:
    """A connection whose COMMIT always seems to succeed."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    @contextmanager
    def begin(self) -> Iterator[None]:
        done = False
        try:
            with self._connection.begin():
                yield
                done = True
        except Exception:  # whatever it is
            if not done:
                raise


@planted(
    "A capture by another till is taken for a repeat of the first one, so that both have won.",
    Layer.SEEDS,
)
def both_tills_win_the_capture(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(capture, "_is_repeat", lambda found, _new: found.capture is not None)
