"""What may be answered, given where things stood before the question and after the answer.

Most questions have one permitted answer. There are two where the payment moved meanwhile. An answer
is the error's code, or MADE, SAME (a repeated key found what it had made) or DONE.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations
from typing import TypeAlias

from fault_injection.reference.book import Book
from fault_injection.reference.rules import (
    DECIDED,
    ENDED,
    MAX_MINOR,
    OPEN,
    PAID,
    RELEASED,
    Wanted,
    between,
)
from fault_injection.reference.seen import Body, Create, GiveBack, Seen, Take

MADE, SAME, DONE = "MADE", "SAME", "DONE"
REUSED = "IDEMPOTENCY_KEY_REUSED"
NOT_FOUND = "PAYMENT_NOT_FOUND"
INVALID = "INVALID_REQUEST"
Answers: TypeAlias = set[str]
Everything: TypeAlias = Mapping[str, Seen]


def may_create(book: Book, create: Create, before: Everything, *, known: bool) -> Answers:
    """Of a new payment. `known`: the key had made something before it was asked."""
    made = book.made.get((create.caller, create.key))
    if made is not None and known:
        return _replayed(book, made, create.body)
    if _is_nonsense(create):
        return {INVALID}
    if create.flow in book.paused:
        return {"FLOW_PAUSED"}
    holders = [
        each
        for each in before.values()
        if create.order and (each.caller, each.order) == (create.caller, create.order)
        if not each.payment and each.state not in RELEASED
    ]
    answers = set() if holders else {MADE}
    for holder in holders:
        path = between(holder.state, book.seen[holder.id].state)
        free = path & (OPEN | RELEASED if create.supersede else RELEASED)
        answers |= {MADE} if free else set()
        kept = path & (DECIDED if create.supersede else DECIDED | OPEN)
        answers |= {"ORDER_HAS_PAYMENT"} if kept else set()
    return answers


def _is_nonsense(create: Create) -> bool:
    unlike = sum(minor for _, minor in create.tenders) != create.total
    return unlike or create.total > MAX_MINOR


def _replayed(book: Book, made: str, body: Body) -> Answers:
    bodies = book.bodies[made]
    answers = {SAME} if body in bodies else {REUSED}
    return answers if len(bodies) == 1 else answers | {REUSED}


def may_capture(book: Book, take: Take, before: Everything, span_s: tuple[float, float]) -> Answers:
    """Of a capture that was asked for and answered at these times, in seconds."""
    seen = before.get(take.payment)
    if seen is None or seen.caller != take.caller or seen.payment:
        return {NOT_FOUND}
    after = book.seen[take.payment]
    path = between(seen.state, after.state)
    if seen.capture_key == take.key:
        takes = book.captures[seen.id]
        return ({SAME} if take in takes else {REUSED}) | ({REUSED} if len(takes) > 1 else set())
    answers = {"PAYMENT_RELEASED"} if path & RELEASED else set()
    if seen.capture_key:
        return answers | ({"ALREADY_CAPTURED"} if path & DECIDED else set())
    if not book.is_manual(seen.id):
        return answers | ({"WRONG_STATE"} if path - RELEASED else set())
    answers |= {"WRONG_STATE"} if "CREATED" in path else set()
    if "RESERVED" not in path:
        return answers
    first_s, last_s = book.until[seen.id]
    answers |= {"RESERVATION_EXPIRED"} if span_s[1] >= first_s else set()
    if span_s[0] < last_s:
        held = {method: part.minor for method, part in seen.parts.items() if part.role == "takes"}
        wanted = take.wanted
        too_much = wanted.total(seen.minor) > seen.minor or wanted.overdrawn(held)
        answers |= {INVALID} if wanted.is_nonsense(held) or too_much else {MADE}
    return answers


def may_cancel(book: Book, caller: str, payment: str, before: Everything) -> Answers:
    """Of a caller's cancel."""
    seen = before.get(payment)
    if seen is None or seen.caller != caller or seen.payment:
        return {NOT_FOUND}
    path = between(seen.state, book.seen[payment].state)
    answers = {DONE} if path & (OPEN | RELEASED) else set()
    return answers | ({"WRONG_STATE"} if path & DECIDED else set())


