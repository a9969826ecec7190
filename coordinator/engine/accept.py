"""Accepts a payment: checks it, makes it durable once, and hands it to the driver.

Nothing is sent to a participant before the request, its fingerprint and its transaction ID are
committed. A repeated key finds the payment it made; an order has one payment that is live or paid.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from coordinator.domain.cards import has_card_number
from coordinator.domain.errors import (
    FlowPaused,
    InvalidRequest,
    KeyReused,
    LostTheRace,
    NotFound,
    OrderHasPayment,
    RateLimited,
    TooManyLive,
    Violation,
    WrongState,
)
from coordinator.domain.flow import Flow
from coordinator.domain.ids import TransactionId
from coordinator.domain.money import EXPONENTS, Money
from coordinator.domain.opening import Terms, open_transaction
from coordinator.domain.record import Record
from coordinator.domain.transaction import Failure, Tender, Transaction
from coordinator.engine.cancel import Cancel
from coordinator.engine.drive import Driver, is_same_write
from coordinator.engine.fingerprint import Salt, differing_fields, fingerprint
from coordinator.engine.intake import Intake
from coordinator.engine.limits import Limits
from coordinator.ports import Clock, Committed, Ids, KeyTaken, LostRace, OrderTaken, Store

RACES = 8
"""How often a payment is tried again after it lost a race for its order."""


class OrderConflict(StrEnum):
    """What to do when the order already has a payment that is live or paid."""

    REJECT = "REJECT"
    CANCEL_PREVIOUS = "CANCEL_PREVIOUS"


class Item(Record, frozen=True):
    """What a phase is to keep for the buyer besides money."""

    phase: str
    item_id: str


class NewPayment(Record, frozen=True):
    """What a caller asks for. Empty strings mean "not given"."""

    HIDDEN = frozenset({"idempotency_key"})

    caller: str
    idempotency_key: str
    flow: str
    amount: Money
    tenders: tuple[Tender, ...]
    merchant_id: str
    order_id: str = ""
    order_conflict: OrderConflict = OrderConflict.REJECT
    customer_id: str = ""
    manual: bool = False
    reservation_s: float | None = None
    items: tuple[Item, ...] = ()


class Accepted(Record, frozen=True):
    """The payment, durable; `replayed` when the key had made it before."""

    transaction: Transaction
    replayed: bool


class Accept:
    """The use case.

    max_amount_minor  the largest payment of anybody, in minor units
    limits            what each caller may ask for
    intake            which flows take new payments
    """

    def __init__(
        self,
        *,
        store: Store,
        driver: Driver,
        cancel: Cancel,
        flows: Mapping[str, Flow],
        clock: Clock,
        ids: Ids,
        max_amount_minor: int,
        limits: Limits,
        intake: Intake,
    ) -> None:
        self._store = store
        self._driver = driver
        self._cancel = cancel
        self._flows = flows
        self._clock = clock
        self._ids = ids
        self._max_amount_minor = max_amount_minor
        self._limits = limits
        self._intake = intake

    async def __call__(self, new: NewPayment, wait_s: float) -> Accepted:
        """Accepts `new`. With CANCEL_PREVIOUS, waits at most `wait_s` for the earlier one's end.

        Raises InvalidRequest, FlowPaused, RateLimited, TooManyLive, KeyReused, OrderHasPayment,
        LostTheRace, StoreUnavailable.
        """
        try:
            flow = self._check(new)
            self._intake.admit(flow.name)
            await self._limits.admit(new.caller)
        except (InvalidRequest, FlowPaused, RateLimited, TooManyLive):
            # What was accepted once has the same answer for ever, even if limits and flows are not
            # what they were.
            known = await self._store.find_by_key(new.caller, new.idempotency_key)
            if known is None:
                raise
            return self._replay(known, new)
        request = fingerprint(_body(new), _secret(new, flow), _salt(new))
        for _ in range(RACES):
            change = open_transaction(
                transaction_id=self._ids.transaction_id(),
                caller=new.caller,
                idempotency_key=new.idempotency_key,
                request=request,
                flow=flow,
                amount=new.amount,
                tenders=new.tenders,
                merchant_id=new.merchant_id,
                order_id=new.order_id,
                customer_id=new.customer_id,
                now=self._clock.now(),
                terms=Terms(
                    manual=new.manual,
                    reservation_s=new.reservation_s,
                    items={item.phase: item.item_id for item in new.items},
                ),
            ).change(now=(now := self._clock.now()), due_at=now, keep_claim=True)
            match await self._driver.submit(change):
                case Committed(transaction):
                    return Accepted(transaction, replayed=False)
                case KeyTaken(existing):
                    return self._replay(await self._read(existing), new)
                case OrderTaken(existing):
                    previous = await self._read(existing)
                    if previous.idempotency_key == new.idempotency_key:
                        return self._replay(previous, new)
                    await self._free_order(new, previous, wait_s)
                case LostRace():
                    row = await self._store.get(change.after.id)
                    assert row is not None, "a row that lost a race exists"
                    assert is_same_write(row, change), "transaction IDs are unique"
                    self._driver.start(row)
                    return Accepted(row, replayed=False)
        raise LostTheRace(change.after.id)

    async def _read(self, existing: TransactionId) -> Transaction:
        found = await self._store.get(existing)
        if found is None:
            raise NotFound(existing)
        return found

    def _replay(self, existing: Transaction, new: NewPayment) -> Accepted:
        differing = differing_fields(existing.request, _body(new), _salt(new))
        if differing:
            raise KeyReused(existing.id, differing)
        self._driver.resume(existing)
        return Accepted(existing, replayed=True)

    async def _free_order(self, new: NewPayment, previous: Transaction, wait_s: float) -> None:
        """Cancels the order's earlier payment, or raises OrderHasPayment."""
        if new.order_conflict is OrderConflict.REJECT:
            raise OrderHasPayment(new.order_id, previous.id, previous.state)
        reason = Failure("ORDER_SUPERSEDED", "the order is being paid by a newer payment")
        try:
            cancelled = await self._cancel(new.caller, previous.id, reason)
        except WrongState as error:
            raise OrderHasPayment(new.order_id, previous.id, error.facts["state"]) from error
        # What the earlier payment held is wanted back before the new one asks for it; should that
        # take too long, the order is free all the same, since a cancelled payment is never paid.
        await self._driver.updates.at_rest(cancelled, wait_s)

    def _check(self, new: NewPayment) -> Flow:
        violations = []
        flow = self._flows.get(new.flow)
        if flow is None:
            known = ", ".join(sorted(self._flows))
            violations.append(Violation("flow", "UNKNOWN_FLOW", f"must be one of {known}"))
        largest = self._limits.largest_minor(new.caller, self._max_amount_minor)
        if new.amount.minor > largest:
            limit = f"must be at most {largest} minor units, the limit of {new.caller}"
            violations.append(Violation("amount.minor_units", "AMOUNT_OVER_LIMIT", limit))
        violations += _currency_violations(new)
        violations += _tender_violations(new, flow)
        if flow is not None:
            violations += _term_violations(new, flow)
        if violations or flow is None:
            raise InvalidRequest(violations)
        return flow


