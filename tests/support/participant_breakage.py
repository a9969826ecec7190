"""Participants that break one rule each: the real fence with one small override.

Imported by test_participant_conformance.py only.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from threading import Lock
from typing import Any

import grpc
import sqlalchemy as sa
from kessai.participant.v1 import participant_pb2 as pb

from participants import world
from participants.database import create_tables, in_transaction, make_engine
from participants.errors import FenceError
from participants.fence import Fence
from participants.fence_table import FENCE, FENCE_METADATA
from participants.ledger import ACCOUNTS, LEDGER_METADATA
from participants.performing import Conversation
from participants.points import Points
from participants.server import OnReady, run_in_thread, serve_until
from participants.service import Context, ParticipantService

Ask = Callable[[Any], Any]
Override = Callable[["BrokenFence", Any, Ask], Any]
"""Gets the fence, the request and what the real fence does; answers in its own way."""


@dataclass(frozen=True)
class Breakage:
    """What is wrong: an override for each operation, and whether malformed requests pass."""

    try_: Override | None = None
    confirm: Override | None = None
    cancel: Override | None = None
    query: Override | None = None
    list_transactions: Override | None = None
    validates: bool = True
    service: type[ParticipantService] = ParticipantService


class BrokenFence(Fence):
    """The real fence with a breakage."""

    def __init__(self, engine: sa.Engine, breakage: Breakage) -> None:
        super().__init__(engine, Points())
        self.engine = engine
        self.breakage = breakage
        self.numbers = itertools.count(1)
        self.seen: dict[str, Any] = {}
        self.lock = Lock()
        self.busy: set[tuple[str, str]] = set()

    def _do(self, override: Override | None, request: Any, ask: Ask) -> Any:
        return ask(request) if override is None else override(self, request, ask)

    def try_(self, request: pb.TryRequest) -> Any:
        return self._do(self.breakage.try_, request, super().try_)

    def confirm(self, request: pb.ConfirmRequest) -> Any:
        return self._do(self.breakage.confirm, request, super().confirm)

    def cancel(self, request: pb.CancelRequest) -> Any:
        return self._do(self.breakage.cancel, request, super().cancel)

    def query(self, request: pb.QueryRequest) -> Any:
        return self._do(self.breakage.query, request, super().query)

    def answer_together(self, _requests: Any) -> Any:
        raise FenceError("each alone, so that each meets the breakage")

    def list_transactions(self, request: pb.ListTransactionsRequest) -> Any:
        return self._do(self.breakage.list_transactions, request, super().list_transactions)

    def forget(self, request: Any) -> None:
        """Deletes the fence's row."""
        in_transaction(
            self.engine,
            lambda connection: connection.execute(
                sa.delete(FENCE).where(
                    FENCE.c.transaction_id == request.transaction_id,
                    FENCE.c.phase == request.phase,
                )
            ),
        )

    def present(self, request: Any) -> pb.Answer:
        """What the real fence knows."""
        query = pb.QueryRequest(transaction_id=request.transaction_id, phase=request.phase)
        return Fence.query(self, query).answer


class CarelessService(ParticipantService):
    """Checks no request."""

    async def Try(  # noqa: N802  gRPC
        self, request: pb.TryRequest, _context: Context
    ) -> pb.TryResponse:
        return pb.TryResponse(answer=_echo(request, pb.STATUS_HELD))

    async def Confirm(  # noqa: N802  gRPC
        self, request: pb.ConfirmRequest, _context: Context
    ) -> pb.ConfirmResponse:
        return pb.ConfirmResponse(answer=_echo(request, pb.STATUS_CONFIRMED))


class OneBehindService(ParticipantService):
    """Answers over a stream with the number of the question before."""

    async def Perform(self, request_iterator: Any, context: Context) -> None:  # noqa: N802
        async def write(response: pb.PerformResponse) -> None:
            numbers = [reply.number for reply in response.replies]
            for reply, number in zip(response.replies, numbers[-1:] + numbers[:-1], strict=True):
                reply.number = number
            await context.write(response)

        await Conversation(self, write).perform(request_iterator, asyncio.Event())


class NoStreams(ParticipantService):
    """Serves single calls alone."""

    async def Perform(self, _request_iterator: Any, context: Context) -> None:  # noqa: N802
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "there is no Perform here")


class ForgetfulStreams(ParticipantService):
    """What is asked over a stream has a reference of its own each time."""

    async def perform_alone(self, request: Any) -> pb.Answer:
        answer = await super().perform_alone(request)
        answer.reference = world.new_transaction_id()
        return answer


