"""The stock service over a real database: the last unit, many buyers, and units that come back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
import sqlalchemy as sa
from kessai.participant.v1 import participant_pb2 as pb

from participants import world
from participants.database import create_tables, in_transaction, make_engine
from participants.errors import AlreadyCancelled, AlreadyConfirmed
from participants.fence import Fence
from participants.fence_table import FENCE_METADATA
from participants.stock import ARTICLES, STOCK_METADATA, Stock, stock_breaks, stock_totals

ROUNDS = 100
SEEDS = {"lamp": 3, "gone": 0, **{f"last-{number}": 1 for number in range(ROUNDS)}}


@pytest.fixture
def engine(new_database: Callable[[], str]) -> Iterator[sa.Engine]:
    engine = make_engine(new_database(), connections=16)
    create_tables(engine, FENCE_METADATA, STOCK_METADATA)
    with engine.begin() as connection:
        Stock().prepare(connection, SEEDS)
    yield engine
    assert stock_breaks(engine) == []
    engine.dispose()


@pytest.fixture
def fence(engine: sa.Engine) -> Fence:
    return Fence(engine, Stock())


def yen(amount_minor: int = 1_000) -> pb.Money:
    return pb.Money(currency_code="JPY", minor_units=amount_minor)


def hold(fence: Fence, one: str, article: str) -> pb.Answer:
    request = pb.TryRequest(transaction_id=one, phase="p", amount=yen(), account=article)
    return fence.try_(request).answer


def confirm(fence: Fence, one: str, amount_minor: int = 1_000) -> pb.Answer:
    request = pb.ConfirmRequest(transaction_id=one, phase="p", amount=yen(amount_minor))
    return fence.confirm(request).answer


def cancel(fence: Fence, one: str) -> pb.Answer:
    return fence.cancel(pb.CancelRequest(transaction_id=one, phase="p")).answer


def told(answer: pb.Answer) -> str:
    return answer.refusal.code or pb.Status.Name(answer.status).removeprefix("STATUS_")


def units(engine: sa.Engine, article: str = "lamp") -> tuple[int, int, int]:
    """On hand, held, sold; what was stocked is what they add up to."""
    totals = stock_totals(engine, article)
    assert totals.on_hand + totals.held + totals.sold == totals.stocked
    return totals.on_hand, totals.held, totals.sold


@pytest.mark.parametrize("buyers", [2, 8])
def test_of_buyers_at_once_exactly_one_gets_the_last_unit(
    fence: Fence, engine: sa.Engine, buyers: int
) -> None:
    for number in range(ROUNDS):
        article, together = f"last-{number}", Barrier(buyers)

        def buy(_number: int, article: str = article, together: Barrier = together) -> str:
            one = world.new_transaction_id()
            together.wait(30)
            answer = told(hold(fence, one, article))
            if answer == "HELD":
                confirm(fence, one)
            return answer

        with ThreadPoolExecutor(buyers) as pool:
            answers = sorted(pool.map(buy, range(buyers)))
        assert answers == ["HELD", *["OUT_OF_STOCK"] * (buyers - 1)], article
        assert units(engine, article) == (0, 0, 1)


def test_of_two_buyers_who_come_and_go_one_keeps_the_last_unit_at_any_time(
    fence: Fence, engine: sa.Engine
) -> None:
    def come_and_go(_buyer: int) -> int:
        held = 0
        for _ in range(ROUNDS):
            one = world.new_transaction_id()
            held += told(hold(fence, one, "last-0")) == "HELD"
            cancel(fence, one)
        return held

    with ThreadPoolExecutor(4) as pool:
        held = sum(pool.map(come_and_go, range(4)))
    assert held >= 1
    assert units(engine, "last-0") == (1, 0, 0)


def test_a_refusal_says_why_and_keeps_no_unit(fence: Fence, engine: sa.Engine) -> None:
    for article, code in (("nothing", "UNKNOWN_ARTICLE"), ("gone", "OUT_OF_STOCK")):
        answer = hold(fence, world.new_transaction_id(), article)
        assert told(answer) == code
        assert answer.refusal.reason.endswith(".")
    assert stock_totals(engine).held == 0


def test_a_unit_is_kept_once_then_sold_or_given_back(fence: Fence, engine: sa.Engine) -> None:
    sold, returned = world.new_transaction_id(), world.new_transaction_id()
    for one in (sold, returned, sold, returned):
        assert told(hold(fence, one, "lamp")) == "HELD"
    assert units(engine) == (1, 2, 0)
    for _ in range(2):
        assert told(confirm(fence, sold)) == "CONFIRMED"
        assert told(cancel(fence, returned)) == "CANCELLED"
    assert units(engine) == (2, 0, 1)
    with pytest.raises(AlreadyConfirmed):
        cancel(fence, sold)
    with pytest.raises(AlreadyCancelled):
        confirm(fence, returned)
    assert units(engine) == (2, 0, 1)


def test_a_try_after_its_cancel_keeps_no_unit(fence: Fence, engine: sa.Engine) -> None:
    one = world.new_transaction_id()
    cancel(fence, one)
    assert told(hold(fence, one, "lamp")) == "CANCELLED"
    assert units(engine) == (3, 0, 0)


def test_a_confirm_of_a_part_sells_the_whole_unit(fence: Fence, engine: sa.Engine) -> None:
    one = world.new_transaction_id()
    hold(fence, one, "lamp")
    answer = confirm(fence, one, 1)
    assert (answer.amount, answer.confirmed) == (yen(), yen(1))
    assert units(engine) == (2, 0, 1)


def test_a_refund_is_refused_and_the_unit_stays_sold(fence: Fence, engine: sa.Engine) -> None:
    one, refund = world.new_transaction_id(), world.new_transaction_id()
    hold(fence, one, "lamp")
    confirm(fence, one)
    step = pb.OriginalStep(transaction_id=one, phase="p")
    request = pb.TryRequest(transaction_id=refund, phase="r", amount=yen(), refund_of=step)
    assert told(fence.try_(request).answer) == "NO_REFUNDS"
    cancel(fence, refund)
    assert units(engine) == (2, 0, 1)


def test_an_article_is_stocked_once_however_often_the_service_starts(engine: sa.Engine) -> None:
    in_transaction(engine, lambda connection: Stock().prepare(connection, {"lamp": 99}))
    assert units(engine) == (3, 0, 0)


def test_the_database_itself_refuses_units_that_come_from_nowhere(engine: sa.Engine) -> None:
    for change, constraint in (
        ({"on_hand": 4}, "stock_units_are_conserved"),
        ({"on_hand": -1, "sold": 4}, "stock_units_are_not_negative"),
    ):
        update = sa.update(ARTICLES).where(ARTICLES.c.article == "lamp").values(**change)
        with pytest.raises(sa.exc.IntegrityError, match=constraint), engine.begin() as connection:
            connection.execute(update)


def test_books_that_are_wrong_are_told(fence: Fence, engine: sa.Engine) -> None:
    hold(fence, world.new_transaction_id(), "lamp")
    lost = sa.update(ARTICLES).where(ARTICLES.c.article == "lamp").values(on_hand=3, held=0)
    with engine.begin() as connection:
        connection.execute(lost)
    assert [what.split(": ")[1] for what in stock_breaks(engine)] == ["lamp"]
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE stock_holds SET state = 'RELEASED'"))
    [told_of] = stock_breaks(engine)
    assert told_of.startswith("a unit is kept without an open Try or sold without a Confirm")
    with engine.begin() as connection:
        connection.execute(lost.values(on_hand=2, held=1))
        connection.execute(sa.text("UPDATE stock_holds SET state = 'OPEN'"))
