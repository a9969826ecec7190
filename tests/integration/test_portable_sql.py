"""The SQL that we emit keeps to what distributed PostgreSQLs have in common.

CockroachDB, YugabyteDB and Citus differ in much, but all can do this: IDs that the application
makes, keys that begin with them, small transactions, no safety that rests on locks, triggers or
isolation beyond READ COMMITTED. What is looked at is what a server was really sent.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from adapters.postgres.migrate import migrate
from tests.support.operations import cancel, capture, create, refund, refunds_of, reserve
from tests.support.service import Service, running

NEVER = {
    "advisory locks": r"advisory",
    "savepoints": r"\bSAVEPOINT\b",
    "LISTEN and NOTIFY": r"^\s*(LISTEN|NOTIFY)\b|pg_notify",
    "another isolation than READ COMMITTED": r"SERIALIZABLE|REPEATABLE READ",
    "sequences": r"nextval|\bSERIAL\b|GENERATED (ALWAYS|BY DEFAULT)",
    "triggers and functions": r"CREATE (OR REPLACE )?(TRIGGER|FUNCTION|PROCEDURE)|\bDO \$",
    "prepared statements, which poolers lose": r"^\s*(PREPARE|EXECUTE)\b",
    "temporary tables": r"\bTEMP(ORARY)?\b",
    "table locks": r"^\s*LOCK\b",
    "two-phase commit of the database's own": r"PREPARE TRANSACTION|COMMIT PREPARED",
    "row addresses": r"\bctid\b|\bxmin\b",
    "cursors": r"^\s*(DECLARE|FETCH)\b",
}
HOT = {"transactions": "id", "steps": "transaction_id", "journal": "transaction_id", "outbox": "id"}

LARGEST = 10
"""Statements in one transaction."""


def sent(url: str, do: Callable[[Service], object]) -> list[tuple[str, str]]:
    """(session, statement) for all that a service sent its server while `do` was done.

    The tables were there, without the trigger that keeps the journal from being changed by hand: a
    server that has none is served as well.
    """
    migrate(url)
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        name = engine.dialect.identifier_preparer.quote(engine.url.database or "")
        connection.execute(sa.text(f"ALTER DATABASE {name} SET log_statement = 'all'"))
        connection.execute(sa.text("DROP FUNCTION journal_is_append_only CASCADE"))
        folder = connection.execute(sa.text("SHOW data_directory")).scalar_one()
    engine.dispose()
    log = Path(folder) / "log"
    before = log.stat().st_size
    with running(url) as service:
        do(service)
    with log.open("rb") as file:
        file.seek(before)
        text = file.read().decode(errors="replace")
    return re.findall(r"\[(\d+)\] LOG:  (?:statement|execute [^:]*): (.*(?:\n\t.*)*)", text)


def everything(service: Service) -> None:
    create(service, "pay")
    cancel(service, reserve(service, "cancel").payment_id)
    paid = reserve(service, "capture")
    capture(service, paid.payment_id)
    refund(service, paid.payment_id, "refund")
    refunds_of(service, paid.payment_id)


@pytest.fixture(scope="module")
def sessions(new_database: Callable[[], str]) -> list[tuple[str, str]]:
    return sent(new_database(), everything)


@pytest.fixture(scope="module")
def statements(sessions: list[tuple[str, str]]) -> list[str]:
    return [statement for _, statement in sessions]


def test_the_log_holds_what_a_payment_writes(statements: list[str]) -> None:
    for table in HOT:
        assert any(re.search(rf"INSERT INTO {table}\b", each) for each in statements), table
    assert any(re.search(r"UPDATE transactions\b", each) for each in statements)


@pytest.mark.parametrize("what", NEVER)
def test_nothing_is_sent_that_a_distributed_database_may_lack(
    statements: list[str], what: str
) -> None:
    found = [each for each in statements if re.search(NEVER[what], each, re.IGNORECASE)]
    assert found == []


@pytest.mark.parametrize("sql", ["SELECT pg_advisory_lock(1)", "LOCK TABLE steps", "SAVEPOINT a"])
def test_the_rules_see_what_they_are_for(sql: str) -> None:
    assert any(re.search(pattern, sql, re.IGNORECASE) for pattern in NEVER.values())


def test_keys_begin_with_an_id_that_the_application_makes(new_database: Callable[[], str]) -> None:
    url = new_database()
    with running(url):
        pass
    engine = sa.create_engine(url)
    found = sa.inspect(engine)
    for table, first in HOT.items():
        assert found.get_pk_constraint(table)["constrained_columns"][0] == first
        (column,) = [each for each in found.get_columns(table) if each["name"] == first]
        assert isinstance(column["type"], sa.Uuid)
        assert column["default"] is None
        assert found.get_foreign_keys(table) == []
    with engine.connect() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM pg_sequences")).scalar_one() == 0
    engine.dispose()


def test_no_transaction_of_the_service_is_large(sessions: list[tuple[str, str]]) -> None:
    """A group of commits is two statements, between BEGIN and COMMIT; limits come before them."""
    inside: dict[str, list[str]] = {}
    sizes = []
    for session, each in sessions:
        if each.startswith("BEGIN"):
            inside[session] = []
        elif each.startswith(("COMMIT", "ROLLBACK")):
            ended = inside.pop(session, [])
            if not any("alembic" in statement for statement in ended):
                sizes.append(len(ended))
        elif session in inside:
            inside[session].append(each)
    assert sizes
    assert max(sizes) <= LARGEST