class AllOrNothingService(ParticipantService):
    """Ends the stream for one question that is malformed."""

    def check(self, request: Any) -> None:
        try:
            super().check(request)
        except FenceError as error:
            raise ValueError(str(error)) from error


def broken_points(
    breakage: Breakage, database_url: str, seeds: Mapping[str, int]
) -> AbstractContextManager[str]:
    """A points service with the breakage; gives its address."""

    async def run(stop: asyncio.Event, on_ready: OnReady) -> None:
        engine = make_engine(database_url)
        create_tables(engine, FENCE_METADATA, LEDGER_METADATA)
        in_transaction(engine, lambda connection: Points().prepare(connection, seeds))
        with ThreadPoolExecutor(16) as executor:
            make = breakage.service if breakage.validates else CarelessService
            service = make(BrokenFence(engine, breakage), executor)
            await serve_until(stop, service, listen="127.0.0.1:0", on_ready=on_ready, grace_s=0.2)
        engine.dispose()

    return run_in_thread(run)


def _echo(request: Any, status: pb.Status) -> pb.Answer:
    answer = pb.Answer(transaction_id=request.transaction_id, phase=request.phase, status=status)
    if hasattr(request, "amount"):
        answer.amount.CopyFrom(request.amount)
    return answer


def _numbered(fence: BrokenFence, request: Any, ask: Ask) -> Any:
    """Every answer has a reference of its own."""
    response = ask(request)
    response.answer.reference = f"answer {next(fence.numbers)}"
    return response


def _present_state(fence: BrokenFence, request: Any, ask: Ask) -> Any:
    """A repeat is told what holds now."""
    ask(request)
    return pb.TryResponse(answer=fence.present(request))


def _takes_again(fence: BrokenFence, request: pb.TryRequest, ask: Ask) -> Any:
    """The answers are right, but every Try takes the amount."""
    response = ask(request)
    if response.answer.status == pb.STATUS_HELD:
        key = request.transaction_id
        if key in fence.seen:
            _change_held(fence, request.account, request.amount.minor_units)
        fence.seen[key] = request
    return response


def _gives_again(fence: BrokenFence, request: pb.CancelRequest, ask: Ask) -> Any:
    """The answers are right, but every Cancel gives an amount back."""
    again = fence.present(request).status == pb.STATUS_CANCELLED
    response = ask(request)
    if again and request.transaction_id in fence.seen:
        tried = fence.seen[request.transaction_id]
        _change_held(fence, tried.account, -tried.amount.minor_units)
    return response


def _remembers(fence: BrokenFence, request: pb.TryRequest, ask: Ask) -> Any:
    fence.seen[request.transaction_id] = request
    return ask(request)


def _change_held(fence: BrokenFence, account: str, by: int) -> None:
    held = sa.func.greatest(0, sa.func.least(ACCOUNTS.c.balance_minor, ACCOUNTS.c.held_minor + by))
    change = sa.update(ACCOUNTS).where(ACCOUNTS.c.account == f"wallet:{account}")
    in_transaction(
        fence.engine, lambda connection: connection.execute(change.values(held_minor=held))
    )


def _takes_after_tombstone(fence: BrokenFence, request: pb.TryRequest, ask: Ask) -> Any:
    """A late Try is answered CANCELLED, and takes the amount nevertheless."""
    response = ask(request)
    if response.answer.status == pb.STATUS_CANCELLED:
        _change_held(fence, request.account, request.amount.minor_units)
    return response


def _one_phase(_fence: BrokenFence, request: Any, ask: Ask) -> Any:
    """Phases are not told apart."""
    changed = type(request)()
    changed.CopyFrom(request)
    changed.phase = "only"
    return ask(changed)


def _fails(_fence: BrokenFence, _request: Any, _ask: Ask) -> Any:
    raise FenceError("broken")


def _refuses(_fence: BrokenFence, request: pb.TryRequest, _ask: Ask) -> Any:
    return pb.TryResponse(answer=_echo(request, pb.STATUS_REFUSED))


def _at_most_one_at_once(fence: BrokenFence, request: Any, ask: Ask) -> Any:
    """Two at once: the second fails, as on a unique key that nobody handles."""
    key = (type(request).__name__, request.transaction_id)
    with fence.lock:
        if key in fence.busy:
            raise FenceError("duplicate key")
        fence.busy.add(key)
    try:
        _pause(fence)
        return ask(request)
    finally:
        fence.busy.discard(key)


def _pause(fence: BrokenFence) -> None:
    """Long enough for requests that were sent together to meet."""
    in_transaction(
        fence.engine, lambda connection: connection.execute(sa.text("SELECT pg_sleep(0.1)"))
    )


