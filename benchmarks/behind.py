"""Fills a database with settled payments: copies of one that was really made."""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sa

CHUNK = 50_000
TABLES = {"transactions": "id", "steps": "transaction_id", "journal": "transaction_id"}
"""Each with its column of the transaction's ID. An outbox is emptied as it is published."""


def fill(url: str, payments: int, pay: Callable[[], None]) -> None:
    """Until there are so many. `pay` makes the one that the others are copies of."""
    engine = sa.create_engine(url)
    try:
        with engine.connect() as connection:
            there = connection.execute(sa.text("SELECT count(*) FROM transactions")).scalar_one()
        if there >= payments:
            return
        pay()
        with engine.begin() as connection:
            original = connection.execute(
                sa.text("SELECT id FROM transactions WHERE due_at IS NULL LIMIT 1")
            ).scalar_one()
        for first in range(0, payments, CHUNK):
            with engine.begin() as connection:
                connection.execute(sa.text("SET LOCAL synchronous_commit = off"))
                _copy(connection, original, first, min(first + CHUNK, payments))
        with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            for table in TABLES:
                connection.execute(sa.text(f"VACUUM ANALYZE {table}"))
            connection.execute(sa.text("CHECKPOINT"))
    finally:
        engine.dispose()


def _copy(connection: sa.Connection, original: object, first: int, end: int) -> None:
    """The payments of these numbers. Their IDs come in order, as the service's own do."""
    copied = "('01800000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid"
    for table, column in TABLES.items():
        names = [
            name
            for (name,) in connection.execute(
                sa.text(
                    "SELECT column_name FROM information_schema.columns WHERE table_schema = "
                    "'public' AND table_name = :table ORDER BY ordinal_position"
                ),
                {"table": table},
            )
        ]
        own = {
            column: copied,
            "idempotency_key": "'behind-' || n",
            "order_id": "'behind-' || n",
        }
        values = [own.get(name, f"original.{name}") for name in names]
        into = f"INSERT INTO {table} ({', '.join(names)})"
        copies = (
            f"SELECT {', '.join(values)} FROM generate_series(:first, :last) AS n, "  # noqa: S608
            f"{table} AS original WHERE original.{column} = :original"
        )
        connection.execute(
            sa.text(f"{into} {copies}"),
            {"first": first, "last": end - 1, "original": original},
        )
