"""Random sequences of requests against a tiny model of the fence, over a real database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import sqlalchemy as sa
from google.protobuf.message import Message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kessai.participant.v1 import participant_pb2 as pb

from participants import world
from participants.card import CARD_METADATA, Card, decide
from participants.database import create_tables, in_transaction, make_engine
from participants.errors import FenceError
from participants.fence import Fence
from participants.fence_table import FENCE_METADATA
from participants.ledger import LEDGER_METADATA
from participants.points import Points
from participants.totals import ledger_breaks, ledger_totals

WALLET_MINOR = 250
TOKENS = ("tok_ok", "tok_declined", "tok_capture_declined", "tok_customer_action")


@dataclass
class Known:
    """What the model knows of one transaction."""

    status: str = "UNKNOWN_TRANSACTION"
    tried: tuple[str, int] | None = None
    capture_refused: bool = False
    confirmed_minor: int = 0
    first_try: bytes = b""
    first_confirm: bytes = b""
    first_cancel: bytes = b""


class Model:
    """The fence in twenty lines, for one account's free amount."""

    def __init__(self, free_minor: int | None) -> None:
        self.free_minor = free_minor
        self.known = [Known() for _ in range(3)]
        self.confirmed_minor = 0

    @property
    def open(self) -> list[Known]:
        return [k for k in self.known if k.status in {"HELD", "PENDING"} or k.capture_refused]

    @property
    def open_minor(self) -> int:
        return sum(k.tried[1] for k in self.open if k.tried)

    def try_(self, known: Known, account: str, amount: int) -> str:
        if known.tried and known.tried != (account, amount):
            return "DIFFERENT_REQUEST"
        if known.tried or known.status == "CANCELLED":
            known.tried = (account, amount)
            return "CANCELLED" if known.status == "CANCELLED" else "as before"
        too_much = self.free_minor is not None and amount > self._free()
        known.tried = (account, amount)
        if account == "tok_declined" or too_much:
            known.status = "REFUSED"
        else:
            known.status = "PENDING" if account == "tok_customer_action" else "HELD"
        return known.status

    def confirm(self, known: Known, amount: int) -> str:
        if known.first_confirm:
            return "as before" if known.confirmed_minor == amount else "DIFFERENT_REQUEST"
        if known.status == "CANCELLED":
            return "ALREADY_CANCELLED"
        if known.status != "HELD" or not known.tried:
            return "NOT_HELD"
        if amount > known.tried[1]:
            return "MORE_THAN_HELD"
        known.confirmed_minor = amount
        if known.tried[0] == "tok_capture_declined":
            known.status, known.capture_refused = "REFUSED", True
        else:
            known.status = "CONFIRMED"
            self.confirmed_minor += amount
        return known.status

    def cancel(self, known: Known) -> str:
        if known.status == "CONFIRMED":
            return "ALREADY_CONFIRMED"
        before, known.status, known.capture_refused = known.status, "CANCELLED", False
        return "as before" if before == "CANCELLED" else "CANCELLED"

    def _free(self) -> int:
        assert self.free_minor is not None
        return self.free_minor - self.open_minor - self.confirmed_minor


Step = tuple[str, int, int, int]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["try", "try", "confirm", "cancel", "query", "decide"]),
        st.integers(0, 2),
        st.sampled_from([100, 100, 100, 101]),
        st.sampled_from([0, 0, 0, 1, 2, 3]),
    ),
    max_size=25,
)


@pytest.fixture(scope="module")
def engines() -> Iterator[dict[str, sa.Engine]]:
    engines: dict[str, sa.Engine] = {}
    yield engines
    for engine in engines.values():
        engine.dispose()


def _engine(engines: dict[str, sa.Engine], name: str, url: Callable[[], str]) -> sa.Engine:
    if name not in engines:
        engines[name] = make_engine(url())
        create_tables(engines[name], FENCE_METADATA, LEDGER_METADATA, CARD_METADATA)
    return engines[name]