def _needs_a_try(fence: BrokenFence, request: pb.CancelRequest, ask: Ask) -> Any:
    if fence.present(request).status == pb.STATUS_UNKNOWN_TRANSACTION:
        raise FenceError("no such transaction")
    return ask(request)


def _no_tombstone(fence: BrokenFence, request: pb.CancelRequest, ask: Ask) -> Any:
    """A Cancel without a Try is answered and forgotten."""
    unknown = fence.present(request).status == pb.STATUS_UNKNOWN_TRANSACTION
    response = ask(request)
    if unknown:
        fence.forget(request)
    return response


def _refused_cancel_fails(fence: BrokenFence, request: pb.CancelRequest, ask: Ask) -> Any:
    if fence.present(request).status == pb.STATUS_REFUSED:
        raise FenceError("it was refused")
    return ask(request)


def _forgets_cancelled_hold(fence: BrokenFence, request: pb.CancelRequest, ask: Ask) -> Any:
    held = fence.present(request).status == pb.STATUS_HELD
    response = ask(request)
    if held:
        fence.forget(request)
        _drop_hold(fence, request)
    return response


def _drop_hold(fence: BrokenFence, request: Any) -> None:
    in_transaction(
        fence.engine,
        lambda connection: connection.execute(
            sa.text("DELETE FROM ledger_holds WHERE transaction_id = CAST(:id AS uuid)"),
            {"id": request.transaction_id},
        ),
    )


def _first_request(fence: BrokenFence, request: Any, ask: Ask, *fields: str) -> Any:
    """Takes `fields` from the first request, so that a difference is not seen."""
    first = fence.seen.setdefault(request.transaction_id, request)
    changed = type(request)()
    changed.CopyFrom(request)
    for name in fields:
        target = changed.amount if name != "account" else changed
        source = first.amount if name != "account" else first
        setattr(target, name, getattr(source, name))
    return ask(changed)


def _ignores(*fields: str) -> Override:
    return lambda fence, request, ask: _first_request(fence, request, ask, *fields)


def _repeats_any_confirm(fence: BrokenFence, request: pb.ConfirmRequest, ask: Ask) -> Any:
    """After the first Confirm, one of any other amount gets its answer."""
    known = fence.present(request)
    return ask(_confirm_of(request, known.confirmed) if known.HasField("confirmed") else request)


def _confirms_all(fence: BrokenFence, request: pb.ConfirmRequest, ask: Ask) -> Any:
    """Whatever it says, all that was held becomes final."""
    known = fence.present(request)
    return ask(_confirm_of(request, known.amount) if known.HasField("amount") else request)


def _confirms_when(*statuses: pb.Status) -> Override:
    """Says CONFIRMED where it must not."""

    def confirm(fence: BrokenFence, request: pb.ConfirmRequest, ask: Ask) -> Any:
        if fence.present(request).status in statuses:
            return pb.ConfirmResponse(answer=_echo(request, pb.STATUS_CONFIRMED))
        return ask(request)

    return confirm


def _cancels_confirmed(fence: BrokenFence, request: pb.CancelRequest, ask: Ask) -> Any:
    if fence.present(request).status == pb.STATUS_CONFIRMED:
        return pb.CancelResponse(answer=_echo(request, pb.STATUS_CANCELLED))
    return ask(request)


def _echoes(**values: Any) -> Override:
    """Echoes something else."""

    def answer(_fence: BrokenFence, request: Any, ask: Ask) -> Any:
        response = ask(request)
        for name, value in values.items():
            if name == "minor_units":
                response.answer.amount.minor_units = value
            else:
                setattr(response.answer, name, value)
        return response

    return answer


def _no_reason(_fence: BrokenFence, request: Any, ask: Ask) -> Any:
    response = ask(request)
    if response.answer.HasField("refusal"):
        response.answer.refusal.reason = ""
    return response


def _query_leaves_tombstone(fence: BrokenFence, request: pb.QueryRequest, ask: Ask) -> Any:
    response = ask(request)
    if response.answer.status == pb.STATUS_UNKNOWN_TRANSACTION:
        named = pb.CancelRequest(transaction_id=request.transaction_id, phase=request.phase)
        Fence.cancel(fence, named)
    return response


def _query_says_held(_fence: BrokenFence, request: Any, ask: Ask) -> Any:
    response = ask(request)
    if response.answer.status != pb.STATUS_UNKNOWN_TRANSACTION:
        response.answer.status = pb.STATUS_HELD
    return response


