"""The stock service: articles whose units are held, sold or given back.

A hold is one unit of the article that is the Try's account, whatever the amount: that is what the
unit is kept for, and no business of the stock's. So a Confirm of a part sells the unit as well, and
no money is counted here: the service has tables of its own and no ledger.

A unit that was sold does not come back with the money, so every refund is refused (NO_REFUNDS); a
payment's refund flow never asks for one.

An article's units are counted in its row, and buyers of one article queue for that row: the last
unit is what the service is there to guard. The CHECKs keep it under any isolation level.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from participants.business import NO_REFUNDS, Confirmed, Held, HoldRequest, OpenTry, Refused

STOCK_METADATA = sa.MetaData()

ARTICLES = sa.Table(
    "stock_articles",
    STOCK_METADATA,
    sa.Column("article", sa.Text, primary_key=True),
    sa.Column("stocked", sa.BigInteger, nullable=False),
    sa.Column("on_hand", sa.BigInteger, nullable=False),
    sa.Column("held", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("sold", sa.BigInteger, nullable=False, server_default="0"),
    sa.CheckConstraint(
        "on_hand >= 0 AND held >= 0 AND sold >= 0", name="stock_units_are_not_negative"
    ),
    sa.CheckConstraint("on_hand + held + sold = stocked", name="stock_units_are_conserved"),
)

HOLDS = sa.Table(
    "stock_holds",
    STOCK_METADATA,
    sa.Column("transaction_id", sa.Uuid, primary_key=True),
    sa.Column("phase", sa.Text, primary_key=True),
    sa.Column("article", sa.ForeignKey(ARTICLES.c.article), nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.CheckConstraint("state IN ('OPEN', 'SOLD', 'RELEASED')", name="stock_hold_state_is_known"),
    sa.Index("stock_holds_by_article", "article", "state"),
)

_TOTALS = sa.text(
    """
    SELECT coalesce(sum(stocked), 0) AS stocked, coalesce(sum(on_hand), 0) AS on_hand,
           coalesce(sum(held), 0) AS held, coalesce(sum(sold), 0) AS sold
      FROM stock_articles WHERE CAST(:article AS text) IS NULL OR article = :article
    """
)

_BREAKS = {
    "an article's units do not add up to what was stocked": """
        SELECT article AS what FROM stock_articles WHERE on_hand + held + sold <> stocked
    """,
    "what is held or sold of an article is not what its holds say": """
        SELECT article AS what FROM stock_articles a
         WHERE held <> (SELECT count(*) FROM stock_holds h
                         WHERE h.article = a.article AND state = 'OPEN')
            OR sold <> (SELECT count(*) FROM stock_holds h
                         WHERE h.article = a.article AND state = 'SOLD')
    """,
    "a unit is kept without an open Try or sold without a Confirm, or the reverse": """
        SELECT coalesce(f.transaction_id, h.transaction_id) || ' '
               || coalesce(f.phase, h.phase) AS what
          FROM (SELECT transaction_id, phase,
                       CASE WHEN status = 'CONFIRMED' THEN 'SOLD' ELSE 'OPEN' END AS state
                  FROM participant_fence
                 WHERE status IN ('HELD', 'PENDING', 'CONFIRM_REFUSED', 'CONFIRMED')) f
          FULL JOIN (SELECT transaction_id, phase, state FROM stock_holds
                      WHERE state <> 'RELEASED') h
            ON f.transaction_id = h.transaction_id AND f.phase = h.phase
         WHERE f.state IS DISTINCT FROM h.state
    """,
}


class NoUnit(Exception):
    """There is no unit kept: the fence let something through that it must not."""


class Stock:
    """The `Business` of articles. A hold is one unit."""

    def prepare(self, connection: sa.Connection, seeds: Mapping[str, int]) -> None:
        """Adds the articles of `seeds` with so many units on hand, each once."""
        for article, units in seeds.items():
            connection.execute(
                pg.insert(ARTICLES)
                .values(article=article, stocked=units, on_hand=units)
                .on_conflict_do_nothing()
            )

    def hold(self, connection: sa.Connection, request: HoldRequest) -> Held | Refused:
        """Keeps a unit of the article. Refuses with UNKNOWN_ARTICLE or OUT_OF_STOCK.

        Every refund is refused with NO_REFUNDS.
        """
        if request.refund_of is not None:
            return Refused(NO_REFUNDS, "An article that was sold is not taken back by a refund.")
        article = request.account
        if not _move(connection, article, "on_hand", "held"):
            known = sa.select(ARTICLES.c.article).where(ARTICLES.c.article == article)
            if connection.execute(known).first() is None:
                return Refused("UNKNOWN_ARTICLE", "There is no article of this name.")
            return Refused("OUT_OF_STOCK", "The article is sold out or kept for somebody else.")
        connection.execute(
            sa.insert(HOLDS).values(
                transaction_id=request.transaction_id,
                phase=request.phase,
                article=article,
                state="OPEN",
            )
        )
        return Held(reference=f"stk_{request.transaction_id.hex[:16]}")

    def confirm(self, connection: sa.Connection, held: OpenTry, final_minor: int) -> Confirmed:
        """Sells the unit, for however much of the amount it is."""
        del final_minor
        _close(connection, held, "SOLD", to="sold")
        return Confirmed()

    def cancel(self, connection: sa.Connection, held: OpenTry) -> None:
        """Puts the unit back on the shelf."""
        _close(connection, held, "RELEASED", to="on_hand")


@dataclass(frozen=True, slots=True)
class StockTotals:
    """Units of everything, or of one article: on_hand + held + sold = stocked."""

    stocked: int
    on_hand: int
    held: int
    sold: int


def stock_totals(engine: sa.Engine, article: str | None = None) -> StockTotals:
    """The units of every article together, or of one."""
    with engine.connect() as connection:
        row = connection.execute(_TOTALS, {"article": article}).mappings().one()
    return StockTotals(**{name: int(value) for name, value in row.items()})


def stock_breaks(engine: sa.Engine) -> list[str]:
    """What is wrong with the stock's books, one sentence each; empty when all is well."""
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        return [
            f"{sentence}: {row.what}"
            for sentence, query in _BREAKS.items()
            for row in connection.execute(sa.text(query))
        ]


def _move(connection: sa.Connection, article: str, source: str, to: str) -> bool:
    """Moves one unit of the article; False where there is none to move."""
    moved = connection.execute(
        sa.update(ARTICLES)
        .where(ARTICLES.c.article == article, ARTICLES.c[source] > 0)
        .values({source: ARTICLES.c[source] - 1, to: ARTICLES.c[to] + 1})
    )
    return moved.rowcount == 1


def _close(connection: sa.Connection, held: OpenTry, state: str, *, to: str) -> None:
    article = connection.execute(
        sa.update(HOLDS)
        .where(_is_open(held.transaction_id, held.phase))
        .values(state=state)
        .returning(HOLDS.c.article)
    ).scalar_one_or_none()
    if article is None or not _move(connection, article, "held", to):
        raise NoUnit(f"{held.transaction_id} keeps no unit in {held.phase}")


def _is_open(transaction_id: UUID, phase: str) -> sa.ColumnElement[bool]:
    return sa.and_(
        HOLDS.c.transaction_id == transaction_id, HOLDS.c.phase == phase, HOLDS.c.state == "OPEN"
    )