def _ask(work: Callable[[Any], Any], request: Message) -> tuple[str, bytes]:
    try:
        response = work(request)
    except FenceError as error:
        return error.reason, b""
    told = pb.Status.Name(response.answer.status).removeprefix("STATUS_")
    return told, response.SerializeToString()


def _expect(seen: tuple[str, bytes], wanted: str, first: bytes) -> bytes:
    """The bytes of the first answer; fails unless `seen` is what the model wants."""
    if wanted == "as before":
        assert seen[1] == first
        return first
    assert seen[0] == wanted
    return first or seen[1]


def _run(fence: Fence, engine: sa.Engine, model: Model, accounts: list[str], steps: Any) -> None:
    names = [world.new_transaction_id() for _ in model.known]
    start = ledger_totals(engine)
    for operation, index, amount, chosen in steps:
        known, name, account = model.known[index], names[index], accounts[chosen]
        money = pb.Money(currency_code="JPY", minor_units=amount)
        match operation:
            case "try":
                seen = _ask(
                    fence.try_,
                    pb.TryRequest(transaction_id=name, phase="p", amount=money, account=account),
                )
                wanted = model.try_(known, account.partition("/")[0], amount)
                first = _expect(seen, wanted, known.first_try)
                known.first_try = known.first_try if wanted == "CANCELLED" else first
            case "confirm":
                request = pb.ConfirmRequest(transaction_id=name, phase="p", amount=money)
                seen = _ask(fence.confirm, request)
                known.first_confirm = _expect(
                    seen, model.confirm(known, amount), known.first_confirm
                )
            case "cancel":
                seen = _ask(fence.cancel, pb.CancelRequest(transaction_id=name, phase="p"))
                known.first_cancel = _expect(seen, model.cancel(known), known.first_cancel)
            case "decide" if known.status == "PENDING":
                decide(fence, name, "p", approve=True)
                known.status = "HELD"
        seen = _ask(fence.query, pb.QueryRequest(transaction_id=name, phase="p"))
        assert seen[0] == known.status
        _check_books(engine, start, model)
    # The next example starts from a clean table.
    for name in names:
        _ask(fence.cancel, pb.CancelRequest(transaction_id=name, phase="p"))


def _check_books(engine: sa.Engine, start: Any, model: Model) -> None:
    now = ledger_totals(engine)
    assert now.postings_minor == 0
    assert now.open_holds == len(model.open)
    assert now.open_holds_minor == model.open_minor
    assert now.confirmed_minor - start.confirmed_minor == model.confirmed_minor
    assert ledger_breaks(engine) == []


