"""Confirms of less, and refunds, over a real database and many threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from kessai.participant.v1 import participant_pb2 as pb

from participants import ledger, world
from participants.business import Business, Held, HoldRequest, OpenTry, Pending, Refused, TryOutcome
from participants.card import CARD_METADATA, Card, decide
from participants.database import create_tables, in_transaction, make_engine
from participants.errors import AlreadyConfirmed, DifferentRequest, MoreThanHeld
from participants.fence import Fence
from participants.fence_table import FENCE, FENCE_METADATA
from participants.ledger import LEDGER_METADATA
from participants.merchant import Merchant, pay_out
from participants.points import Points
from participants.totals import LedgerTotals, ledger_breaks, ledger_totals

ACCOUNTS = {"points": "alice", "card": "tok_limit_1000-1", "merchant": "shop"}


@pytest.fixture
def engine(new_database: Callable[[], str]) -> Iterator[sa.Engine]:
    engine = make_engine(new_database(), connections=24)
    create_tables(engine, FENCE_METADATA, LEDGER_METADATA, CARD_METADATA)
    with engine.begin() as connection:
        Points().prepare(connection, {"alice": 1_000})
        Card().prepare(connection, {})
        Merchant().prepare(connection, {"shop": 0})
    yield engine
    assert ledger_breaks(engine) == []
    assert ledger_totals(engine).postings_minor == 0
    engine.dispose()


@pytest.fixture(params=["points", "card", "merchant"])
def service(request: pytest.FixtureRequest, engine: sa.Engine) -> tuple[Fence, str]:
    """Each of the services, and an account of its own."""
    made: dict[str, Business] = {
        "points": Points(),
        "card": Card(customer_action_s=None),
        "merchant": Merchant(),
    }
    return Fence(engine, made[request.param]), ACCOUNTS[request.param]


def money(amount_minor: int, currency_code: str = "JPY") -> pb.Money:
    return pb.Money(currency_code=currency_code, minor_units=amount_minor)


def hold(fence: Fence, one: str, account: str, amount_minor: int) -> pb.Answer:
    request = pb.TryRequest(
        transaction_id=one, phase="pay", amount=money(amount_minor), account=account
    )
    return fence.try_(request).answer


def confirm(fence: Fence, one: str, amount_minor: int, phase: str = "pay") -> pb.Answer:
    request = pb.ConfirmRequest(transaction_id=one, phase=phase, amount=money(amount_minor))
    return fence.confirm(request).answer


def cancel(fence: Fence, one: str, phase: str = "pay") -> pb.Answer:
    return fence.cancel(pb.CancelRequest(transaction_id=one, phase=phase)).answer


def pay(fence: Fence, account: str, amount_minor: int, final_minor: int | None = None) -> str:
    """A confirmed payment."""
    one = world.new_transaction_id()
    assert hold(fence, one, account, amount_minor).status == pb.STATUS_HELD
    assert confirm(fence, one, final_minor or amount_minor).status == pb.STATUS_CONFIRMED
    return one


def refund_request(
    one: str, original: str, amount: pb.Money, phase: str = "pay", **more: Any
) -> pb.TryRequest:
    step = pb.OriginalStep(transaction_id=original, phase=phase)
    return pb.TryRequest(transaction_id=one, phase="refund", amount=amount, refund_of=step, **more)


def refund(fence: Fence, one: str, original: str, amount_minor: int) -> pb.Answer:
    return fence.try_(refund_request(one, original, money(amount_minor))).answer


def told(answer: pb.Answer) -> str:
    return answer.refusal.code or pb.Status.Name(answer.status).removeprefix("STATUS_")


def wallet(engine: sa.Engine, account: str = "wallet:alice") -> tuple[int, int]:
    """Balance and held."""
    with engine.connect() as connection:
        found = ledger.find_account(connection, account)
    assert found is not None
    return found.balance_minor, found.held_minor


def refunded(engine: sa.Engine, original: str) -> int:
    """What counts as refunded of a step."""
    query = sa.select(FENCE.c.refunded_minor).where(FENCE.c.transaction_id == original)
    with engine.connect() as connection:
        return int(connection.execute(query).scalar_one())


def test_a_confirm_of_less_takes_that_and_frees_the_rest(
    service: tuple[Fence, str], engine: sa.Engine
) -> None:
    (fence, account), one = service, world.new_transaction_id()
    hold(fence, one, account, 600)
    answer = confirm(fence, one, 250)
    assert (answer.amount, answer.confirmed) == (money(600), money(250))
    query = pb.QueryRequest(transaction_id=one, phase="pay")
    assert fence.query(query).answer == answer
    totals = ledger_totals(engine)
    assert (totals.confirmed_minor, totals.open_holds) == (250, 0)
    if account == "alice":
        assert wallet(engine) == (750, 0)


def test_the_first_confirm_decides_how_much(service: tuple[Fence, str], engine: sa.Engine) -> None:
    (fence, account), one = service, world.new_transaction_id()
    hold(fence, one, account, 600)
    first = confirm(fence, one, 250)
    assert confirm(fence, one, 250) == first
    for other in (1, 249, 600, 601):
        with pytest.raises(DifferentRequest, match=r"amount\.minor_units"):
            confirm(fence, one, other)
    with pytest.raises(AlreadyConfirmed):
        cancel(fence, one)
    assert ledger_totals(engine).confirmed_minor == 250


def test_a_confirm_of_more_than_was_held_does_nothing(
    service: tuple[Fence, str], engine: sa.Engine
) -> None:
    (fence, account), one = service, world.new_transaction_id()
    hold(fence, one, account, 600)
    with pytest.raises(MoreThanHeld):
        confirm(fence, one, 601)
    assert ledger_totals(engine).open_holds_minor == 600
    assert confirm(fence, one, 600).confirmed == money(600)


def test_a_confirm_in_another_currency_is_a_different_request(engine: sa.Engine) -> None:
    fence, one = Fence(engine, Points()), world.new_transaction_id()
    hold(fence, one, "alice", 600)
    request = pb.ConfirmRequest(transaction_id=one, phase="pay", amount=money(600, "EUR"))
    with pytest.raises(DifferentRequest, match="currency_code"):
        fence.confirm(request)
    cancel(fence, one)


def test_different_confirms_at_once_have_one_winner(engine: sa.Engine) -> None:
    fence, one = Fence(engine, Points()), world.new_transaction_id()
    hold(fence, one, "alice", 600)

    def ask(amount_minor: int) -> int:
        try:
            return confirm(fence, one, amount_minor).confirmed.minor_units
        except DifferentRequest:
            return 0

    with ThreadPoolExecutor(12) as pool:
        final = [amount for amount in pool.map(ask, range(100, 112)) if amount]
    assert len(final) == 1
    assert wallet(engine) == (1_000 - final[0], 0)


def test_a_pending_try_that_was_approved_is_confirmed_in_part(engine: sa.Engine) -> None:
    fence, one = Fence(engine, Card(customer_action_s=None)), world.new_transaction_id()
    assert told(hold(fence, one, "tok_customer_action", 600)) == "PENDING"
    decide(fence, one, "pay", approve=True)
    assert confirm(fence, one, 1).confirmed == money(1)
    assert ledger_totals(engine).confirmed_minor == 1


def test_a_refused_confirm_of_less_keeps_the_whole_hold(engine: sa.Engine) -> None:
    fence, one = Fence(engine, Card()), world.new_transaction_id()
    hold(fence, one, "tok_capture_declined", 600)
    first = confirm(fence, one, 100)
    assert (told(first), first.HasField("confirmed")) == ("CAPTURE_DECLINED", False)
    assert first.amount == money(600)
    assert ledger_totals(engine).open_holds_minor == 600
    cancel(fence, one)
    assert confirm(fence, one, 100) == first
    with pytest.raises(DifferentRequest):
        confirm(fence, one, 600)


def test_a_refund_moves_the_money_back(service: tuple[Fence, str], engine: sa.Engine) -> None:
    fence, account = service
    original, one = pay(fence, account, 600), world.new_transaction_id()
    assert told(refund(fence, one, original, 200)) == "HELD"
    totals = ledger_totals(engine)
    assert (totals.open_holds_minor, totals.refunded_minor) == (200, 0)
    assert confirm(fence, one, 200, "refund").confirmed == money(200)
    assert ledger_totals(engine) == LedgerTotals(0, 0, 0, 600, 1, 200, 1)
    assert ledger_totals(engine).net_minor == 400
    if account == "alice":
        assert wallet(engine) == (600, 0)


def test_refunds_stay_within_what_was_confirmed(
    service: tuple[Fence, str], engine: sa.Engine
) -> None:
    fence, account = service
    original, first, second = pay(fence, account, 600, 500), *_names(2)
    over = refund(fence, world.new_transaction_id(), original, 501)
    assert told(over) == "REFUND_EXCEEDS_PAYMENT"
    assert told(refund(fence, first, original, 300)) == "HELD"
    assert told(refund(fence, world.new_transaction_id(), original, 201)) == over.refusal.code
    assert told(refund(fence, second, original, 200)) == "HELD"
    confirm(fence, first, 100, "refund")
    assert refunded(engine, original) == 300
    cancel(fence, second, "refund")
    assert refunded(engine, original) == 100
    assert told(refund(fence, world.new_transaction_id(), original, 401)) == over.refusal.code
    assert told(refund(fence, world.new_transaction_id(), original, 400)) == "HELD"


def _names(count: int) -> list[str]:
    return [world.new_transaction_id() for _ in range(count)]


def test_many_refunds_at_once_stay_within_what_was_confirmed(
    service: tuple[Fence, str], engine: sa.Engine
) -> None:
    fence, account = service
    original = pay(fence, account, 600)
    pay(fence, account, 400)  # money that the refunds of the other payment must not reach
    names = _names(40)

    def give_back(numbered: tuple[int, str]) -> int:
        number, one = numbered
        if told(refund(fence, one, original, 70)) != "HELD":
            return 0
        if number % 3 == 0:
            cancel(fence, one, "refund")
            return 0
        return confirm(fence, one, 70 if number % 2 else 30, "refund").confirmed.minor_units

    with ThreadPoolExecutor(16) as pool:
        given = sum(pool.map(give_back, enumerate(names)))
    # A last one takes what the others left, so that the limit is met and not only kept.
    assert 0 < given <= 600
    assert refunded(engine, original) == given
    last = world.new_transaction_id()
    if given < 600:
        assert told(refund(fence, last, original, 600 - given)) == "HELD"
        confirm(fence, last, 600 - given, "refund")
    assert ledger_totals(engine).refunded_minor == 600
    assert told(refund(fence, world.new_transaction_id(), original, 1)) == "REFUND_EXCEEDS_PAYMENT"


def test_a_refund_and_its_cancel_at_once_take_nothing(engine: sa.Engine) -> None:
    fence = Fence(engine, Points())
    original = pay(fence, "alice", 600)
    with ThreadPoolExecutor(8) as pool:
        for one in _names(10):
            waits = [
                *(pool.submit(refund, fence, one, original, 600) for _ in range(4)),
                *(pool.submit(cancel, fence, one, "refund") for _ in range(4)),
            ]
            for wait in waits:
                wait.result()
            assert told(refund(fence, one, original, 600)) == "CANCELLED"
            assert (refunded(engine, original), ledger_totals(engine).open_holds) == (0, 0)


@pytest.mark.parametrize("state", ["unknown", "held", "refused", "cancelled", "tombstone"])
def test_what_was_never_confirmed_cannot_be_refunded(engine: sa.Engine, state: str) -> None:
    fence, original = Fence(engine, Points()), world.new_transaction_id()
    if state in {"held", "cancelled"}:
        hold(fence, original, "alice", 600)
    if state == "refused":
        hold(fence, original, "alice", 6_000)
    if state in {"cancelled", "tombstone"}:
        cancel(fence, original)
    one = world.new_transaction_id()
    answer = refund(fence, one, original, 1)
    assert told(answer) == "NOTHING_TO_REFUND"
    assert answer.refusal.reason.endswith(".")
    # A refusal is for good, whatever becomes of the step.
    if state == "held":
        confirm(fence, original, 600)
    assert refund(fence, one, original, 1) == answer


def test_a_refund_cannot_be_refunded_nor_refund_itself(engine: sa.Engine) -> None:
    fence = Fence(engine, Points())
    original, one, two = pay(fence, "alice", 600), *_names(2)
    refund(fence, one, original, 100)
    confirm(fence, one, 100, "refund")
    again = fence.try_(refund_request(two, one, money(100), phase="refund")).answer
    assert told(again) == "NOTHING_TO_REFUND"
    three = world.new_transaction_id()
    itself = fence.try_(refund_request(three, three, money(1), phase="refund")).answer
    assert told(itself) == "NOTHING_TO_REFUND"


def test_a_refund_in_another_currency_is_refused(engine: sa.Engine) -> None:
    fence = Fence(engine, Points())
    request = refund_request(world.new_transaction_id(), pay(fence, "alice", 600), money(1, "EUR"))
    answer = fence.try_(request).answer
    assert told(answer) == "NOTHING_TO_REFUND"
    assert answer.refusal.reason == "The payment was not made in EUR."


def test_a_repeated_refund_of_another_step_is_a_different_request(engine: sa.Engine) -> None:
    fence = Fence(engine, Points())
    original, other, one = pay(fence, "alice", 300), pay(fence, "alice", 300), *_names(1)
    first = refund(fence, one, original, 100)
    assert refund(fence, one, original, 100) == first
    with pytest.raises(DifferentRequest, match="refund_of"):
        refund(fence, one, other, 100)
    plain = refund_request(one, original, money(100))
    plain.ClearField("refund_of")
    with pytest.raises(DifferentRequest, match="refund_of"):
        fence.try_(plain)
    assert (refunded(engine, original), refunded(engine, other)) == (100, 0)


def test_a_refund_after_its_tombstone_takes_nothing(service: tuple[Fence, str]) -> None:
    fence, account = service
    original, one = pay(fence, account, 600), world.new_transaction_id()
    cancel(fence, one, "refund")
    assert told(refund(fence, one, original, 600)) == "CANCELLED"
    assert told(refund(fence, world.new_transaction_id(), original, 600)) == "HELD"


def test_a_refund_leaves_the_payments_answers_as_they_were(engine: sa.Engine) -> None:
    fence = Fence(engine, Points())
    original, one = pay(fence, "alice", 600), world.new_transaction_id()
    before = fence.list_transactions(pb.ListTransactionsRequest()).transactions[0]
    first = confirm(fence, original, 600)
    refund(fence, one, original, 600)
    confirm(fence, one, 600, "refund")
    assert fence.list_transactions(pb.ListTransactionsRequest()).transactions[0] == before
    assert confirm(fence, original, 600) == first


def test_a_card_that_was_refunded_is_good_for_as_much_again(engine: sa.Engine) -> None:
    fence = Fence(engine, Card())
    original, one = pay(fence, "tok_limit_500-1", 500), world.new_transaction_id()
    spent = hold(fence, world.new_transaction_id(), "tok_limit_500-1", 1)
    assert told(spent) == "CARD_LIMIT_EXCEEDED"
    refund(fence, one, original, 200)
    confirm(fence, one, 200, "refund")
    assert told(hold(fence, world.new_transaction_id(), "tok_limit_500-1", 200)) == "HELD"


def test_a_merchant_that_was_paid_out_cannot_refund(engine: sa.Engine) -> None:
    fence = Fence(engine, Merchant())
    original, one = pay(fence, "shop", 600), world.new_transaction_id()
    assert _pay_out(engine, 500)
    assert told(refund(fence, one, original, 101)) == "INSUFFICIENT_BALANCE"
    assert refunded(engine, original) == 0
    assert told(refund(fence, world.new_transaction_id(), original, 100)) == "HELD"
    assert not _pay_out(engine, 1)


def _pay_out(engine: sa.Engine, amount_minor: int) -> bool:
    payout_id = UUID(world.new_transaction_id())
    return in_transaction(engine, lambda c: pay_out(c, "shop", "JPY", amount_minor, payout_id))


def test_refunds_payouts_and_payments_at_once_never_overdraw_a_merchant(engine: sa.Engine) -> None:
    fence = Fence(engine, Merchant())
    originals = [pay(fence, "shop", 100) for _ in range(12)]
    assert _pay_out(engine, 700)  # 500 are left, for 1,200 of refunds

    def give_back(original: str) -> int:
        one = world.new_transaction_id()
        if told(refund(fence, one, original, 100)) != "HELD":
            return 0
        return confirm(fence, one, 100, "refund").confirmed.minor_units

    with ThreadPoolExecutor(16) as pool:
        taken = [pool.submit(give_back, original) for original in originals]
        taken += [pool.submit(lambda: 100 * _pay_out(engine, 100)) for _ in range(4)]
        credited = [pool.submit(pay, fence, "shop", 10) for _ in range(6)]
        total = sum(wait.result() for wait in taken)
        for credit in credited:
            credit.result()
    assert total == 500
    with engine.begin() as connection:
        assert ledger.lock_free(connection, "merchant:shop", "JPY") == 60


def test_a_payment_is_credited_while_a_refund_of_the_merchant_waits(engine: sa.Engine) -> None:
    fence = Fence(engine, Merchant())
    with engine.begin() as connection:
        ledger.lock_free(connection, "merchant:shop", "JPY")
        pay(fence, "shop", 100)  # on another connection, while this one has the lock
    assert ledger_totals(engine).confirmed_minor == 100


class LaterRefunds(Points):
    """Decides about refunds later."""

    def hold(self, connection: sa.Connection, request: HoldRequest) -> TryOutcome:  # type: ignore[override]  # what the protocol allows
        answer = super().hold(connection, request)
        return Pending() if request.refund_of is not None and isinstance(answer, Held) else answer


@pytest.mark.parametrize(("approve", "left"), [(True, 600), (False, 0)])
def test_a_pending_refund_counts_until_it_is_refused(
    engine: sa.Engine, approve: bool, left: int
) -> None:
    fence = Fence(engine, LaterRefunds())
    original, one = pay(fence, "alice", 600), world.new_transaction_id()
    assert told(refund(fence, one, original, 600)) == "PENDING"
    assert refunded(engine, original) == 600

    def settle(connection: sa.Connection, held: OpenTry) -> Held | Refused:
        assert held.refund_of is not None
        if approve:
            return Held()
        ledger.release_hold(connection, ledger.Key(held.transaction_id, held.phase))
        return Refused("NO_REFUND", "No refund is made.")

    fence.decide(one, "refund", settle)
    assert refunded(engine, original) == left


def test_tables_of_before_refunds_get_what_they_lack_and_keep_what_they_have(
    engine: sa.Engine,
) -> None:
    fence = Fence(engine, Points())
    original, open_one = pay(fence, "alice", 400), world.new_transaction_id()
    hold(fence, open_one, "alice", 100)
    dropped = ("confirm_minor", "refund_of_transaction_id", "refund_of_phase", "refunded_minor")
    with engine.begin() as connection:
        for column in dropped:
            connection.execute(sa.text(f"ALTER TABLE participant_fence DROP COLUMN {column}"))
        connection.execute(sa.text("ALTER TABLE ledger_holds DROP COLUMN refund"))
        connection.execute(sa.text("DROP INDEX ledger_postings_by_account"))
    with ThreadPoolExecutor(4) as pool:
        for wait in [
            pool.submit(create_tables, engine, FENCE_METADATA, LEDGER_METADATA) for _ in range(4)
        ]:
            wait.result()
    assert confirm(fence, original, 400).status == pb.STATUS_CONFIRMED
    with pytest.raises(DifferentRequest):
        confirm(fence, original, 399)
    assert confirm(fence, open_one, 60).confirmed == money(60)
    one = world.new_transaction_id()
    assert told(refund(fence, world.new_transaction_id(), original, 401)) != "HELD"
    assert told(refund(fence, one, original, 400)) == "HELD"
    confirm(fence, one, 400, "refund")
    assert wallet(engine) == (940, 0)


def test_books_that_refund_too_much_are_named(engine: sa.Engine) -> None:
    fence = Fence(engine, Points())
    original, one = pay(fence, "alice", 600), world.new_transaction_id()
    refund(fence, one, original, 200)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE participant_fence SET refunded_minor = 0"))
    assert ledger_breaks(engine) == [
        f"what is refunded of a step is not the sum of its refunds: {original} pay"
    ]
    cancel_free = "UPDATE participant_fence SET refunded_minor = 200 WHERE phase = 'pay'"
    with engine.begin() as connection:
        connection.execute(sa.text(cancel_free))
