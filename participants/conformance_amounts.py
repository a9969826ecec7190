"""Rules 11 and 12 of participant.proto: a Confirm of less than was held, and refunds.

The kit makes its own payments and refunds them. A payment here is a Try of twice the amount, of
which the amount is confirmed: so a service that goes by what was held, and not by what was
confirmed, is seen.

A service that has no money to give back, such as a stock, says so by refusing every refund with
NO_REFUNDS. The rules about refunds then do not apply; that it always says so is looked at.
"""

from __future__ import annotations

import re

import grpc
from kessai.participant.v1 import participant_pb2 as pb

from participants import world
from participants.business import NO_REFUNDS
from participants.conformance_probe import Probe, Reply
from participants.conformance_steps import (
    Broken,
    NotApplicable,
    NotCheckable,
    Rule,
    expect,
    expect_code,
    expect_same,
    free,
    held,
    rule,
    scarce,
)

_ONE_LEFT = [pb.STATUS_HELD, pb.STATUS_REFUSED, pb.STATUS_REFUSED]
_TWO_LEFT = [pb.STATUS_HELD, pb.STATUS_HELD, pb.STATUS_REFUSED]
_EXCEEDS = "REFUND_EXCEEDS_PAYMENT"


def _twice(probe: Probe) -> pb.Money:
    return probe.money(2 * probe.options.amount_minor)


def _held_twice(probe: Probe, account: str | None = None) -> str:
    """A transaction that holds twice the amount."""
    transaction_id = world.new_transaction_id()
    reply = probe.try_(
        transaction_id, amount=_twice(probe), account=account or probe.options.account
    )
    if reply.answer.status != pb.STATUS_HELD:
        raise NotCheckable(f"no Try of twice the amount could be held: {reply.text}")
    return transaction_id


def _paid(probe: Probe) -> str:
    """A transaction that held twice the amount and confirmed the amount."""
    transaction_id = _held_twice(probe)
    reply = probe.confirm(transaction_id)
    if reply.answer.status != pb.STATUS_CONFIRMED:
        raise NotCheckable(f"half of a held Try could not be confirmed: {reply.text}")
    return transaction_id


def _refuses_refunds(probe: Probe) -> bool:
    """Whether the service has no refunds at all. Raises Broken where it says so of some only."""
    whole, original = probe.options.amount_minor, _paid(probe)
    transaction_id = world.new_transaction_id()
    first = probe.refund(transaction_id, original, whole)
    if first.answer.status != pb.STATUS_REFUSED or first.answer.refusal.code != NO_REFUNDS:
        return False
    expect_same(first, [probe.refund(transaction_id, original, whole)], "a repeated refund")
    for original_id, amount_minor in ((original, 1), (_paid(probe), whole)):
        other = probe.refund(world.new_transaction_id(), original_id, amount_minor)
        if other.answer.refusal.code != NO_REFUNDS:
            raise Broken(f"one refund was answered {first.text}, another one {other.text}")
    return True


def _applies(probe: Probe) -> None:
    """Raises NotApplicable where the service refuses every refund, for it has none to give."""
    if _refuses_refunds(probe):
        raise NotApplicable(f"refuses refunds: {NO_REFUNDS}")


def _expect_confirmed(reply: Reply, told: pb.Money, final: pb.Money, when: str) -> None:
    expect(reply, pb.STATUS_CONFIRMED, when)
    if reply.answer.amount != told:
        raise Broken(f"{when} did not echo the amount of the Try")
    # Unset means all of the Try's amount.
    seen = reply.answer.confirmed if reply.answer.HasField("confirmed") else reply.answer.amount
    if seen != final:
        raise Broken(
            f"{when} told that {seen.minor_units} {seen.currency_code} became final, "
            f"not {final.minor_units} {final.currency_code}"
        )


@rule("11a", "A Confirm of less than was held makes that final, and says how much.")
def _confirms_less(probe: Probe) -> str:
    transaction_id = _held_twice(probe)
    reply = probe.confirm(transaction_id)
    _expect_confirmed(reply, _twice(probe), probe.money(), "a Confirm of less")
    present = probe.query(transaction_id)
    _expect_confirmed(present, _twice(probe), probe.money(), "the Query after a Confirm of less")
    return "CONFIRMED, with what became final"


@rule("11b", "A repeated Confirm of less gets the first answer; of another amount, none.")
def _repeated_less(probe: Probe) -> str:
    transaction_id = _held_twice(probe)
    first = probe.confirm(transaction_id)
    expect(first, pb.STATUS_CONFIRMED, "a Confirm of less")
    expect_same(first, [probe.confirm(transaction_id)], "a repeated Confirm of less")
    whole = probe.confirm(transaction_id, amount=_twice(probe))
    expect_code(whole, grpc.StatusCode.ALREADY_EXISTS, "a Confirm of all, after one of less,")
    expect_same(first, [probe.confirm(transaction_id)], "a repeated Confirm of less")
    return "the same bytes; ALREADY_EXISTS for all of it"


