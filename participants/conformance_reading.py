"""Rules 8 to 10 of participant.proto: Query, ListTransactions, and malformed requests."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import grpc
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from kessai.participant.v1 import participant_pb2 as pb

from participants import world
from participants.conformance_probe import Probe
from participants.conformance_steps import (
    Broken,
    Rule,
    cancelled,
    confirmed,
    expect,
    expect_code,
    held,
    rule,
)

_PAGE_LIMIT = 1_000
_CLOCK_SKEW = timedelta(minutes=10)


@rule("8a", "A Query of an unknown transaction says so and changes nothing.")
def _query_unknown(probe: Probe) -> str:
    transaction_id = world.new_transaction_id()
    for _ in range(2):
        reply = probe.query(transaction_id)
        expect(reply, pb.STATUS_UNKNOWN_TRANSACTION, "a Query of an unknown transaction")
    tried = probe.try_(transaction_id)
    if tried.answer.status == pb.STATUS_CANCELLED:
        raise Broken("after a Query of it, the transaction's first Try was answered CANCELLED")
    return "UNKNOWN_TRANSACTION"


@rule("8b", "Query tells what holds now: HELD, then CONFIRMED or CANCELLED.")
def _query_tells(probe: Probe) -> str:
    open_id, _ = held(probe)
    expect(probe.query(open_id), pb.STATUS_HELD, "the Query after a Try")
    paid, _ = confirmed(probe)
    expect(probe.query(paid), pb.STATUS_CONFIRMED, "the Query after a Confirm")
    undone, _ = cancelled(probe)
    expect(probe.query(undone), pb.STATUS_CANCELLED, "the Query after a Cancel")
    return "HELD, CONFIRMED, CANCELLED"


@dataclass(frozen=True, slots=True)
class _Listed:
    """Four transactions of ours, as they were listed: ID to status, in order of their change."""

    expected: dict[str, int]
    times: dict[str, Timestamp]

    @property
    def window(self) -> tuple[Timestamp, Timestamp]:
        """The shortest window that holds all of them: from the first change to behind the last."""
        times = sorted(self.times.values(), key=_instant)
        end = Timestamp()
        end.FromNanoseconds(times[-1].ToNanoseconds() + 1_000)
        return times[0], end


def _instant(time: Timestamp) -> int:
    return time.ToNanoseconds()


def _pages(probe: Probe, request: pb.ListTransactionsRequest) -> list[pb.ListedTransaction]:
    """Every line of every page. Raises Broken when the pages do not end."""
    lines: list[pb.ListedTransaction] = []
    for _ in range(_PAGE_LIMIT):
        page = probe.list_page(request)
        lines.extend(page.transactions)
        if request.page_size and len(page.transactions) > request.page_size:
            raise Broken(f"a page of {request.page_size} had {len(page.transactions)} lines")
        if not page.next_page_token:
            return lines
        request.page_token = page.next_page_token
    raise Broken(f"after {_PAGE_LIMIT} pages there was still another one")


def _listed(probe: Probe) -> _Listed:
    """Makes four transactions and finds them in the list. Raises Broken when they are not there."""
    expected: dict[str, int] = {held(probe)[0]: pb.STATUS_HELD, held(probe)[0]: pb.STATUS_HELD}
    expected[confirmed(probe)[0]] = pb.STATUS_CONFIRMED
    expected[cancelled(probe)[0]] = pb.STATUS_CANCELLED
    request = pb.ListTransactionsRequest(page_size=500)
    request.update_time_from.FromDatetime(world.now() - _CLOCK_SKEW)
    times: dict[str, Timestamp] = {}
    told: dict[str, int] = {}
    for line in _pages(probe, request):
        if line.answer.transaction_id in expected:
            times[line.answer.transaction_id] = line.update_time
            told[line.answer.transaction_id] = line.answer.status
    missing = len(expected) - len(told)
    if missing:
        raise Broken(f"{missing} of {len(expected)} new transactions are not listed")
    return _Listed(told, times)


@rule("9a", "ListTransactions lists every transaction as it stands now.")
def _lists_present(probe: Probe) -> str:
    listed = _listed(probe)
    for transaction_id, status in listed.expected.items():
        present = probe.query(transaction_id).answer.status
        if present != status:
            raise Broken(f"a transaction is listed as status {status} while Query says {present}")
    return "four new transactions, listed as Query tells them"


@rule("9b", "The pages of a list lose and repeat nothing, oldest change first.")
def _pages_fit(probe: Probe) -> str:
    listed = _listed(probe)
    start, end = listed.window
    request = pb.ListTransactionsRequest(update_time_from=start, update_time_to=end, page_size=1)
    lines = _pages(probe, request)
    ours = [line for line in lines if line.answer.transaction_id in listed.expected]
    if len(ours) != len(listed.expected):
        raise Broken(f"pages of 1 list {len(ours)} of {len(listed.expected)} transactions")
    if len({line.answer.transaction_id for line in ours}) != len(ours):
        raise Broken("pages of 1 list a transaction twice and leave another one out")
    instants = [_instant(line.update_time) for line in lines]
    if instants != sorted(instants):
        raise Broken("the changes are not listed oldest first")
    return f"{len(lines)} pages of 1, in order"


@rule("9c", "A list has the changes from update_time_from up to, but not at, update_time_to.")
def _window_holds(probe: Probe) -> str:
    listed = _listed(probe)
    start, end = listed.window
    last = max(listed.times.values(), key=_instant)
    whole = pb.ListTransactionsRequest(update_time_from=start, update_time_to=end)
    open_end = pb.ListTransactionsRequest(update_time_from=start, update_time_to=last)
    inside = {line.answer.transaction_id for line in _pages(probe, whole)}
    before = [_instant(line.update_time) for line in _pages(probe, open_end)]
    if not inside >= set(listed.expected):
        raise Broken("a change at update_time_from is not listed")
    if before and max(before) >= _instant(last):
        raise Broken("a change at update_time_to is listed")
    if before and min(before) < _instant(start):
        raise Broken("a change before update_time_from is listed")
    return "the first change is inside, the last one outside"


@rule("10a", "A malformed Try is refused with INVALID_ARGUMENT.")
def _malformed_try(probe: Probe) -> str:
    fresh = world.new_transaction_id
    malformed: dict[str, Message] = {
        "no UUID": probe.try_request("not-a-uuid"),
        "a phase in capitals": probe.try_request(fresh(), phase="Not A Phase"),
        "no amount": probe.try_request(fresh(), amount=None),
        "an amount of 0": probe.try_request(fresh(), amount=probe.money(0)),
        "an amount below 0": probe.try_request(fresh(), amount=probe.money(-1)),
        "a currency that is none": probe.try_request(fresh(), amount=probe.money(None, "yen")),
        "no account": probe.try_request(fresh(), account=""),
    }
    for what, request in malformed.items():
        reply = probe.ask("Try", request)
        expect_code(reply, grpc.StatusCode.INVALID_ARGUMENT, f"a Try with {what}")
    return f"{len(malformed)} kinds, INVALID_ARGUMENT each"


@rule("10b", "A malformed Confirm, Cancel or Query is refused with INVALID_ARGUMENT.")
def _malformed_others(probe: Probe) -> str:
    replies = [
        probe.confirm("not-a-uuid"),
        probe.confirm(world.new_transaction_id(), amount=None),
        probe.cancel("not-a-uuid"),
        probe.cancel(world.new_transaction_id(), phase=""),
        probe.query("not-a-uuid"),
        probe.query(world.new_transaction_id(), phase=""),
    ]
    for reply in replies:
        what = f"a malformed {reply.operation}"
        expect_code(reply, grpc.StatusCode.INVALID_ARGUMENT, what)
    return f"{len(replies)} kinds, INVALID_ARGUMENT each"


READING_RULES: tuple[Rule, ...] = (
    _query_unknown,
    _query_tells,
    _lists_present,
    _pages_fit,
    _window_holds,
    _malformed_try,
    _malformed_others,
)
