"""What `kessai chaos` reads all through a run: a book out of order is told, with the moment."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import sqlalchemy as sa

from coordinator.cli.stack import LEDGERS
from fault_injection.chaos.history import History
from fault_injection.chaos.readings import Readings
from participants.database import make_engine
from participants.serve import running
from tests.support.stores import PostgresStores
from tests.support.transactions import commit_of, committed, creation, until

NOWHERE = "postgresql+psycopg2://nobody@127.0.0.1:1/nothing"
A_HOLD_WITHOUT_A_TRY = (
    "INSERT INTO ledger_holds (transaction_id, phase, account, unit, amount_minor, state)"
    " VALUES (gen_random_uuid(), 'p', 'wallet:alice', 'points', 5, 'OPEN')"
)
WITHOUT_ITS_CHECK = (
    "ALTER TABLE ledger_accounts DROP CONSTRAINT ledger_balance_covers_held;"
    " UPDATE ledger_accounts SET balance_minor = -1 WHERE guarded"
)
HELD = "what is held is not the sum of the open holds"


@dataclass
class Books:
    """The databases of one payment that is PAID, and of the participants."""

    stores: PostgresStores
    urls: dict[str, str]

    def meddle(self, participant: str, statement: str) -> None:
        engine = make_engine(self.urls[participant])
        with engine.begin() as connection:
            connection.execute(sa.text("SET session_replication_role = replica"))
            connection.execute(sa.text(statement))
        engine.dispose()

    def readings(self, history: History) -> Readings:
        ledgers = {name: self.urls[name] for name in LEDGERS}
        return Readings(self.stores.url, ledgers, self.urls["stock"], history)

    def problems(self) -> list[str]:
        """What one reading of all books finds."""
        history = History(lambda: 12.34)
        readings = self.readings(history)
        readings.read_books()
        readings.read_books()  # what is known is not told again
        assert readings.books == 2
        return history.breaks


@pytest.fixture
def books(new_database: Callable[[], str]) -> Iterator[Books]:
    stores = PostgresStores(new_database())

    async def pay() -> None:
        async with stores.open() as store:
            opened = await committed(store, creation())
            await committed(store, commit_of(until(opened, "PAID")))

    asyncio.run(pay())
    urls = {}
    for name, seeds in {"points": {"alice": 100}, "card": {}, "merchant": {}, "stock": {}}.items():
        urls[name] = new_database()
        with running(name, database_url=urls[name], seeds=seeds):
            pass  # it makes its tables
    yield Books(stores, urls)
    stores.close()


def test_books_in_order_raise_no_alarm(books: Books) -> None:
    assert books.problems() == []


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        (
            "UPDATE ledger_postings SET amount_minor = amount_minor + 1 WHERE amount_minor > 0",
            "S1: points: the postings sum to 1, not to 0, 12.3 s after the start",
        ),
        (
            WITHOUT_ITS_CHECK,
            "S1: points: wallet:alice has -1, of which 0 are held, 12.3 s after the start",
        ),
        (
            "UPDATE ledger_accounts SET held_minor = 7 WHERE guarded",
            f"S1: points: {HELD}: wallet:alice, 12.3 s after the start",
        ),
    ],
)
def test_a_ledger_out_of_order_is_told_once_with_its_moment(
    books: Books, statement: str, told: str
) -> None:
    books.meddle("points", statement)
    assert told in books.problems()
    assert len(books.problems()) == len(set(books.problems()))


def test_a_hold_that_no_open_try_has_is_told(books: Books) -> None:
    books.meddle("points", A_HOLD_WITHOUT_A_TRY)
    assert any("an open hold without an open Try" in each for each in books.problems())


def test_more_given_back_than_was_paid_is_told(books: Books) -> None:
    books.stores.execute_unchecked("UPDATE steps SET final_minor = 1")
    books.stores.execute_unchecked("UPDATE transactions SET refunded_minor = 1000")
    (told,) = books.problems()
    assert told.startswith("S13: ")
    assert "says that 1000 of 1 were given back" in told


def test_reading_goes_on_by_itself_and_sees_what_nobody_takes_up(books: Books) -> None:
    books.stores.execute_unchecked("UPDATE transactions SET due_at = now() - interval '1 minute'")
    history = History()
    readings = books.readings(history)
    readings.start()
    while not readings.overdue or not readings.books:
        readings.join(0.05)
    readings.close()
    assert {look.overdue for look in readings.overdue} == {1}
    assert history.breaks == []


def test_a_database_that_is_down_is_no_alarm(books: Books) -> None:
    history = History()
    readings = Readings(NOWHERE, {}, books.urls["stock"], history)
    readings.start()
    while not readings.overdue:
        readings.join(0.05)
    readings.close()
    assert {look.overdue for look in readings.overdue} == {None}
    assert history.breaks == []
