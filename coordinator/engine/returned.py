"""Keeps on a payment how much of it was given back, and moves it to REFUNDED when that is all.

A refund does this after all its parts are durably confirmed and before it is settled itself: of two
refunds that end at one instant at least one then sees both, and a crash leaves the refund live, so
that it is done again.
"""

from __future__ import annotations

from coordinator.domain.flow import Flow
from coordinator.domain.machine import Event, State
from coordinator.domain.moves import advance
from coordinator.domain.phase import Role
from coordinator.domain.record import evolve
from coordinator.domain.step import StepStatus
from coordinator.domain.transaction import Change, Draft, Transaction
from coordinator.ports import Clock, Committed, Store


def given_back(refund: Transaction) -> bool:
    """Whether every participant has durably done its part of this refund."""
    return all(
        step.status is StepStatus.CONFIRMED
        for step in refund.steps
        if step.role is not Role.ANNOUNCES
    )


async def note_returned(
    store: Store, flow: Flow, clock: Clock, refund: Transaction
) -> Change | None:
    """What was committed to the payment of `refund`; None when it knew already.

    `flow` is the payment's. Raises StoreUnavailable; may be repeated.
    """
    assert refund.refund_of is not None, "only refunds come here"
    payment_id = refund.refund_of.payment_id
    while True:
        payment = await store.get(payment_id)
        assert payment is not None, "nothing is ever deleted"
        refunds = await store.refunds_of(payment_id)
        returned = sum(each.amount.minor for each in refunds if given_back(each))
        if payment.refunded_minor >= returned:
            return None
        now = clock.now()
        draft = Draft(evolve(payment, refunded_minor=returned), stored=payment.steps)
        if returned == payment.captured_minor and payment.state is State.PAID:
            draft = advance(draft, flow, (Event.REFUND,), now)
        change = draft.change(now=now, due_at=None, keep_claim=False)
        # A lost race is another refund's doing, which may have seen this one, or a notice of it.
        if isinstance(await store.commit(change), Committed):
            return change