def _currency_violations(new: NewPayment) -> list[Violation]:
    amounts = [("amount", new.amount)]
    amounts += [(f"tenders[{i}].amount", tender.amount) for i, tender in enumerate(new.tenders)]
    return [
        Violation(f"{where}.currency_code", "UNKNOWN_CURRENCY", "must be an ISO 4217 currency")
        for where, money in amounts
        if money.currency not in EXPONENTS
    ]


def _tender_violations(new: NewPayment, flow: Flow | None) -> list[Violation]:
    violations = []
    wanted = {phase.name for phase in flow.takers} if flow else {t.method for t in new.tenders}
    seen: set[str] = set()
    for index, tender in enumerate(new.tenders):
        where = f"tenders[{index}]"
        if tender.method not in wanted:
            text = f"the flow takes {', '.join(sorted(wanted))}"
            violations.append(Violation(f"{where}.method", "UNKNOWN_METHOD", text))
        elif tender.method in seen:
            text = "each method may be used once"
            violations.append(Violation(f"{where}.method", "DUPLICATE_METHOD", text))
        seen.add(tender.method)
        if tender.amount.currency != new.amount.currency:
            text = f"must be {new.amount.currency}, the payment's currency"
            violations.append(Violation(f"{where}.amount.currency_code", "MIXED_CURRENCIES", text))
        if has_card_number(tender.source):
            text = "is a card number; send a token from the card processor, never the number"
            violations.append(Violation(f"{where}.source", "CARD_NUMBER", text))
    missing = sorted(wanted - seen)
    if missing:
        text = f"the flow also needs a tender by {', '.join(missing)}"
        violations.append(Violation("tenders", "MISSING_TENDER", text))
    total = sum(tender.amount.minor for tender in new.tenders)
    if total != new.amount.minor:
        text = f"add up to {total} minor units, but the amount is {new.amount.minor}"
        violations.append(Violation("tenders", "TENDERS_DO_NOT_ADD_UP", text))
    return violations