@rule("11c", "A Confirm of more than was held is refused with FAILED_PRECONDITION.")
def _confirms_more(probe: Probe) -> str:
    transaction_id, _ = held(probe)
    reply = probe.confirm(transaction_id, amount=probe.money(probe.options.amount_minor + 1))
    expect_code(reply, grpc.StatusCode.FAILED_PRECONDITION, "a Confirm of more than was held")
    expect(probe.query(transaction_id), pb.STATUS_HELD, "the Query after it")
    expect(probe.confirm(transaction_id), pb.STATUS_CONFIRMED, "the Confirm of what was held")
    return "FAILED_PRECONDITION; still HELD"


@rule("11d", "A Confirm of less gives the rest back, and takes no more than it says.")
def _gives_the_rest_back(probe: Probe) -> str:
    no_refunds, account = _refuses_refunds(probe), scarce(probe)
    transaction_id = _held_twice(probe, account)
    if no_refunds and free(probe, account) == _ONE_LEFT:
        # It holds something else than the amount, so there is no half of it; nothing is confirmed,
        # for nothing could give the account back what it had.
        raise NotApplicable(f"holds a unit, whatever the amount, and refuses refunds: {NO_REFUNDS}")
    reply = probe.confirm(transaction_id)
    expect(reply, pb.STATUS_CONFIRMED, "a Confirm of half of what was held")
    seen = free(probe, account)
    # The account is to be good for another check. Whether this works is told under rule 12.
    _refund(probe, transaction_id)
    if seen != _ONE_LEFT:
        raise Broken("after half of a hold was confirmed, the other half was not free")
    return "half of the hold confirmed, half free again"


def _refund(probe: Probe, original: str) -> tuple[Reply, Reply]:
    """The answers to a refund of the amount, and to its Confirm."""
    transaction_id = world.new_transaction_id()
    tried = probe.refund(transaction_id, original, probe.options.amount_minor)
    return tried, probe.confirm(transaction_id)


def _expect_held(reply: Reply, when: str) -> None:
    if reply.answer.status == pb.STATUS_PENDING:
        raise NotCheckable("the refund is PENDING: give an account that is refunded at once")
    expect(reply, pb.STATUS_HELD, when)


def _expect_exceeds(reply: Reply, when: str) -> None:
    if reply.answer.status != pb.STATUS_REFUSED or reply.answer.refusal.code != _EXCEEDS:
        raise Broken(f"{when} was answered {reply.text}, not REFUSED ({_EXCEEDS})")


@rule("12a", "A refund of a confirmed step, without an account, is held and confirmed.")
def _refunds(probe: Probe) -> str:
    _applies(probe)
    original = _paid(probe)
    transaction_id = world.new_transaction_id()
    tried = probe.refund(transaction_id, original, probe.options.amount_minor)
    _expect_held(tried, "a refund")
    for reply in (tried, probe.query(transaction_id), probe.confirm(transaction_id)):
        told = (reply.answer.transaction_id, reply.answer.phase, reply.answer.amount)
        if told != (transaction_id, probe.options.phase, probe.money()):
            raise Broken(f"{reply.operation} of a refund was answered {reply.text}, for another")
    expect(probe.query(transaction_id), pb.STATUS_CONFIRMED, "the Query after a refund's Confirm")
    expect(probe.query(original), pb.STATUS_CONFIRMED, "the Query of the step that was refunded")
    return "HELD, then CONFIRMED; the step itself stays CONFIRMED"


@rule("12b", "Refunds of one step, held or confirmed, together stay within what was confirmed.")
def _refunds_within(probe: Probe) -> str:
    _applies(probe)
    original, whole = _paid(probe), probe.options.amount_minor
    more = probe.refund(world.new_transaction_id(), original, whole + 1)
    _expect_exceeds(more, "a refund of more than was confirmed")
    undone, made = world.new_transaction_id(), world.new_transaction_id()
    _expect_held(probe.refund(undone, original, whole), "a refund of all that was confirmed")
    beside = probe.refund(world.new_transaction_id(), original, 1)
    _expect_exceeds(beside, "a refund beside one of the whole that is held")
    expect(probe.cancel(undone), pb.STATUS_CANCELLED, "the Cancel of a refund")
    _expect_held(probe.refund(made, original, whole), "a refund after another one's Cancel")
    expect(probe.confirm(made), pb.STATUS_CONFIRMED, "the Confirm of a refund")
    after = probe.refund(world.new_transaction_id(), original, 1)
    _expect_exceeds(after, "a refund after one of the whole was confirmed")
    return f"{_EXCEEDS} beyond it"


@rule("12c", "Refunds of one step at once stay within what was confirmed.")
def _refunds_at_once(probe: Probe) -> str:
    _applies(probe)
    original, whole = _paid(probe), probe.options.amount_minor
    asked = [
        ("Try", probe.refund_request(world.new_transaction_id(), original, whole))
        for _ in range(probe.options.parallel)
    ]
    replies = probe.ask_together(*asked)
    held_ones = [reply for reply in replies if reply.answer.status == pb.STATUS_HELD]
    if len(held_ones) != 1:
        raise Broken(f"{len(held_ones)} refunds of the whole were held at once, not 1")
    for reply in replies:
        if reply is not held_ones[0]:
            _expect_exceeds(reply, f"one of {len(replies)} refunds of the whole at once")
    return f"one of {len(replies)} held"


