"""The reference: keeps book of all that was asked and seen, and objects to what may not be.

It does not foretell how a race ends. Of what was asked it knows what may be answered, given where
the payment stood before and after; of what is seen it knows whether anybody asked for it, whether
it may follow from what was seen before, and what the ledgers may then contain.
"""

from __future__ import annotations

from collections.abc import Mapping

from fault_injection.reference.rules import (
    AFTER,
    CANCELLED,
    DECIDED,
    LEDGER,
    PAID,
    RELEASED,
    TRY_BUDGET_S,
    shares_fit,
)
from fault_injection.reference.seen import (
    Asked,
    Body,
    Create,
    GiveBack,
    Seen,
    Take,
)


class Objection(AssertionError):
    """Something happened, or was said, that may not be."""


def require(condition: bool, what: str) -> None:
    """Raises Objection unless it is so."""
    if not condition:
        raise Objection(what)


class Book:
    """What is known.

    seen    every payment and refund as it was seen last, by ID
    made    which of them belongs to a caller's key
    bodies  what each may have been asked with: more than one only after a crash, until it is told
    until   from when to when, in seconds, a payment's reservation may end: it is known only roughly
    paused  flows that take no new payments
    """

    def __init__(self) -> None:
        self.asked = Asked()
        self.seen: dict[str, Seen] = {}
        self.made: dict[tuple[str, str], str] = {}
        self.bodies: dict[str, set[Body]] = {}
        self.until: dict[str, tuple[float, float]] = {}
        self.paused: set[str] = set()
        self.captures: dict[str, set[Take]] = {}
        self._manual: set[str] = set()

    # Asking

    def ask_create(self, create: Create, now_s: float) -> None:
        """A caller is about to ask for a payment."""
        key = create.caller, create.key
        self.asked.creates.setdefault(key, []).append((now_s, create))
        if create.supersede and create.order:
            self.asked.superseded.add((create.caller, create.order))

    def ask_capture(self, take: Take) -> None:
        """A caller is about to ask for a capture."""
        self.asked.captures.setdefault(take.payment, []).append(take)

    def ask_refund(self, back: GiveBack) -> None:
        """A caller is about to ask for a refund."""
        self.asked.refunds.setdefault((back.caller, back.key), []).append(back)

    def is_manual(self, payment: str) -> bool:
        """Whether the payment waits to be captured."""
        return payment in self._manual

    def holder_of(self, caller: str, order: str) -> Seen | None:
        """The payment that keeps others off an order: the one that is not released."""
        return next(
            (
                each
                for each in self.seen.values()
                if order and (each.caller, each.order) == (caller, order)
                if not each.payment and each.state not in RELEASED
            ),
            None,
        )

    def left(self, payment: str, later: Mapping[str, Seen] | None = None) -> dict[str, int]:
        """What of a payment's tenders is not given back, or about to be, in minor units.

        What is known to have failed gives its part free again; `later` tells of more of it.
        """
        left = self.seen[payment].shares("takes")
        for refund in self.refunds_of(payment):
            if (later or self.seen)[refund.id].state != "FAILED":
                for method, share in refund.shares("gives").items():
                    left[method] -= share
        return left

    def refunds_of(self, payment: str) -> list[Seen]:
        """A payment's refunds."""
        return [each for each in self.seen.values() if each.payment == payment]

    # Seeing

    def look(self, everything: Mapping[str, Seen], now_s: float) -> None:
        """Takes in what is seen now. Raises Objection for what may not be."""
        require(self.seen.keys() <= everything.keys(), "something is gone")
        known, self.seen = self.seen, dict(self.seen)
        new = [seen for seen in everything.values() if seen.id not in known]
        for seen in sorted(new, key=lambda each: each.ordinal):
            self._take_up(seen, everything, now_s)
            self.seen[seen.id] = seen
        for seen in everything.values():
            before = known.get(seen.id)
            if before is not None and before.version != seen.version:
                self._follows(before, seen)
            if before is None or before.version != seen.version:
                self._has_a_cause(seen, now_s)
            _ledger_allows(seen, resolved=seen.id in self.asked.answered)
        self.seen = dict(everything)
        for seen in everything.values():
            if not seen.payment:
                self._refunds_fit(seen)

    def _take_up(self, seen: Seen, everything: Mapping[str, Seen], now_s: float) -> None:
        key = seen.caller, seen.key
        require(key not in self.made, f"S12: a second transaction for key {seen.key}")
        if seen.payment:
            backs = self.asked.refunds.get(key, [])
            rest = [self.left(seen.payment), self.left(seen.payment, everything)]
            asked = [each for each in backs if _is_asked_back(seen, each, rest)]
            require(bool(asked), f"refund {seen.key} is not what was asked for")
            require(everything[seen.payment].state in PAID, "a refund of what is not paid")
            self.bodies[seen.id] = {back.body for back in asked}
        else:
            creates = self.asked.creates.get(key, [])
            fits = [each for each in creates if _is_asked(seen, each[1])]
            require(bool(fits), f"payment {seen.key} is not what was asked for")
            self.bodies[seen.id] = {create.body for _, create in fits}
            first_s = min(at_s + create.reserve_s for at_s, create in fits)
            last_s = now_s + max(create.reserve_s for _, create in fits)
            self.until[seen.id] = first_s, last_s
            if all(create.manual for _, create in fits):
                self._manual.add(seen.id)
        self.made[key] = seen.id

    def _follows(self, before: Seen, seen: Seen) -> None:
        """What never changes has not, and the state did not go back."""
        name = f"{seen.key} {before.state} -> {seen.state}"
        require(seen.version > before.version, f"S15: {name}: an older version")
        require(seen.state in AFTER[before.state], f"S9: {name}: it went back")
        for what in ("caller", "key", "flow", "order", "minor", "payment"):
            same = getattr(before, what) == getattr(seen, what)
            require(same, f"{name}: its {what} changed")
        require(before.failure in {"", seen.failure}, f"{name}: its failure changed")
        require(before.capture_key in {"", seen.capture_key}, f"{name}: captured anew")
        require(before.refunded <= seen.refunded, f"{name}: less was given back")
        for phase, part in before.parts.items():
            later = seen.parts[phase]
            require(part.minor == later.minor, f"{name}: the amount of {phase} changed")
            decided = part.final is None or part.final == later.final
            require(decided, f"S5: {name}: {phase} was decided anew")
            require(part.confirmed in {0, later.confirmed}, f"S2: {name}: {phase} moved twice")

    def _has_a_cause(self, seen: Seen, now_s: float) -> None:
        """S6: a release was refused, out of time, or unwanted; and what was taken was wanted."""
        name, asked = f"{seen.key} is {seen.state}", self.asked
        require(bool(seen.failure) == (seen.state in RELEASED), f"{name}: failure {seen.failure}")
        if seen.capture_key and seen.id not in self.captures:
            takes = [t for t in asked.captures.get(seen.id, []) if t.key == seen.capture_key]
            held = {m: part.minor for m, part in seen.parts.items() if part.role == "takes"}
            fits = [t for t in takes if shares_fit(seen.shares("takes"), held, t.wanted)]
            require(bool(fits), f"{name}: captured as nobody asked")
            self.captures[seen.id] = set(fits)
        if self.is_manual(seen.id) and seen.state in DECIDED:
            require(bool(seen.capture_key), f"{name}, and nobody captured it")
        match seen.failure:
            case "":
                return
            case "CANCELLED_BY_CALLER":
                caused = seen.id in asked.cancels
            case "CANCELLED_BY_OPERATOR":
                # Also what an operator says of a pivot: that it was not captured.
                caused = seen.id in asked.stopped or seen.id in asked.answered
            case "ORDER_SUPERSEDED":
                caused = (seen.caller, seen.order) in asked.superseded
            case "RESERVATION_EXPIRED":
                caused = now_s >= self.until.get(seen.id, (0.0, 0.0))[0]
            case "TRY_DEADLINE_EXCEEDED":
                caused = now_s >= TRY_BUDGET_S
            case _:
                caused = any(part.refused for part in seen.parts.values())
                caused = caused or seen.id in asked.answered
        require(caused, f"S6: {name} for {seen.failure}, without a cause")

    def _refunds_fit(self, payment: Seen) -> None:
        """S13: never more given back than was taken, of any tender, in the ledgers themselves."""
        refunds = self.refunds_of(payment.id)
        for method, part in payment.parts.items():
            if part.role == "takes":
                given = sum(r.parts[method].confirmed for r in refunds if method in r.parts)
                require(given <= part.confirmed, f"S13: {method} of {payment.key} got {given}")
        paid = sum(refund.minor for refund in refunds if refund.state == "PAID")
        done = sum(refund.minor for refund in refunds if refund.state in {"SETTLING", "PAID"})
        within = paid <= payment.refunded <= done
        require(within, f"S13: {payment.key} notes {payment.refunded}, between {paid} and {done}")
        if payment.refunded:
            given = sum(payment.shares("gives").values())
            whole = payment.refunded == given
            require(whole == (payment.state == "REFUNDED"), f"{payment.key} is {payment.state}")