def _lists_held_only(_fence: BrokenFence, request: Any, ask: Ask) -> Any:
    response = ask(request)
    kept = [line for line in response.transactions if line.answer.status == pb.STATUS_HELD]
    del response.transactions[:]
    response.transactions.extend(kept)
    return response


def _page_starts_over(_fence: BrokenFence, request: Any, ask: Ask) -> Any:
    """Every second page repeats the first."""
    if request.page_size != 1 or not request.page_token:
        return ask(request)
    response = ask(request)
    again = pb.ListTransactionsRequest()
    again.CopyFrom(request)
    again.page_token = ""
    del response.transactions[:]
    response.transactions.extend(ask(again).transactions)
    return response


def _ignores_window_end(_fence: BrokenFence, request: Any, ask: Ask) -> Any:
    changed = pb.ListTransactionsRequest()
    changed.CopyFrom(request)
    changed.ClearField("update_time_to")
    return ask(changed)


def _confirm_of(request: pb.ConfirmRequest, amount: pb.Money) -> pb.ConfirmRequest:
    changed = pb.ConfirmRequest()
    changed.CopyFrom(request)
    changed.amount.CopyFrom(amount)
    return changed


def _confirms_no_more(fence: BrokenFence, request: pb.ConfirmRequest, ask: Ask) -> Any:
    """A Confirm of more than was held makes final what was held."""
    known = fence.present(request).amount
    over = known.minor_units and known.minor_units < request.amount.minor_units
    return ask(_confirm_of(request, known) if over else request)


def _keeps_the_rest(fence: BrokenFence, request: pb.ConfirmRequest, ask: Ask) -> Any:
    """The answers are right, but what was not confirmed stays held."""
    tried, first = fence.seen[request.transaction_id], fence.present(request)
    response = ask(request)
    if first.status == pb.STATUS_HELD and not tried.HasField("refund_of"):
        rest = tried.amount.minor_units - request.amount.minor_units
        _change_held(fence, tried.account, rest)
    return response


def _change_refunded(fence: BrokenFence, request: pb.TryRequest, refunded: Any) -> None:
    """Sets what counts as refunded of the step that the request refunds."""
    original = request.refund_of
    change = sa.update(FENCE).where(
        FENCE.c.transaction_id == original.transaction_id, FENCE.c.phase == original.phase
    )
    in_transaction(
        fence.engine, lambda connection: connection.execute(change.values(refunded_minor=refunded))
    )


def _forgets_refunds(fence: BrokenFence, request: pb.TryRequest, ask: Ask) -> Any:
    """Each refund alone stays within what was confirmed."""
    if request.HasField("refund_of"):
        _change_refunded(fence, request, 0)
    return ask(request)


def _refunds_what_was_held(fence: BrokenFence, request: pb.TryRequest, ask: Ask) -> Any:
    """More than was confirmed is refunded, up to what was held."""
    response = ask(request)
    if response.answer.refusal.code != "REFUND_EXCEEDS_PAYMENT":
        return response
    if request.amount.minor_units <= fence.present(request.refund_of).amount.minor_units:
        return pb.TryResponse(answer=_echo(request, pb.STATUS_HELD))
    return response


def _refuses_refunds(_fence: BrokenFence, request: pb.TryRequest, ask: Ask) -> Any:
    """An account is asked for."""
    if not request.account:
        return pb.TryResponse(answer=_echo(request, pb.STATUS_REFUSED))
    return ask(request)


def says_no_refunds_to_large_ones(
    _fence: BrokenFence, request: pb.TryRequest, ask: Ask
) -> pb.TryResponse:
    """Refuses refunds of 100 and more as one that has none, and makes small ones."""
    if not request.HasField("refund_of") or request.amount.minor_units < 100:
        response: pb.TryResponse = ask(request)
        return response
    answer = _echo(request, pb.STATUS_REFUSED)
    answer.refusal.CopyFrom(pb.Refusal(code="NO_REFUNDS", reason="None of these."))
    return pb.TryResponse(answer=answer)


def _refunds_anything(_fence: BrokenFence, request: pb.TryRequest, ask: Ask) -> Any:
    response = ask(request)
    if response.answer.refusal.code == "NOTHING_TO_REFUND":
        return pb.TryResponse(answer=_echo(request, pb.STATUS_HELD))
    return response


def _ignores_the_step(fence: BrokenFence, request: pb.TryRequest, ask: Ask) -> Any:
    """A repeat that refunds another step is taken for the first."""
    first = fence.seen.setdefault(request.transaction_id, request)
    changed = pb.TryRequest()
    changed.CopyFrom(request)
    if first.HasField("refund_of"):
        changed.refund_of.CopyFrom(first.refund_of)
    return ask(changed)


