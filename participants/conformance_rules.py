"""Rules 0 to 7 of participant.proto: what a fence does with Try, Confirm and Cancel."""

from __future__ import annotations

import re

import grpc
from kessai.participant.v1 import participant_pb2 as pb

from participants import world
from participants.conformance_probe import Probe, Reply
from participants.conformance_steps import (
    Broken,
    NotCheckable,
    Rule,
    cancelled,
    confirmed,
    expect,
    expect_code,
    expect_same,
    free,
    held,
    refused,
    rule,
    scarce,
    tombstone,
)


@rule("0", "A Try of an account that works is held.")
def _try_holds(probe: Probe) -> str:
    reply = probe.try_(world.new_transaction_id())
    if reply.answer.status == pb.STATUS_PENDING:
        raise NotCheckable("the account's Try is PENDING: give an account that is held at once")
    expect(reply, pb.STATUS_HELD, "the Try")
    return "HELD"


@rule("1a", "A repeated Try gets the first answer, byte for byte.")
def _repeated_try(probe: Probe) -> str:
    transaction_id, first = held(probe)
    expect_same(first, [probe.try_(transaction_id) for _ in range(3)], "a repeated Try")
    return f"four times the same {len(first.raw)} bytes"


@rule("1b", "A repeated Confirm gets the first answer, byte for byte.")
def _repeated_confirm(probe: Probe) -> str:
    transaction_id, first = confirmed(probe)
    expect_same(first, [probe.confirm(transaction_id) for _ in range(3)], "a repeated Confirm")
    return f"four times the same {len(first.raw)} bytes"


@rule("1c", "A repeated Cancel gets the first answer, byte for byte.")
def _repeated_cancel(probe: Probe) -> str:
    transaction_id, first = cancelled(probe)
    expect_same(first, [probe.cancel(transaction_id) for _ in range(3)], "a repeated Cancel")
    return f"four times the same {len(first.raw)} bytes"


@rule("1d", "A Try repeated after the Confirm gets the first Try's answer and undoes nothing.")
def _try_after_confirm(probe: Probe) -> str:
    transaction_id, first = held(probe)
    expect(probe.confirm(transaction_id), pb.STATUS_CONFIRMED, "the Confirm")
    expect_same(first, [probe.try_(transaction_id)], "the Try repeated after the Confirm")
    expect(probe.query(transaction_id), pb.STATUS_CONFIRMED, "the Query after it")
    return "the first answer; Query says CONFIRMED"


@rule("1e", "Identical Trys at once all get one answer.")
def _trys_at_once(probe: Probe) -> str:
    held(probe)
    request = probe.try_request(world.new_transaction_id())
    replies = probe.ask_together(*[("Try", request)] * probe.options.parallel)
    for reply in replies:
        expect(reply, pb.STATUS_HELD, f"one of {len(replies)} identical Trys at once")
    expect_same(replies[0], replies, f"one of {len(replies)} identical Trys at once")
    return f"{len(replies)} times the same bytes"


@rule("1f", "Identical Confirms at once all get one answer.")
def _confirms_at_once(probe: Probe) -> str:
    transaction_id, _ = held(probe)
    request = probe.confirm_request(transaction_id)
    replies = probe.ask_together(*[("Confirm", request)] * probe.options.parallel)
    for reply in replies:
        expect(reply, pb.STATUS_CONFIRMED, f"one of {len(replies)} identical Confirms at once")
    expect_same(replies[0], replies, f"one of {len(replies)} identical Confirms at once")
    return f"{len(replies)} times the same bytes"


@rule("1g", "A repeated Try that was refused gets the first answer, byte for byte.")
def _repeated_refusal(probe: Probe) -> str:
    account = probe.options.refused_account
    transaction_id, first = refused(probe)
    again = [probe.try_(transaction_id, account=account) for _ in range(3)]
    expect_same(first, again, "a repeated Try")
    return f"four times the same {len(first.raw)} bytes"


