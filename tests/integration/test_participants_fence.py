from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa
from kessai.participant.v1 import participant_pb2 as pb

from participants import ledger, world
from participants.business import Confirmed, Held, HoldRequest, OpenTry, Refused
from participants.card import CARD_METADATA, Card, decide
from participants.database import create_tables, in_transaction, make_engine
from participants.errors import (
    AlreadyCancelled,
    AlreadyConfirmed,
    DifferentRequest,
    NotHeld,
    StoreUnavailable,
)
from participants.fence import Fence
from participants.fence_table import FENCE_METADATA
from participants.ledger import LEDGER_METADATA
from participants.points import Points
from participants.totals import ledger_breaks, ledger_totals


@pytest.fixture
def engine(new_database: Callable[[], str]) -> Iterator[sa.Engine]:
    engine = make_engine(new_database(), connections=24)
    create_tables(engine, FENCE_METADATA, LEDGER_METADATA, CARD_METADATA)
    for business, seeds in ((Points(), {"alice": 1_000}), (Card(), {})):
        in_transaction(engine, lambda c, b=business, s=seeds: b.prepare(c, s))  # type: ignore[misc]
    yield engine
    assert ledger_breaks(engine) == []
    assert ledger_totals(engine).postings_minor == 0
    engine.dispose()


def try_request(
    transaction_id: str, account: str = "alice", amount_minor: int = 600
) -> pb.TryRequest:
    amount = pb.Money(currency_code="JPY", minor_units=amount_minor)
    return pb.TryRequest(
        transaction_id=transaction_id, phase="phase", amount=amount, account=account
    )


def confirm_request(transaction_id: str, amount_minor: int = 600) -> pb.ConfirmRequest:
    amount = pb.Money(currency_code="JPY", minor_units=amount_minor)
    return pb.ConfirmRequest(transaction_id=transaction_id, phase="phase", amount=amount)


def cancel_request(transaction_id: str) -> pb.CancelRequest:
    return pb.CancelRequest(transaction_id=transaction_id, phase="phase")


def status(fence: Fence, transaction_id: str) -> str:
    request = pb.QueryRequest(transaction_id=transaction_id, phase="phase")
    return pb.Status.Name(fence.query(request).answer.status).removeprefix("STATUS_")


def test_twenty_identical_trys_at_once_hold_once(engine: sa.Engine) -> None:
    fence, request = Fence(engine, Points()), try_request(world.new_transaction_id())
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(fence.try_, [request] * 20))
    assert {answer.SerializeToString() for answer in answers} == {answers[0].SerializeToString()}
    assert ledger_totals(engine).open_holds_minor == 600


def test_different_trys_at_once_never_take_more_than_there_is(engine: sa.Engine) -> None:
    fence = Fence(engine, Points())
    requests = [try_request(world.new_transaction_id(), amount_minor=90) for _ in range(20)]
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(fence.try_, requests))
    held = [a for a in answers if a.answer.status == pb.STATUS_HELD]
    refused = [a.answer.refusal for a in answers if a.answer.status == pb.STATUS_REFUSED]
    assert (len(held), len(refused)) == (11, 9)
    assert refused[0].code == "INSUFFICIENT_POINTS"
    assert refused[0].reason == "The wallet has 10 points to spend; this payment takes 90."


def test_try_and_cancel_at_once_hold_nothing_in_the_end(engine: sa.Engine) -> None:
    fence = Fence(engine, Points())
    with ThreadPoolExecutor(8) as pool:
        for _ in range(10):
            one = world.new_transaction_id()
            waits: list[Future[Any]] = [
                *(pool.submit(fence.try_, try_request(one)) for _ in range(4)),
                *(pool.submit(fence.cancel, cancel_request(one)) for _ in range(4)),
            ]
            for wait in waits:
                wait.result()
            assert status(fence, one) == "CANCELLED"
            assert ledger_totals(engine).open_holds == 0


def test_confirm_and_cancel_at_once_have_one_winner(engine: sa.Engine) -> None:
    fence = Fence(engine, Points())
    with ThreadPoolExecutor(2) as pool:
        for _ in range(10):
            one = world.new_transaction_id()
            fence.try_(try_request(one, amount_minor=10))
            waits: list[Future[Any]] = [
                pool.submit(fence.confirm, confirm_request(one, 10)),
                pool.submit(fence.cancel, cancel_request(one)),
            ]
            errors = [error for wait in waits if (error := wait.exception())]
            assert len(errors) == 1
            assert isinstance(errors[0], AlreadyCancelled | AlreadyConfirmed)


