"""Takes a payment that waits, reserved, to be captured: all of it or a part."""

from __future__ import annotations

from collections.abc import Mapping

from coordinator.domain.decide import capture_events
from coordinator.domain.errors import (
    AlreadyCaptured,
    InvalidRequest,
    KeyReused,
    LostTheRace,
    NotFound,
    PaymentReleased,
    ReservationExpired,
    Violation,
    WrongState,
)
from coordinator.domain.flow import Flow
from coordinator.domain.ids import TransactionId
from coordinator.domain.machine import RELEASED, State
from coordinator.domain.moves import advance
from coordinator.domain.phase import Role
from coordinator.domain.record import Record, evolve
from coordinator.domain.split import Exact, divide
from coordinator.domain.transaction import Capture, Draft, Transaction, with_finals
from coordinator.engine.accept import Accepted
from coordinator.engine.drive import Driver
from coordinator.engine.fingerprint import Salt, differing_fields, fingerprint
from coordinator.engine.flows import served
from coordinator.engine.shares import Part, check_part, wanted_minor
from coordinator.ports import Clock, Committed, Store

RACES = 8
"""How often a capture that lost a race is tried again; a payment changes a few times at most."""


class NewCapture(Record, frozen=True):
    """What a caller asks for."""

    caller: str
    idempotency_key: str
    payment_id: TransactionId
    part: Part

    def body(self) -> dict[str, str]:
        """Its fields by path, for the fingerprint."""
        return {"payment_id": self.payment_id, **self.part.body()}

    def salt(self) -> Salt:
        """What digests in its fingerprint are bound to."""
        return Salt(self.caller, self.idempotency_key)


class CapturePayment:
    """The use case. Of a capture and a cancel at one instant, the first to be committed wins."""

    def __init__(
        self, *, store: Store, driver: Driver, flows: Mapping[str, Flow], clock: Clock
    ) -> None:
        self._store = store
        self._driver = driver
        self._flows = flows
        self._clock = clock

    async def __call__(self, new: NewCapture) -> Accepted:
        """Makes the decision durable and has the payment driven.

        Raises InvalidRequest, NotFound, KeyReused, AlreadyCaptured, PaymentReleased,
        ReservationExpired, WrongState, FlowNotServed, LostTheRace, StoreUnavailable.
        """
        for _ in range(RACES):
            found = await self._store.get(new.payment_id)
            if found is None or found.caller != new.caller or found.refund_of is not None:
                raise NotFound(new.payment_id)
            if _is_repeat(found, new):
                self._driver.resume(found)
                return Accepted(found, replayed=True)
            self._check_state(found)
            shares = _shares(found, new.part)
            capture = Capture(new.idempotency_key, fingerprint(new.body(), (), new.salt()))
            decided = evolve(with_finals(found, shares), capture=capture)
            flow, now = served(self._flows, found), self._clock.now()
            draft = Draft(decided, stored=found.steps)
            draft = advance(draft, flow, capture_events(decided, flow), now)
            change = draft.change(now=now, due_at=now, keep_claim=True)
            result = await self._driver.submit(change)
            if isinstance(result, Committed):
                return Accepted(result.transaction, replayed=False)
        raise LostTheRace(new.payment_id)

    def _check_state(self, found: Transaction) -> None:
        if found.state in RELEASED:
            failure = found.failure
            assert failure is not None, "a released payment has a failure"
            raise PaymentReleased(found.id, found.state, failure.code, failure.reason)
        if found.capture is not None:
            raise AlreadyCaptured(found.id, found.state)
        if found.state is not State.RESERVED or not found.manual:
            allowed = ["RESERVED, with capture MANUAL"]
            raise WrongState(found.id, found.state, "capture", allowed)
        if self._clock.now() >= found.reserved_until:
            raise ReservationExpired(found.id, found.reserved_until.isoformat())


def _is_repeat(found: Transaction, new: NewCapture) -> bool:
    capture = found.capture
    if capture is None or capture.idempotency_key != new.idempotency_key:
        return False
    differing = differing_fields(capture.request, new.body(), new.salt())
    if differing:
        raise KeyReused(found.id, differing)
    return True


def _shares(found: Transaction, part: Part) -> dict[str, int]:
    held = {s.phase: s.amount.minor for s in found.steps if s.role is Role.TAKES and s.amount}
    check_part(part, found.amount.currency, held)
    whole, code = found.amount.minor, "AMOUNT_OVER_RESERVED"
    total = wanted_minor(part, whole)
    over = []
    if total > whole:
        over.append(Violation("amount.minor_units", code, f"only {whole} is reserved"))
    if isinstance(part.split, Exact):
        for method, share in part.split.shares.items():
            if share > held[method]:
                text = f"{method} holds only {held[method]}"
                over.append(Violation("split.exact.shares", code, text))
    if over:
        raise InvalidRequest(over)
    return divide(total, held, part.split)