@rule("1h", "The same transaction in another phase is a thing of its own.")
def _phases_apart(probe: Probe) -> str:
    transaction_id, _ = held(probe)
    other = probe.options.phase[:34] + "_other"
    expect(
        probe.query(transaction_id, phase=other),
        pb.STATUS_UNKNOWN_TRANSACTION,
        "a Query of the other phase",
    )
    amount = probe.money(probe.options.amount_minor + 1)
    second = probe.try_(transaction_id, phase=other, amount=amount)
    expect(second, pb.STATUS_HELD, "a Try of the other phase")
    expect(probe.cancel(transaction_id, phase=other), pb.STATUS_CANCELLED, "its Cancel")
    expect(probe.query(transaction_id), pb.STATUS_HELD, "a Query of the first phase")
    return "one phase cancelled, the other still HELD"


@rule("1i", "Repeated Trys, one after the other and at once, hold the amount once.")
def _holds_once(probe: Probe) -> str:
    account = scarce(probe)
    request = probe.try_request(world.new_transaction_id(), account=account)
    first = probe.ask("Try", request)
    expect(first, pb.STATUS_HELD, "the first Try")
    probe.ask("Try", request)
    probe.ask_together(*[("Try", request)] * probe.options.parallel)
    if free(probe, account) != [pb.STATUS_HELD, pb.STATUS_REFUSED, pb.STATUS_REFUSED]:
        raise Broken("after repeats of one Try, not exactly one more amount was free")
    return f"one amount held by {probe.options.parallel + 2} Trys"


@rule("1j", "Repeated Cancels give the amount back once.")
def _gives_back_once(probe: Probe) -> str:
    account = scarce(probe)
    kept, undone = world.new_transaction_id(), world.new_transaction_id()
    expect(probe.try_(kept, account=account), pb.STATUS_HELD, "the first Try")
    expect(probe.try_(undone, account=account), pb.STATUS_HELD, "the second Try")
    probe.cancel(undone)
    probe.cancel(undone)
    request = probe.cancel_request(undone)
    probe.ask_together(*[("Cancel", request)] * probe.options.parallel)
    if free(probe, account) != [pb.STATUS_HELD, pb.STATUS_REFUSED, pb.STATUS_REFUSED]:
        raise Broken("after repeats of one Cancel, not exactly one amount was free")
    return f"one amount given back by {probe.options.parallel + 2} Cancels"


@rule("2a", "A Cancel without a Try succeeds.")
def _cancel_without_try(probe: Probe) -> str:
    reply = probe.cancel(world.new_transaction_id())
    expect(reply, pb.STATUS_CANCELLED, "a Cancel without a Try")
    return "CANCELLED"


@rule("2b", "A Cancel without a Try leaves a tombstone that Query sees.")
def _tombstone_is_seen(probe: Probe) -> str:
    transaction_id, _ = tombstone(probe)
    expect(probe.query(transaction_id), pb.STATUS_CANCELLED, "the Query after it")
    return "CANCELLED"


@rule("2c", "A Cancel of a refused Try succeeds.")
def _cancel_of_refused(probe: Probe) -> str:
    transaction_id, _ = refused(probe)
    expect(probe.cancel(transaction_id), pb.STATUS_CANCELLED, "the Cancel of a refused Try")
    return "CANCELLED"


@rule("3a", "A Try after the tombstone is answered CANCELLED, however often it comes.")
def _late_try(probe: Probe) -> str:
    transaction_id, _ = tombstone(probe)
    for _ in range(2):
        expect(probe.try_(transaction_id), pb.STATUS_CANCELLED, "a Try after the tombstone")
    expect(probe.query(transaction_id), pb.STATUS_CANCELLED, "the Query after it")
    return "CANCELLED"


@rule("3b", "A Try after the Cancel of its hold is answered CANCELLED.")
def _try_after_cancel(probe: Probe) -> str:
    transaction_id, _ = cancelled(probe)
    expect(probe.try_(transaction_id), pb.STATUS_CANCELLED, "a Try after the Cancel")
    return "CANCELLED"


@rule("3c", "A Try and a Cancel at once end cancelled.")
def _try_and_cancel_at_once(probe: Probe) -> str:
    held(probe)
    for _ in range(5):
        transaction_id = world.new_transaction_id()
        tried, cancelled = probe.ask_together(
            ("Try", probe.try_request(transaction_id)),
            ("Cancel", probe.cancel_request(transaction_id)),
        )
        expect(cancelled, pb.STATUS_CANCELLED, "the Cancel")
        if tried.answer.status not in {pb.STATUS_HELD, pb.STATUS_CANCELLED}:
            raise Broken(f"the Try was answered {tried.text}, not HELD or CANCELLED")
        expect(probe.query(transaction_id), pb.STATUS_CANCELLED, "the Query after both")
        expect(probe.try_(transaction_id), pb.STATUS_CANCELLED, "the Try repeated after both")
    return "CANCELLED five times"