def _late_refund_counts(fence: BrokenFence, request: pb.TryRequest, ask: Ask) -> Any:
    """A refund after its Cancel is answered CANCELLED, and counts nevertheless."""
    response = ask(request)
    if request.HasField("refund_of") and response.answer.status == pb.STATUS_CANCELLED:
        _change_refunded(fence, request, FENCE.c.refunded_minor + request.amount.minor_units)
    return response


def _counts_the_whole(fence: BrokenFence, request: pb.ConfirmRequest, ask: Ask) -> Any:
    """A refund counts with all of its Try, however little is confirmed."""
    response = ask(request)
    tried = fence.seen[request.transaction_id]
    if tried.HasField("refund_of"):
        _change_refunded(fence, tried, tried.amount.minor_units)
    return response


def _refunds_in_words(fence: BrokenFence, request: pb.ConfirmRequest, ask: Ask) -> Any:
    """The answers are right, but no refund's money comes back."""
    first = fence.present(request).status == pb.STATUS_HELD
    response, tried = ask(request), fence.seen[request.transaction_id]
    if first and tried.HasField("refund_of"):
        paid = fence.seen[tried.refund_of.transaction_id]
        _change_held(fence, paid.account, request.amount.minor_units)
    return response


BREAKAGES: dict[str, Breakage] = {
    "0": Breakage(try_=_refuses),
    "1a": Breakage(try_=_numbered),
    "1b": Breakage(confirm=_numbered),
    "1c": Breakage(cancel=_numbered),
    "1d": Breakage(try_=_present_state),
    "1e": Breakage(try_=_at_most_one_at_once),
    "1f": Breakage(confirm=_at_most_one_at_once),
    "1g": Breakage(try_=_numbered),
    "1h": Breakage(try_=_one_phase, confirm=_one_phase, cancel=_one_phase, query=_one_phase),
    "1i": Breakage(try_=_takes_again),
    "1j": Breakage(try_=_remembers, cancel=_gives_again),
    "2a": Breakage(cancel=_needs_a_try),
    "2b": Breakage(cancel=_no_tombstone),
    "2c": Breakage(cancel=_refused_cancel_fails),
    "3a": Breakage(cancel=_no_tombstone),
    "3b": Breakage(cancel=_forgets_cancelled_hold),
    "3c": Breakage(cancel=_no_tombstone, try_=_at_most_one_at_once),
    "3d": Breakage(try_=_takes_after_tombstone),
    "4a": Breakage(try_=_ignores("minor_units")),
    "4b": Breakage(try_=_ignores("currency_code")),
    "4c": Breakage(try_=_ignores("account")),
    "4d": Breakage(confirm=_repeats_any_confirm),
    "5a": Breakage(confirm=_confirms_when(pb.STATUS_UNKNOWN_TRANSACTION)),
    "5b": Breakage(confirm=_confirms_when(pb.STATUS_CANCELLED)),
    "5c": Breakage(confirm=_confirms_when(pb.STATUS_CANCELLED)),
    "5d": Breakage(confirm=_confirms_when(pb.STATUS_REFUSED)),
    "5e": Breakage(cancel=_cancels_confirmed),
    "6a": Breakage(confirm=_echoes(transaction_id="something else")),
    "6b": Breakage(confirm=_echoes(minor_units=1)),
    "6c": Breakage(try_=_no_reason),
    "8a": Breakage(query=_query_leaves_tombstone),
    "8b": Breakage(query=_query_says_held),
    "9a": Breakage(list_transactions=_lists_held_only),
    "9b": Breakage(list_transactions=_page_starts_over),
    "9c": Breakage(list_transactions=_ignores_window_end),
    "10a": Breakage(validates=False),
    "10b": Breakage(validates=False),
    "11a": Breakage(confirm=_confirms_all),
    "11b": Breakage(confirm=_repeats_any_confirm),
    "11c": Breakage(confirm=_confirms_no_more),
    "11d": Breakage(try_=_remembers, confirm=_keeps_the_rest),
    "12a": Breakage(try_=_refuses_refunds),
    "12b": Breakage(try_=_refunds_what_was_held),
    "12c": Breakage(try_=_forgets_refunds),
    "12d": Breakage(try_=_refunds_anything),
    "12e": Breakage(try_=_ignores_the_step),
    "12f": Breakage(try_=_late_refund_counts),
    "12g": Breakage(try_=_remembers, confirm=_counts_the_whole),
    "12h": Breakage(try_=_remembers, confirm=_refunds_in_words),
    "13a": Breakage(service=OneBehindService),
    "13b": Breakage(service=AllOrNothingService),
}