def test_a_refused_capture_keeps_its_hold_until_the_cancel(engine: sa.Engine) -> None:
    fence, one = Fence(engine, Card()), world.new_transaction_id()
    fence.try_(try_request(one, "tok_capture_declined-7"))
    first = fence.confirm(confirm_request(one)).answer
    assert first.status == pb.STATUS_REFUSED
    assert first.refusal.code == "CAPTURE_DECLINED"
    assert (status(fence, one), ledger_totals(engine).open_holds) == ("REFUSED", 1)
    assert fence.cancel(cancel_request(one)).answer.status == pb.STATUS_CANCELLED
    assert (status(fence, one), ledger_totals(engine).open_holds) == ("CANCELLED", 0)
    assert fence.confirm(confirm_request(one)).answer == first


def test_the_cancel_of_a_refused_try_moves_nothing(engine: sa.Engine) -> None:
    fence, one = Fence(engine, Card()), world.new_transaction_id()
    refused = fence.try_(try_request(one, "tok_declined"))
    assert refused.answer.refusal.code == "CARD_DECLINED"
    assert fence.cancel(cancel_request(one)).answer.status == pb.STATUS_CANCELLED
    assert fence.try_(try_request(one, "tok_declined")).answer.status == pb.STATUS_CANCELLED


def test_a_late_try_is_remembered_with_its_amount(engine: sa.Engine) -> None:
    fence, one = Fence(engine, Points()), world.new_transaction_id()
    tombstone = fence.cancel(cancel_request(one))
    assert not tombstone.answer.HasField("amount")
    late = fence.try_(try_request(one))
    assert late.answer.status == pb.STATUS_CANCELLED
    assert late.answer.amount.minor_units == 600
    assert fence.cancel(cancel_request(one)) == tombstone
    with pytest.raises(DifferentRequest):
        fence.try_(try_request(one, amount_minor=601))


@pytest.mark.parametrize(("approve", "after"), [(True, "HELD"), (False, "REFUSED")])
def test_a_pending_try_is_decided_once(engine: sa.Engine, approve: bool, after: str) -> None:
    fence, one = Fence(engine, Card(customer_action_s=None)), world.new_transaction_id()
    pending = fence.try_(try_request(one, "tok_customer_action"))
    assert pending.answer.status == pb.STATUS_PENDING
    assert pending.answer.next_action.kind == "redirect"
    with pytest.raises(NotHeld):
        fence.confirm(confirm_request(one))
    decide(fence, one, "phase", approve=approve)
    decide(fence, one, "phase", approve=not approve)
    assert status(fence, one) == after
    assert fence.try_(try_request(one, "tok_customer_action")) == pending
    assert ledger_totals(engine).open_holds == (1 if approve else 0)


def test_a_pending_try_can_be_cancelled_and_stays_so(engine: sa.Engine) -> None:
    fence, one = Fence(engine, Card(customer_action_s=None)), world.new_transaction_id()
    fence.try_(try_request(one, "tok_customer_action"))
    fence.cancel(cancel_request(one))
    assert decide(fence, one, "phase", approve=True).status == pb.STATUS_CANCELLED
    assert ledger_totals(engine).open_holds == 0


def test_deciding_an_unknown_try_is_refused(engine: sa.Engine) -> None:
    with pytest.raises(NotHeld):
        decide(Fence(engine, Card()), world.new_transaction_id(), "phase", approve=True)


class Conflicting(Points):
    """Fails as the database does in a conflict, before its first success."""

    def __init__(self, state: str, times: int) -> None:
        self.state, self.left = state, times

    def hold(self, connection: sa.Connection, request: HoldRequest) -> Held | Refused:
        answer = super().hold(connection, request)
        if self.left:
            self.left -= 1
            raised = f"DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{self.state}'; END $$"
            connection.execute(sa.text(raised))
        return answer


@pytest.mark.parametrize("state", ["40001", "40P01"])
def test_a_conflict_in_the_database_is_tried_again(engine: sa.Engine, state: str) -> None:
    fence, one = Fence(engine, Conflicting(state, times=3)), world.new_transaction_id()
    assert fence.try_(try_request(one)).answer.status == pb.STATUS_HELD
    assert ledger_totals(engine).open_holds == 1


def test_endless_conflicts_end_as_unavailable(engine: sa.Engine) -> None:
    fence, one = Fence(engine, Conflicting("40001", times=99)), world.new_transaction_id()
    with pytest.raises(StoreUnavailable):
        fence.try_(try_request(one))
    assert status(fence, one) == "UNKNOWN_TRANSACTION"


class Failing(Points):
    """Breaks after it has moved money."""

    def confirm(self, connection: sa.Connection, held: OpenTry, final_minor: int) -> Confirmed:
        super().confirm(connection, held, final_minor)
        raise ZeroDivisionError