RANDOM = settings(
    max_examples=40,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@RANDOM
@given(steps=STEPS)
def test_any_sequence_of_requests_to_the_card_service_fits_the_model(
    steps: list[Step], engines: dict[str, sa.Engine], new_database: Callable[[], str]
) -> None:
    engine = _engine(engines, "card", new_database)
    card = Card(customer_action_s=None)
    in_transaction(engine, lambda connection: card.prepare(connection, {}))
    _run(Fence(engine, card), engine, Model(None), list(TOKENS), steps)


@RANDOM
@given(steps=STEPS)
def test_any_sequence_of_requests_to_the_points_service_fits_the_model(
    steps: list[Step], engines: dict[str, sa.Engine], new_database: Callable[[], str]
) -> None:
    engine = _engine(engines, "points", new_database)
    wallet = world.new_transaction_id()
    points = Points()
    in_transaction(engine, lambda connection: points.prepare(connection, {wallet: WALLET_MINOR}))
    steps = [(operation, index, amount, 0) for operation, index, amount, _ in steps]
    _run(Fence(engine, points), engine, Model(WALLET_MINOR), [wallet], steps)


@dataclass
class Refund:
    """What the model knows of one refund."""

    status: str = "UNKNOWN_TRANSACTION"
    tried: tuple[int, int] | None = None
    confirmed_minor: int = 0

    @property
    def counts_minor(self) -> int:
        """What it takes of its payment."""
        if self.status == "CONFIRMED":
            return self.confirmed_minor
        return self.tried[1] if self.tried and self.status == "HELD" else 0


PAID_MINOR = (0, 100, 150)  # the first payment stays a hold


def _refund_step(known: Refund, others: list[Refund], step: tuple[str, int, int]) -> str:
    """What the model wants the fence to say, and how the refund stands then."""
    operation, payment, amount = step
    if operation == "cancel":
        known.status = known.status if known.status == "CONFIRMED" else "CANCELLED"
        return "ALREADY_CONFIRMED" if known.status == "CONFIRMED" else "CANCELLED"
    if operation == "confirm":
        if known.status == "CONFIRMED":
            return "CONFIRMED" if known.confirmed_minor == amount else "DIFFERENT_REQUEST"
        if known.status != "HELD" or not known.tried:
            return "ALREADY_CANCELLED" if known.status == "CANCELLED" else "NOT_HELD"
        if amount > known.tried[1]:
            return "MORE_THAN_HELD"
        known.status, known.confirmed_minor = "CONFIRMED", amount
        return "CONFIRMED"
    if known.tried and known.tried != (payment, amount):
        return "DIFFERENT_REQUEST"
    again, known.tried = known.tried is not None, (payment, amount)
    if again and known.status == "CONFIRMED":
        return "HELD"  # the first Try's answer
    if not again and known.status != "CANCELLED":
        taken = sum(o.counts_minor for o in others if o.tried and o.tried[0] == payment)
        fits = PAID_MINOR[payment] and taken + amount <= PAID_MINOR[payment]
        known.status = "HELD" if fits else "REFUSED"
    return known.status


@RANDOM
@given(
    steps=st.lists(
        st.tuples(
            st.integers(0, 4),
            st.sampled_from(["try", "try", "confirm", "cancel"]),
            st.integers(0, 2),
            st.sampled_from([50, 50, 60, 100]),
        ),
        max_size=25,
    )
)
def test_any_sequence_of_refunds_fits_the_model(
    steps: list[tuple[int, str, int, int]],
    engines: dict[str, sa.Engine],
    new_database: Callable[[], str],
) -> None:
    engine, wallet = _engine(engines, "refunds", new_database), world.new_transaction_id()
    in_transaction(engine, lambda connection: Points().prepare(connection, {wallet: 400}))
    fence, start = Fence(engine, Points()), ledger_totals(engine)
    payments, names = ([world.new_transaction_id() for _ in range(n)] for n in (3, 5))
    named: dict[str, Any]
    for transaction_id, paid in zip(payments, PAID_MINOR, strict=True):
        named = {"transaction_id": transaction_id, "phase": "p"}
        money = pb.Money(currency_code="JPY", minor_units=paid or 120)
        fence.try_(pb.TryRequest(**named, amount=money, account=wallet))
        if paid:
            fence.confirm(pb.ConfirmRequest(**named, amount=money))
    refunds = [Refund() for _ in names]
    for index, operation, payment, amount in steps:
        known = refunds[index]
        wanted = _refund_step(known, refunds, (operation, payment, amount))
        money = pb.Money(currency_code="JPY", minor_units=amount)
        named = {"transaction_id": names[index], "phase": "r"}
        original = pb.OriginalStep(transaction_id=payments[payment], phase="p")
        asked: dict[str, tuple[Callable[[Any], Any], Message]] = {
            "try": (fence.try_, pb.TryRequest(**named, amount=money, refund_of=original)),
            "confirm": (fence.confirm, pb.ConfirmRequest(**named, amount=money)),
            "cancel": (fence.cancel, pb.CancelRequest(**named)),
        }
        assert _ask(*asked[operation])[0] == wanted
        assert _ask(fence.query, pb.QueryRequest(**named))[0] == known.status
        now = ledger_totals(engine)
        assert now.refunded_minor - start.refunded_minor == sum(r.confirmed_minor for r in refunds)
        assert ledger_breaks(engine) == []
    for name in (*names, payments[0]):
        phase = "p" if name == payments[0] else "r"
        _ask(fence.cancel, pb.CancelRequest(transaction_id=name, phase=phase))
