"""The coordinator of the model: the real rules, asked once for each thing they can be asked.

`decide`, `record`, `advance` and `as_recovered` are the service's own, and so is the table that
turns an answer into an outcome (`adapters.participant_answers.outcome_of`). What is checked is then
the code, not somebody's memory of it. It stays cheap because a coordinator's `View` is small: the
state and each step's status. All that the rules ask beside it is abstracted into a choice:

time       a decision may be taken early, past the try deadline or past the reservation's end, at
           any moment and in any order: as if every process had a clock of its own that jumps
waits      a step is always due; that one waits is one of the things that may happen
attempts   0 or so many that the pivot is asked with Query, at any moment
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from itertools import product
from typing import NamedTuple

from kessai.participant.v1 import participant_pb2 as pb

from adapters.participant_answers import outcome_of
from coordinator.domain import decide as rules
from coordinator.domain.flow import Flow
from coordinator.domain.ids import TransactionId
from coordinator.domain.machine import CANCELLABLE, Event, State
from coordinator.domain.money import Money
from coordinator.domain.moves import advance, record
from coordinator.domain.opening import Terms, open_transaction
from coordinator.domain.outcome import Applied, Outcome, Refused, Unknown
from coordinator.domain.phase import Operation, Phase
from coordinator.domain.record import evolve
from coordinator.domain.step import Result, StepStatus
from coordinator.domain.transaction import (
    Draft,
    Failure,
    Step,
    Tender,
    Transaction,
    as_recovered,
)
from fault_injection.model.fence import Status
from fault_injection.model.variants import Switches

_ID = TransactionId("0197f2a0-0000-7000-8000-000000000001")
_START = datetime(2026, 1, 1, tzinfo=UTC)
_MINOR = 100
_CALLER = Failure("CANCELLED_BY_CALLER", "the caller cancelled")
_DECIDED = frozenset({State.CAPTURING, State.SETTLING, State.PAID})


class View(NamedTuple):
    """A transaction as somebody knows it: in the table, or in a process's memory.

    `dropped` are the steps of which a partial capture takes nothing.
    """

    state: State
    manual: bool
    statuses: tuple[StepStatus, ...]
    dropped: tuple[bool, ...]


class Cause(NamedTuple):
    """What a release cites: a code, and which participant (its number), if any."""

    code: str
    participant: int | None


class Move(NamedTuple):
    """A decision: what shall be committed, and what a release cites."""

    after: View
    cause: Cause | None


class Request(NamedTuple):
    """A call that is due: to which participant (its number), and which operation."""

    participant: int
    operation: Operation


@dataclass(frozen=True, slots=True)
class Options:
    """All that a process with one view may do next."""

    requests: tuple[Request, ...]
    moves: tuple[Move, ...]


class Coordinator:
    """The rules for one flow, by views."""

    def __init__(self, flow: Flow, switches: Switches) -> None:
        self.flow = flow
        self.phases = flow.called
        self._switches = switches
        self._opened = {manual: _opened(flow, manual=manual) for manual in (False, True)}
        self.options = cache(self._options)
        self.after = cache(self._after)
        self.recovered = cache(self._recovered)
        self.cancelled = cache(self._cancelled)
        self.captured = cache(self._captured)

    def first(self, *, manual: bool) -> View:
        """A payment just accepted."""
        return self._view(self._opened[manual])

    def _options(self, view: View) -> Options:
        """What `decide` says, at each time of day and count of attempts there is."""
        if self._switches.confirms_in_parallel and view.state is State.CAPTURING:
            return self._all_at_once(view)
        if self._switches.dropped_is_confirmed:
            return self._decided(view._replace(dropped=(False,) * len(view.dropped)))
        if self._switches.trying_not_cancelled and view.state is State.CANCELLING:
            return self._decided(view._replace(statuses=_without_trying(view.statuses)))
        return self._decided(view)

    def _decided(self, view: View) -> Options:
        requests: dict[Request, None] = {}
        moves: dict[Move, None] = {}
        before = self._transaction(view)
        for now in (_START, before.try_deadline, before.reserved_until):
            for attempts in self._attempts(view):
                transaction = self._asked(before, attempts)
                action = rules.decide(transaction, self.flow, now)
                if isinstance(action, rules.Perform):
                    requests |= dict.fromkeys(self._request(call) for call in action.calls)
                if isinstance(action, rules.Advance):
                    draft = advance(
                        Draft(transaction), self.flow, action.events, now, action.failure
                    )
                    cause = self._cause(action.failure)
                    moves[Move(self._view(draft.transaction), cause)] = None
        return Options(tuple(requests), tuple(moves))

    def _all_at_once(self, view: View) -> Options:
        """CAPTURING as it must not be: every Confirm at once, and settled when all are done."""
        own = self._decided(view)
        releases = tuple(move for move in own.moves if move.after.state is State.CANCELLING)
        if releases:
            return Options((), releases)
        pairs = enumerate(zip(view.statuses, view.dropped, strict=True))
        left = [i for i, (s, out) in pairs if s is not StepStatus.CONFIRMED and not out]
        if left:
            return Options(tuple(Request(i, Operation.CONFIRM) for i in left), ())
        return own

    def _after(self, view: View, request: Request, status: Status | None) -> View:
        """The view once the answer is recorded; None: no answer came in time."""
        phase = self.phases[request.participant]
        outcome = self._outcome(view, phase, request.operation, status)
        result = Result(phase.name, request.operation, outcome)
        draft = record(Draft(self._transaction(view)), self.flow, [result], _START)
        return self._view(draft.transaction)

    def _recovered(self, view: View) -> View:
        """What a process believes that finds this in the table."""
        if self._switches.recovered_as_untried:
            return view
        return self._view(as_recovered(self._transaction(view)))

    def _cancelled(self, view: View) -> View | None:
        """What a caller's cancel commits; None when it comes too late (engine/cancel.py)."""
        if view.state not in CANCELLABLE:
            return None
        draft = Draft(as_recovered(self._transaction(view)))
        return self._view(advance(draft, self.flow, (Event.RELEASE,), _START, _CALLER).transaction)

    def _captured(self, view: View) -> tuple[View, ...]:
        """What a caller's capture may commit: of everything, or of any part (engine/capture.py).

        Any step may be dropped, the merchant's too: more than can happen, so that the ordinary
        participants stay alike. Not all of them.
        """
        if view.state is not State.RESERVED or not view.manual:
            return ()
        parts = product((False, True), repeat=len(self.phases))
        return tuple(self._captured_part(view, part) for part in parts if not all(part))

    def _captured_part(self, view: View, dropped: tuple[bool, ...]) -> View:
        dropping = dict(zip((phase.name for phase in self.phases), dropped, strict=True))
        found = self._transaction(view)
        steps = tuple(
            evolve(step, final_minor=0 if dropping[step.phase] else step.amount.minor)
            if step.amount is not None
            else step
            for step in found.steps
        )
        decided = evolve(found, steps=steps)
        events = rules.capture_events(decided, self.flow)
        return self._view(advance(Draft(decided), self.flow, events, _START).transaction)

    def _outcome(
        self, view: View, phase: Phase, operation: Operation, status: Status | None
    ) -> Outcome:
        if status is None:
            return self._unanswered(view.state)
        step = self._transaction(view).step(phase.name)
        assert step.amount is not None, "only phases that call a participant are here"
        money = pb.Money(currency_code=step.amount.currency, minor_units=step.amount.minor)
        named = pb.Answer(
            transaction_id=_ID, phase=phase.name, amount=money, status=f"STATUS_{status}"
        )
        call = rules.Call(phase, operation, step, phase.retry.timeout_s)
        return outcome_of(_ID, call, named)

    def _unanswered(self, state: State) -> Outcome:
        if self._switches.timeout_is_refusal and state is State.CAPTURING:
            return Refused("NO_ANSWER", "it did not answer in time")
        if self._switches.timeout_is_success and state is State.SETTLING:
            return Applied()
        return Unknown("DEADLINE_EXCEEDED")

    def _attempts(self, view: View) -> tuple[int, ...]:
        pivot = self.flow.pivot
        asked_again = view.state is State.CAPTURING and pivot is not None
        return (0, pivot.retry.attempts) if asked_again and pivot else (0,)

    def _asked(self, transaction: Transaction, attempts: int) -> Transaction:
        steps = tuple(evolve(step, attempts=attempts) for step in transaction.steps)
        return evolve(transaction, steps=steps)

    def _transaction(self, view: View) -> Transaction:
        """A whole transaction that `view` is a view of."""
        opened = self._opened[view.manual]
        known = dict(
            zip(
                (phase.name for phase in self.phases),
                zip(view.statuses, view.dropped, strict=True),
                strict=True,
            )
        )
        steps = tuple(
            _stands(step, *known[step.phase], view.state) if step.phase in known else step
            for step in opened.steps
        )
        pending = view.state is State.CREATED and StepStatus.PENDING in view.statuses
        return evolve(
            opened,
            state=view.state,
            steps=steps,
            try_deadline=opened.reserved_until if pending else opened.try_deadline,
        )

    def _view(self, transaction: Transaction) -> View:
        steps = [transaction.step(phase.name) for phase in self.phases]
        return View(
            transaction.state,
            transaction.manual,
            tuple(step.status for step in steps),
            tuple(step.dropped for step in steps),
        )

    def _request(self, call: rules.Call) -> Request:
        return Request(self.phases.index(call.phase), call.operation)

    def _cause(self, failure: Failure | None) -> Cause | None:
        if failure is None:
            return None
        names = [phase.name for phase in self.phases]
        return Cause(failure.code, names.index(failure.phase) if failure.phase else None)


def _opened(flow: Flow, *, manual: bool) -> Transaction:
    tenders = [Tender(phase.name, "source", Money(_MINOR, "JPY")) for phase in flow.takers]
    items = {phase.name: "item" for phase in flow.keepers}
    return open_transaction(
        transaction_id=_ID,
        caller="shop",
        idempotency_key="key",
        request="{}",
        flow=flow,
        amount=Money(_MINOR * len(tenders), "JPY"),
        tenders=tenders,
        merchant_id="merchant",
        order_id="",
        customer_id="",
        now=_START,
        terms=Terms(manual=manual, items=items),
    ).transaction


def _stands(step: Step, status: StepStatus, dropped: bool, state: State) -> Step:
    refused = status is StepStatus.REFUSED
    assert step.amount is not None, "only phases that call a participant are here"
    final = 0 if dropped else step.amount.minor
    return evolve(
        step,
        status=status,
        refusal_code="REFUSED" if refused else "",
        final_minor=final if state in _DECIDED or dropped else None,
    )


def _without_trying(statuses: tuple[StepStatus, ...]) -> tuple[StepStatus, ...]:
    return tuple(
        StepStatus.CANCELLED if status is StepStatus.TRYING else status for status in statuses
    )