def test_a_business_that_breaks_leaves_neither_money_nor_answer(engine: sa.Engine) -> None:
    fence, one = Fence(engine, Failing()), world.new_transaction_id()
    fence.try_(try_request(one))
    with pytest.raises(ZeroDivisionError):
        fence.confirm(confirm_request(one))
    assert status(fence, one) == "HELD"
    assert ledger_totals(engine).confirmed == 0
    answer = Fence(engine, Points()).confirm(confirm_request(one)).answer
    assert answer.status == pb.STATUS_CONFIRMED


def test_a_database_that_is_away_is_unavailable() -> None:
    engine = make_engine("postgresql://nobody@127.0.0.1:1/nothing")
    with pytest.raises(StoreUnavailable):
        Fence(engine, Points()).try_(try_request(world.new_transaction_id()))
    with pytest.raises(StoreUnavailable):
        Fence(engine, Points()).create_tables()
    engine.dispose()


def test_no_table_has_the_card_token(engine: sa.Engine) -> None:
    fence, one = Fence(engine, Card()), world.new_transaction_id()
    fence.try_(try_request(one, "tok_ok-secret42"))
    fence.confirm(confirm_request(one))
    with engine.connect() as connection:
        for schema in (FENCE_METADATA, LEDGER_METADATA, CARD_METADATA):
            for table in schema.sorted_tables:
                text = f"SELECT count(*) FROM {table.name} t WHERE t::text LIKE '%secret42%'"
                assert connection.execute(sa.text(text)).scalar_one() == 0
                hexed = b"secret42".hex()
                text = f"SELECT count(*) FROM {table.name} t WHERE t::text LIKE '%{hexed}%'"
                assert connection.execute(sa.text(text)).scalar_one() == 0


def test_an_entry_that_does_not_sum_to_zero_is_refused(engine: sa.Engine) -> None:
    key = ledger.Key(in_transaction(engine, lambda c: c.scalar(sa.func.gen_random_uuid())), "phase")
    with engine.begin() as connection, pytest.raises(ValueError, match="sum to 0"):
        ledger.post(connection, key, "confirm", "JPY", {"card:issuer": -1, "card:captured": 2})


def test_an_operation_is_posted_at_most_once(engine: sa.Engine) -> None:
    key = ledger.Key(in_transaction(engine, lambda c: c.scalar(sa.func.gen_random_uuid())), "phase")

    def post(connection: sa.Connection) -> None:
        postings = {"card:issuer": -1, "card:captured": 1}
        ledger.post(connection, key, "confirm", "JPY", postings)

    with pytest.raises(sa.exc.IntegrityError), engine.begin() as connection:
        _twice(post, connection)


def _twice(work: Callable[[sa.Connection], None], connection: sa.Connection) -> None:
    work(connection)
    work(connection)


def test_a_wallet_cannot_fall_below_zero(engine: sa.Engine) -> None:
    key = ledger.Key(in_transaction(engine, lambda c: c.scalar(sa.func.gen_random_uuid())), "phase")
    postings = {"wallet:alice": -1_001, "points:burned": 1_001}
    with pytest.raises(sa.exc.IntegrityError), engine.begin() as connection:
        ledger.post(connection, key, "confirm", "points", postings)


def test_a_hold_is_used_or_released_only_once(engine: sa.Engine) -> None:
    fence, one = Fence(engine, Points()), world.new_transaction_id()
    fence.try_(try_request(one))
    fence.cancel(cancel_request(one))
    with engine.connect() as connection:
        row = connection.execute(sa.select(ledger.HOLDS)).one()
        with pytest.raises(ledger.NoHold):
            ledger.release_hold(connection, ledger.Key(row.transaction_id, row.phase))


def test_opening_balances_are_paid_once_and_new_accounts_added(engine: sa.Engine) -> None:
    seeds = {"alice": 5_000, "bob": 7}
    for _ in range(2):
        in_transaction(engine, lambda connection: Points().prepare(connection, seeds))
    with engine.connect() as connection:
        alice = ledger.find_account(connection, "wallet:alice")
        bob = ledger.find_account(connection, "wallet:bob")
    assert alice is not None
    assert bob is not None
    assert (alice.balance_minor, bob.balance_minor) == (1_000, 7)


def test_broken_books_are_named(engine: sa.Engine) -> None:
    fence, one = Fence(engine, Points()), world.new_transaction_id()
    fence.try_(try_request(one))
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE ledger_accounts SET held_minor = 1 WHERE guarded"))
        connection.execute(sa.text("DELETE FROM participant_fence"))
    breaks = ledger_breaks(engine)
    assert breaks == [
        "what is held is not the sum of the open holds: wallet:alice",
        f"an open hold without an open Try, or the reverse: {one} phase",
    ]
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE ledger_accounts SET held_minor = 0 WHERE guarded"))
        connection.execute(sa.text("DELETE FROM ledger_holds"))