@rule("3d", "A Try after the tombstone holds nothing.")
def _late_try_holds_nothing(probe: Probe) -> str:
    account = scarce(probe)
    transaction_id, _ = tombstone(probe)
    probe.try_(transaction_id, account=account)
    if free(probe, account) != [pb.STATUS_HELD, pb.STATUS_HELD, pb.STATUS_REFUSED]:
        raise Broken("after a late Try, the account no longer had twice the amount free")
    return "the account has as much free as before"


@rule("4a", "A repeat with another amount is refused with ALREADY_EXISTS and changes nothing.")
def _other_amount(probe: Probe) -> str:
    amount = probe.money(probe.options.amount_minor + 1)
    return _differing(probe, "a Try with another amount", amount=amount)


@rule("4b", "A repeat with another currency is refused with ALREADY_EXISTS and changes nothing.")
def _other_currency(probe: Probe) -> str:
    other = "XTS" if probe.options.currency_code != "XTS" else "XXX"
    amount = probe.money(currency_code=other)
    return _differing(probe, "a Try with another currency", amount=amount)


@rule("4c", "A repeat with another account is refused with ALREADY_EXISTS and changes nothing.")
def _other_account(probe: Probe) -> str:
    account = probe.options.other_account
    return _differing(probe, "a Try with another account", account=account)


def _differing(probe: Probe, what: str, **changes: object) -> str:
    transaction_id, first = held(probe)
    expect_code(probe.try_(transaction_id, **changes), grpc.StatusCode.ALREADY_EXISTS, what)
    _expect_unchanged(probe, transaction_id, what)
    expect_same(first, [probe.try_(transaction_id)], "the first Try, repeated after that,")
    return "ALREADY_EXISTS; still HELD"


def _expect_unchanged(probe: Probe, transaction_id: str, what: str) -> None:
    present = probe.query(transaction_id)
    expect(present, pb.STATUS_HELD, f"the Query after {what}")
    if present.answer.amount != probe.money():
        raise Broken(f"after {what}, Query told another amount")


@rule("4d", "A Confirm repeated with another amount is refused with ALREADY_EXISTS.")
def _confirm_of_other_amount(probe: Probe) -> str:
    transaction_id, first = confirmed(probe)
    for amount_minor in (probe.options.amount_minor + 1, 2 * probe.options.amount_minor):
        reply = probe.confirm(transaction_id, amount=probe.money(amount_minor))
        expect_code(reply, grpc.StatusCode.ALREADY_EXISTS, "a Confirm repeated with another amount")
    expect(probe.query(transaction_id), pb.STATUS_CONFIRMED, "the Query after it")
    expect_same(first, [probe.confirm(transaction_id)], "the first Confirm, repeated after that,")
    return "ALREADY_EXISTS; still CONFIRMED"


@rule("5a", "A Confirm without a Try is refused with FAILED_PRECONDITION and leaves nothing.")
def _confirm_without_try(probe: Probe) -> str:
    transaction_id = world.new_transaction_id()
    reply = probe.confirm(transaction_id)
    expect_code(reply, grpc.StatusCode.FAILED_PRECONDITION, "a Confirm without a Try")
    present = probe.query(transaction_id)
    expect(present, pb.STATUS_UNKNOWN_TRANSACTION, "the Query after it")
    return "FAILED_PRECONDITION; Query says UNKNOWN_TRANSACTION"


@rule("5b", "A Confirm after a Cancel is refused with FAILED_PRECONDITION.")
def _confirm_after_cancel(probe: Probe) -> str:
    transaction_id, _ = cancelled(probe)
    reply = probe.confirm(transaction_id)
    expect_code(reply, grpc.StatusCode.FAILED_PRECONDITION, "a Confirm after a Cancel")
    expect(probe.query(transaction_id), pb.STATUS_CANCELLED, "the Query after it")
    return "FAILED_PRECONDITION; still CANCELLED"