@rule("12d", "A refund of a step that was never confirmed is refused.")
def _refund_of_nothing(probe: Probe) -> str:
    open_id, _ = held(probe)
    undone, _ = held(probe)
    expect(probe.cancel(undone), pb.STATUS_CANCELLED, "a Cancel")
    codes = set()
    for what, original in (
        ("unknown", world.new_transaction_id()),
        ("only held", open_id),
        ("cancelled", undone),
    ):
        reply = probe.refund(world.new_transaction_id(), original, 1)
        expect(reply, pb.STATUS_REFUSED, f"a refund of a step that is {what}")
        codes.add(reply.answer.refusal.code)
        if not re.fullmatch(r"[A-Z][A-Z0-9_]*", reply.answer.refusal.code):
            raise Broken(f"the refusal's code is {reply.answer.refusal.code!r}")
    return ", ".join(sorted(codes))


@rule("12e", "A repeated refund gets the first answer; one of another step, ALREADY_EXISTS.")
def _repeated_refund(probe: Probe) -> str:
    _applies(probe)
    original, other = _paid(probe), _paid(probe)
    transaction_id, whole = world.new_transaction_id(), probe.options.amount_minor
    first = probe.refund(transaction_id, original, whole)
    _expect_held(first, "a refund")
    again = [probe.refund(transaction_id, original, whole) for _ in range(2)]
    expect_same(first, again, "a repeated refund")
    reply = probe.refund(transaction_id, other, whole)
    expect_code(reply, grpc.StatusCode.ALREADY_EXISTS, "a repeat that refunds another step")
    free_of_it = probe.refund(world.new_transaction_id(), other, whole)
    _expect_held(free_of_it, "a refund of that other step")
    return f"three times the same {len(first.raw)} bytes; ALREADY_EXISTS"


@rule("12f", "A refund that comes after its Cancel is answered CANCELLED and takes nothing.")
def _late_refund(probe: Probe) -> str:
    _applies(probe)
    original, whole = _paid(probe), probe.options.amount_minor
    transaction_id = world.new_transaction_id()
    expect(probe.cancel(transaction_id), pb.STATUS_CANCELLED, "a Cancel without a Try")
    late = probe.refund(transaction_id, original, whole)
    expect(late, pb.STATUS_CANCELLED, "a refund after its Cancel")
    after = probe.refund(world.new_transaction_id(), original, whole)
    _expect_held(after, "a refund of the whole, after that,")
    return "CANCELLED; the whole can still be refunded"


@rule("12g", "A refund of which less is confirmed leaves the rest to be refunded.")
def _refunds_less(probe: Probe) -> str:
    _applies(probe)
    transaction_id, whole = _held_twice(probe), 2 * probe.options.amount_minor
    confirmed = probe.confirm(transaction_id, amount=_twice(probe))
    expect(confirmed, pb.STATUS_CONFIRMED, "the Confirm of all that was held")
    refund = world.new_transaction_id()
    _expect_held(probe.refund(refund, transaction_id, whole), "a refund of all")
    reply = probe.confirm(refund)
    _expect_confirmed(reply, _twice(probe), probe.money(), "a Confirm of half of a refund")
    half = probe.options.amount_minor
    more = probe.refund(world.new_transaction_id(), transaction_id, half + 1)
    _expect_exceeds(more, "a refund of more than the other half")
    rest = probe.refund(world.new_transaction_id(), transaction_id, half)
    _expect_held(rest, "a refund of the other half")
    return "half refunded, half left"


@rule("12h", "A confirmed refund gives the account its money back, once.")
def _money_comes_back(probe: Probe) -> str:
    _applies(probe)
    account = scarce(probe)
    original = _held_twice(probe, account)
    paid = probe.confirm(original, amount=_twice(probe))
    expect(paid, pb.STATUS_CONFIRMED, "the Confirm")
    for wanted in (_ONE_LEFT, _TWO_LEFT):
        tried, done = _refund(probe, original)
        _expect_held(tried, "a refund of half")
        expect(done, pb.STATUS_CONFIRMED, "its Confirm")
        probe.confirm(done.answer.transaction_id)
        if free(probe, account) != wanted:
            raise Broken("after a refund, the account did not have just that much more free")
    return "two halves refunded, the account has what it had"


AMOUNT_RULES: tuple[Rule, ...] = (
    _confirms_less,
    _repeated_less,
    _confirms_more,
    _gives_the_rest_back,
    _refunds,
    _refunds_within,
    _refunds_at_once,
    _refund_of_nothing,
    _repeated_refund,
    _late_refund,
    _refunds_less,
    _money_comes_back,
)