def may_refund(
    book: Book, back: GiveBack, before: Everything, left: Mapping[str, int], *, known: bool
) -> Answers:
    """Of a refund; `left` is what of each tender could be given back before it was asked."""
    made = book.made.get((back.caller, back.key))
    if made is not None and known:
        return _replayed(book, made, back.body)
    seen = before.get(back.payment)
    if seen is None or seen.caller != back.caller or seen.payment:
        return {NOT_FOUND}
    path = between(seen.state, book.seen[seen.id].state)
    answers = {"WRONG_STATE"} if path - PAID else set()
    if not path & PAID:
        return answers
    if back.wanted.is_nonsense(left):
        return answers | {INVALID}
    after = book.left(seen.id)
    if made is not None and book.seen[made].state != "FAILED":  # without this one
        for method, share in book.seen[made].shares("gives").items():
            after[method] += share
    for crowded in _subsets(book, back, seen.id, before):
        answers |= _given(back.wanted, _less(left, crowded))
    return answers | _given(back.wanted, left) | _given(back.wanted, after)


def _subsets(
    book: Book, back: GiveBack, payment: str, before: Everything
) -> Iterator[tuple[Seen, ...]]:
    """Refunds of the same instant that may have been live when this one was looked at.

    They may have failed since: where they stand now does not say so.
    """
    mine = book.made.get((back.caller, back.key))
    others = [each for each in book.refunds_of(payment) if each.id not in {mine, *before}]
    for count in range(1, len(others) + 1):
        yield from combinations(others, count)


def _less(left: Mapping[str, int], refunds: Iterable[Seen]) -> dict[str, int]:
    rest = dict(left)
    for refund in refunds:
        for method, share in refund.shares("gives").items():
            rest[method] -= share
    return rest


def _given(wanted: Wanted, left: Mapping[str, int]) -> Answers:
    if not 0 < wanted.total(sum(left.values())) <= sum(left.values()):
        return {"REFUND_EXCEEDS_PAYMENT"}
    return {"REFUND_EXCEEDS_TENDER"} if wanted.overdrawn(left) else {MADE}


def may_operate(book: Book, act: str, operator: str, thing: str, before: Everything) -> Answers:
    """Of an operator's act on a payment or a refund."""
    seen = before.get(thing)
    if seen is None:
        return {"TRANSACTION_NOT_FOUND"}
    path = between(seen.state, book.seen[thing].state)
    settled = {"ALREADY_SETTLED"} if path & ENDED else set()
    live = bool(path - ENDED)
    match act:
        case "unhold":
            return {DONE}
        case "cancel":
            answers = {DONE} if path & (OPEN | RELEASED) else set()
            answers |= {"ALREADY_SETTLED"} if path & PAID else set()
            return answers | ({"ALREADY_DECIDED"} if path & (DECIDED - PAID) else set())
        case "hold" if seen.held_by:
            return {DONE} if seen.held_by == operator else {"HELD_BY_OPERATOR"}
        case "hold":
            return settled | ({DONE} if live else set())
        case "resume" if seen.held_by:
            return {"HELD_BY_OPERATOR"}
        case "resume":
            possible = {DONE, "BEING_DRIVEN", "NOTHING_TO_RETRY"}
            return settled | (possible if live else set())
        case _:
            answers = settled | ({"ANSWER_NOT_POSSIBLE"} if live else set())
            said = {DONE, "CONTRADICTED_BY_PARTICIPANT", "EVIDENCE_REQUIRED", "PARTICIPANT_SILENT"}
            return answers | (said if path - ENDED - OPEN else set())