def _is_asked(seen: Seen, create: Create) -> bool:
    tenders = {m: part.minor for m, part in seen.parts.items() if part.role == "takes"}
    same = seen.flow == create.flow and seen.order == create.order and seen.minor == create.total
    return same and tenders == dict(create.tenders)


def _is_asked_back(seen: Seen, back: GiveBack, rests: list[dict[str, int]]) -> bool:
    """Whether a refund is what was asked for, of one of these rests of its payment."""
    shares = seen.shares("gives")
    whole = [{method: shares.get(method, 0) for method in left} for left in rests]
    fits = [shares_fit(*each, back.wanted) for each in zip(whole, rests, strict=True)]
    return (seen.payment, seen.caller) == (back.payment, back.caller) and any(fits)


def _ledger_allows(seen: Seen, *, resolved: bool) -> None:
    pivot, others, dropped = LEDGER[seen.state]
    for phase, part in seen.parts.items():
        allowed = dropped if part.final == 0 else pivot if part.pivot else others
        if resolved and part.pivot and seen.state == "CAPTURING":
            allowed = allowed | {CANCELLED}  # an operator says that it was not captured
        name = f"{phase} of {seen.key} is {part.word or 'unknown'} while {seen.state}"
        require(part.word in allowed, f"S1: {name}")
        if part.word == "CONFIRMED":
            whole = part.minor if part.final is None else part.final
            require(part.confirmed == whole, f"S1: {name}: {part.confirmed} of {whole}")
