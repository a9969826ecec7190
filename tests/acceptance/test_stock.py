"""One unit left, two buyers, real processes: exactly one pays, and what nobody pays comes back."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from kessai.payments.v1 import payments_pb2 as pb

from coordinator.cli.client import Client
from coordinator.cli.ledgers import Ledgers
from coordinator.cli.show import state_name
from coordinator.cli.stack import LEDGERS, Plan, Stack
from coordinator.cli.up import OPTIONS
from participants.database import make_engine
from participants.stock import StockTotals, stock_breaks, stock_totals

ROUNDS = 20
BUYERS = ("alice", "carol")
ARTICLES = ("basket", "killed", "part", *(f"last-{number}" for number in range(ROUNDS)))
"""One unit of each."""


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    settings = {"KESSAI_LEASE_S": "3", "KESSAI_RECOVER_INTERVAL_S": "0.3"}
    options = {
        **OPTIONS,
        "points": [f"--seed={buyer}=1000000" for buyer in BUYERS],
        "stock": [f"--seed={article}=1" for article in ARTICLES],
    }
    with (
        tempfile.TemporaryDirectory(prefix="kessai-stock-", dir="/tmp") as folder,
        Stack(Plan(Path(folder) / "stack", options=options, settings=settings)) as running,
    ):
        yield running


@pytest.fixture
def client(stack: Stack) -> Iterator[Client]:
    with Client(stack.address, stack.keys.api_key, 60.0) as made:
        yield made


@pytest.fixture
def shelf(stack: Stack) -> Iterator[sa.Engine]:
    """The stock's own books; whatever was done, they are in order, and money in = money out."""
    engine = make_engine(stack.database_urls["stock"])
    yield engine
    assert stock_breaks(engine) == []
    engine.dispose()
    with Ledgers({name: stack.database_urls[name] for name in LEDGERS}) as ledgers:
        books = ledgers.books()
    assert set(map(tuple, books.breaks.values())) == {()}
    net = {name: totals.net_minor for name, totals in books.totals.items()}
    assert net["points"] + net["card"] == net["merchant"]


def yen(minor_units: int) -> pb.Money:
    return pb.Money(currency_code="JPY", minor_units=minor_units)


def order(key: str, article: str, buyer: str = "alice") -> pb.CreatePaymentRequest:
    return pb.CreatePaymentRequest(
        idempotency_key=key,
        flow="stock_points_and_card",
        amount=yen(1_000),
        tenders=[
            pb.Tender(method="points_reserve", source=buyer, amount=yen(600)),
            pb.Tender(method="card_charge", source="tok_ok", amount=yen(400)),
        ],
        items=[pb.Item(phase="stock_reserve", item_id=article)],
        merchant_id="shop-1",
    )


def basket(key: str, article: str, lasting_s: float) -> pb.CreatePaymentRequest:
    """An order that somebody has to capture within that time."""
    asked = order(key, article)
    asked.capture = pb.CAPTURE_MODE_MANUAL
    asked.reserve_for.FromTimedelta(timedelta(seconds=lasting_s))
    return asked


def settled(client: Client, payment: pb.Payment) -> tuple[str, str]:
    """How the payment ended: its state, and why if it failed."""
    ended = list(client.watch(payment.payment_id))[-1]
    return state_name(ended), ended.failure.code


def test_of_two_buyers_of_the_last_unit_exactly_one_pays_and_the_other_has_its_points_back(
    stack: Stack, shelf: sa.Engine
) -> None:
    for number in range(ROUNDS):
        article, together = f"last-{number}", threading.Barrier(len(BUYERS))

        def buy(
            buyer: str, article: str = article, together: threading.Barrier = together
        ) -> tuple[tuple[str, str], str]:
            with Client(stack.address, stack.keys.api_key, 60.0) as shop:
                together.wait(30)
                payment = shop.create(order(f"{article}-{buyer}", article, buyer)).payment
                return settled(shop, payment), payment.payment_id

        with ThreadPoolExecutor(len(BUYERS)) as pool:
            ends = dict(pool.map(buy, BUYERS))
        assert sorted(ends) == [("FAILED", "OUT_OF_STOCK"), ("PAID", "")], article
        winner, loser = ends["PAID", ""], ends["FAILED", "OUT_OF_STOCK"]
        with Ledgers({name: stack.database_urls[name] for name in LEDGERS}) as ledgers:
            for name, minor in (("points", 600), ("card", 400), ("merchant", 1_000)):
                assert ledgers.effect(name, winner).confirmed_minor == minor
                lost = ledgers.effect(name, loser)
                assert (lost.confirms, lost.holds_open) == (0, 0), f"{name} of {article}"
        assert stock_totals(shelf, article) == StockTotals(stocked=1, on_hand=0, held=0, sold=1)


def test_an_abandoned_basket_gives_its_unit_back_to_the_next_buyer(
    client: Client, shelf: sa.Engine
) -> None:
    abandoned = client.create(basket("abandoned", "basket", 3.0)).payment
    assert state_name(abandoned) == "RESERVED"
    assert stock_totals(shelf, "basket").held == 1
    early = client.create(order("early", "basket", "carol")).payment
    assert settled(client, early) == ("FAILED", "OUT_OF_STOCK")
    assert settled(client, abandoned) == ("FAILED", "RESERVATION_EXPIRED")
    assert stock_totals(shelf, "basket").on_hand == 1
    patient = client.create(order("patient", "basket", "carol")).payment
    assert settled(client, patient) == ("PAID", "")
    assert stock_totals(shelf, "basket").sold == 1


def test_a_basket_whose_coordinator_is_killed_gives_its_unit_back_as_well(
    stack: Stack, client: Client, shelf: sa.Engine
) -> None:
    abandoned = client.create(basket("killed", "killed", 2.0)).payment
    assert state_name(abandoned) == "RESERVED"
    stack.children["coordinator"].kill()
    stack.restart("coordinator")
    with Client(stack.address, stack.keys.api_key, 60.0) as again:
        assert settled(again, abandoned) == ("FAILED", "RESERVATION_EXPIRED")
    assert stock_totals(shelf, "killed").on_hand == 1


def test_a_part_that_is_captured_sells_the_unit_and_its_refund_leaves_it_sold(
    client: Client, shelf: sa.Engine
) -> None:
    reserved = client.create(basket("part", "part", 60.0)).payment
    client.capture(
        pb.CapturePaymentRequest(
            payment_id=reserved.payment_id, idempotency_key="part-1", amount=yen(700)
        )
    )
    assert settled(client, reserved) == ("PAID", "")
    assert stock_totals(shelf, "part").sold == 1
    client.refund(
        pb.CreateRefundRequest(payment_id=reserved.payment_id, idempotency_key="part-refund")
    )
    # A settled payment's watch ends at once, so the refund is what is followed.
    [refund] = client.refunds(reserved.payment_id)
    assert settled_refund(client, refund) == "REFUND_STATE_SUCCEEDED"
    assert stock_totals(shelf, "part").sold == 1


def settled_refund(client: Client, refund: pb.Refund) -> str:
    """How the refund ended."""
    ended = list(client.watch_refund(refund.refund_id))[-1]
    return pb.RefundState.Name(ended.state)