def _term_violations(new: NewPayment, flow: Flow) -> list[Violation]:
    violations = []
    longest_s = flow.longest_reservation_s
    if new.reservation_s is not None and new.reservation_s > longest_s:
        text = f"must be at most {longest_s:g} s: no participant of the flow holds longer"
        violations.append(Violation("reserve_for", "OUT_OF_RANGE", text))
    wanted = {phase.name for phase in flow.keepers}
    seen: set[str] = set()
    for index, item in enumerate(new.items):
        if item.phase not in wanted:
            text = f"the flow keeps items by {', '.join(sorted(wanted)) or 'no phase'}"
            violations.append(Violation(f"items[{index}].phase", "UNKNOWN_PHASE", text))
        elif item.phase in seen:
            text = "each phase keeps one item"
            violations.append(Violation(f"items[{index}].phase", "DUPLICATE_PHASE", text))
        seen.add(item.phase)
    if missing := sorted(wanted - seen):
        text = f"the flow also needs an item for {', '.join(missing)}"
        violations.append(Violation("items", "MISSING_ITEM", text))
    return violations


def _body(new: NewPayment) -> dict[str, str]:
    body = {
        "flow": new.flow,
        "amount.minor_units": str(new.amount.minor),
        "amount.currency_code": new.amount.currency,
        "merchant_id": new.merchant_id,
        "order_id": new.order_id,
        "order_conflict": new.order_conflict.value,
        "customer_id": new.customer_id,
    }
    # Only where it is not the ordinary: bodies of older versions do not name these.
    if new.manual:
        body["capture"] = "MANUAL"
    if new.reservation_s is not None:
        body["reserve_for"] = f"{new.reservation_s!r}s"
    for index, item in enumerate(new.items):
        body[f"items[{index}].phase"] = item.phase
        body[f"items[{index}].item_id"] = item.item_id
    for index, tender in enumerate(new.tenders):
        body[f"tenders[{index}].method"] = tender.method
        body[f"tenders[{index}].source"] = tender.source
        body[f"tenders[{index}].amount.minor_units"] = str(tender.amount.minor)
    return body


def _secret(new: NewPayment, flow: Flow) -> list[str]:
    secret = {phase.name for phase in flow.takers if phase.secret_source}
    return [f"tenders[{i}].source" for i, t in enumerate(new.tenders) if t.method in secret]


def _salt(new: NewPayment) -> Salt:
    return Salt(new.caller, new.idempotency_key)