@rule("5c", "A Confirm after a tombstone is refused with FAILED_PRECONDITION, late Try or not.")
def _confirm_after_tombstone(probe: Probe) -> str:
    transaction_id, _ = tombstone(probe)
    what = "a Confirm after the tombstone"
    expect_code(probe.confirm(transaction_id), grpc.StatusCode.FAILED_PRECONDITION, what)
    probe.try_(transaction_id)
    what = "a Confirm after the late Try"
    expect_code(probe.confirm(transaction_id), grpc.StatusCode.FAILED_PRECONDITION, what)
    return "FAILED_PRECONDITION"


@rule("5d", "A Confirm of a refused Try is refused with FAILED_PRECONDITION.")
def _confirm_of_refused(probe: Probe) -> str:
    transaction_id, _ = refused(probe)
    reply = probe.confirm(transaction_id)
    expect_code(reply, grpc.StatusCode.FAILED_PRECONDITION, "a Confirm of a refused Try")
    return "FAILED_PRECONDITION"


@rule("5e", "A Cancel after the Confirm is refused with FAILED_PRECONDITION and undoes nothing.")
def _cancel_after_confirm(probe: Probe) -> str:
    transaction_id, _ = confirmed(probe)
    reply = probe.cancel(transaction_id)
    expect_code(reply, grpc.StatusCode.FAILED_PRECONDITION, "a Cancel after the Confirm")
    expect(probe.query(transaction_id), pb.STATUS_CONFIRMED, "the Query after it")
    return "FAILED_PRECONDITION; still CONFIRMED"


@rule("6a", "Every answer echoes transaction_id and phase.")
def _echoes_names(probe: Probe) -> str:
    for reply, transaction_id in _every_answer(probe):
        told = (reply.answer.transaction_id, reply.answer.phase)
        if told != (transaction_id, probe.options.phase):
            raise Broken(f"{reply.operation} echoed {told[0]!r}, {told[1]!r}")
    return "echoed by Try, Confirm, Cancel and Query"


@rule("6b", "Every answer about a known Try echoes its amount.")
def _echoes_amount(probe: Probe) -> str:
    for reply, _ in _every_answer(probe):
        told = reply.answer.amount
        if told != probe.money():
            raise Broken(f"{reply.operation} echoed {told.minor_units} {told.currency_code!r}")
    return "echoed by Try, Confirm, Cancel and Query"


def _every_answer(probe: Probe) -> list[tuple[Reply, str]]:
    """Answers of a payment that was confirmed and of one that was cancelled, with their IDs."""
    paid, first = held(probe)
    undone, second = held(probe)
    return [
        (first, paid),
        (probe.query(paid), paid),
        (probe.confirm(paid), paid),
        (probe.query(paid), paid),
        (second, undone),
        (probe.cancel(undone), undone),
        (probe.query(undone), undone),
    ]


@rule("6c", "A refusal has a code in capitals and a reason for the person who pays.")
def _refusals_explain(probe: Probe) -> str:
    _, reply = refused(probe)
    refusal = reply.answer.refusal
    if not re.fullmatch(r"[A-Z][A-Z0-9_]*", refusal.code):
        raise Broken(f"the refusal's code is {refusal.code!r}")
    if not refusal.reason.strip():
        raise Broken(f"the refusal {refusal.code} gives no reason")
    return f"{refusal.code}: {refusal.reason}"


@rule("7", "What was answered is durable: fence and money change in one local transaction.")
def _durable(_probe: Probe) -> str:
    raise NotCheckable("not to be seen from outside: kill the service while it works and compare")


FENCE_RULES: tuple[Rule, ...] = (
    _try_holds,
    _repeated_try,
    _repeated_confirm,
    _repeated_cancel,
    _try_after_confirm,
    _trys_at_once,
    _confirms_at_once,
    _repeated_refusal,
    _phases_apart,
    _holds_once,
    _gives_back_once,
    _cancel_without_try,
    _tombstone_is_seen,
    _cancel_of_refused,
    _late_try,
    _try_after_cancel,
    _try_and_cancel_at_once,
    _late_try_holds_nothing,
    _other_amount,
    _other_currency,
    _other_account,
    _confirm_of_other_amount,
    _confirm_without_try,
    _confirm_after_cancel,
    _confirm_after_tombstone,
    _confirm_of_refused,
    _cancel_after_confirm,
    _echoes_names,
    _echoes_amount,
    _refusals_explain,
    _durable,
)
