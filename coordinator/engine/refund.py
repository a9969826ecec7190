"""Opens refunds: transactions of their own that give a paid payment back, whole or in part.

Each refund of a payment takes the next ordinal, which is unique, so that nobody opens one without
having counted all those before it. What they take of the payment is free again only when they have
failed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from coordinator.domain.errors import (
    FlowNotServed,
    KeyReused,
    LostTheRace,
    NotFound,
    RefundExceedsPayment,
    RefundExceedsTender,
    WrongState,
)
from coordinator.domain.flow import Flow
from coordinator.domain.ids import TransactionId
from coordinator.domain.machine import State
from coordinator.domain.opening import open_refund
from coordinator.domain.phase import Role
from coordinator.domain.record import Record
from coordinator.domain.split import Exact, divide
from coordinator.domain.transaction import Transaction
from coordinator.engine.accept import Accepted
from coordinator.engine.drive import Driver, is_same_write
from coordinator.engine.fingerprint import Salt, differing_fields, fingerprint
from coordinator.engine.flows import served
from coordinator.engine.shares import Part, check_part, wanted_minor
from coordinator.ports import (
    Clock,
    CommitResult,
    Committed,
    Ids,
    KeyTaken,
    LostRace,
    OrdinalTaken,
    Store,
)

RACES = 200
"""How often a refund tries for the next ordinal: as many may be opened at one instant."""


class NewRefund(Record, frozen=True):
    """What a caller asks for."""

    caller: str
    idempotency_key: str
    payment_id: TransactionId
    part: Part

    def body(self) -> dict[str, str]:
        """Its fields by path, for the fingerprint."""
        return {"operation": "refund", "payment_id": self.payment_id, **self.part.body()}

    def salt(self) -> Salt:
        """What digests in its fingerprint are bound to."""
        return Salt(self.caller, self.idempotency_key)


def refundable(payment: Transaction, refunds: Sequence[Transaction]) -> dict[str, int]:
    """What is left of each tender, in minor units, by method in the flow's order."""
    left = {s.phase: s.final.minor for s in payment.steps if s.role is Role.TAKES and s.final}
    for refund in refunds:
        if refund.state is State.FAILED:
            continue
        for step in refund.steps:
            if step.role is Role.GIVES and step.amount is not None:
                left[step.phase] -= step.amount.minor
    return left


class OpenRefund:
    """The use case."""

    def __init__(
        self, *, store: Store, driver: Driver, flows: Mapping[str, Flow], clock: Clock, ids: Ids
    ) -> None:
        self._store = store
        self._driver = driver
        self._flows = flows
        self._clock = clock
        self._ids = ids

    async def __call__(self, new: NewRefund) -> Accepted:
        """Makes the refund durable and has it driven; a repeated key finds the refund it made.

        Raises InvalidRequest, NotFound, KeyReused, WrongState, RefundExceedsPayment,
        RefundExceedsTender, FlowNotServed, LostTheRace, StoreUnavailable, Overloaded.
        """
        known = await self._store.find_by_key(new.caller, new.idempotency_key)
        if known is not None:
            return self._replay(known, new)
        try:
            return await self._open(new)
        except (RefundExceedsPayment, RefundExceedsTender):
            # What is in the way may be the refund that this very key has made meanwhile.
            known = await self._store.find_by_key(new.caller, new.idempotency_key)
            if known is None:
                raise
            return self._replay(known, new)

    async def _open(self, new: NewRefund) -> Accepted:
        payment = await self._paid(new)
        flow = served(self._flows, payment)
        wanted = {step.phase for step in payment.steps if step.role is Role.TAKES}
        if not wanted <= {phase.name for phase in flow.refund.called}:
            raise FlowNotServed(payment.id, payment.flow)  # it lost the phase of a tender
        for _ in range(RACES):
            refunds = await self._store.refunds_of(payment.id)
            shares = _shares(payment, refundable(payment, refunds), new.part)
            now = self._clock.now()
            change = open_refund(
                payment,
                transaction_id=self._ids.transaction_id(),
                idempotency_key=new.idempotency_key,
                request=fingerprint(new.body(), (), new.salt()),
                ordinal=len(refunds) + 1,
                flow=flow.refund,
                shares=shares,
                now=now,
            ).change(now=now, due_at=now, keep_claim=True)
            result: CommitResult = await self._driver.submit(change)
            match result:
                case Committed(transaction):
                    return Accepted(transaction, replayed=False)
                case OrdinalTaken():
                    continue
                case KeyTaken(existing):
                    known = await self._store.get(existing)
                    assert known is not None, "nothing is ever deleted"
                    return self._replay(known, new)
                case LostRace():
                    row = await self._store.get(change.after.id)
                    assert row is not None, "a row that lost a race exists"
                    assert is_same_write(row, change), "transaction IDs are unique"
                    self._driver.start(row)
                    return Accepted(row, replayed=False)
        raise LostTheRace(payment.id)

    async def _paid(self, new: NewRefund) -> Transaction:
        payment = await self._store.get(new.payment_id)
        if payment is None or payment.caller != new.caller or payment.refund_of is not None:
            raise NotFound(new.payment_id)
        if payment.state not in {State.PAID, State.REFUNDED}:
            raise WrongState(payment.id, payment.state, "refund", [State.PAID])
        methods = [step.phase for step in payment.steps if step.role is Role.TAKES]
        check_part(new.part, payment.amount.currency, methods)
        return payment

    def _replay(self, existing: Transaction, new: NewRefund) -> Accepted:
        differing = differing_fields(existing.request, new.body(), new.salt())
        if differing:
            raise KeyReused(existing.id, differing)
        self._driver.resume(existing)
        return Accepted(existing, replayed=True)


def _shares(payment: Transaction, left: dict[str, int], part: Part) -> dict[str, int]:
    whole = sum(left.values())
    total = wanted_minor(part, whole)
    if not 0 < total <= whole:
        raise RefundExceedsPayment(payment.id, whole)
    if isinstance(part.split, Exact):
        for method, share in part.split.shares.items():
            if share > left[method]:
                raise RefundExceedsTender(payment.id, method, left[method])
    return divide(total, left, part.split)
