"""Logs. One line when a payment settles or something is troubled; more at level debug.

Only fields on the allow-list are ever written, so that a secret cannot slip into a log by a new
field name; free text comes from our own constants, or from a participant's clipped reason.
"""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Callable, MutableMapping, Sequence
from typing import Any, ParamSpec

import structlog

from coordinator.domain.entries import EntryKind
from coordinator.domain.ids import TransactionId
from coordinator.domain.machine import SETTLED
from coordinator.domain.outcome import Outcome
from coordinator.domain.phase import Operation
from coordinator.domain.transaction import Change, Transaction
from coordinator.ports import BreakerState, Observer

P = ParamSpec("P")

ALLOWED = frozenset(
    {
        "act",
        "actor",
        "address",
        "amount_minor",
        "attempts",
        "attention",
        "caller",
        "code",
        "currency",
        "duration_ms",
        "error",
        "event",
        "exception",
        "flow",
        "left_out",
        "given_back",
        "kind",
        "level",
        "method",
        "owner",
        "participant",
        "payment_id",
        "phase",
        "place",
        "profile",
        "reason",
        "refunded_minor",
        "rules",
        "state",
        "timestamp",
        "transaction_id",
        "version",
        "what",
        "worker",
    }
)
REDACTED = "[redacted]"
SAME_LINES = 20
"""How many lines about the same trouble are written in a second; the next says `left_out`."""


def allow_listed(
    _logger: object, _name: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """A structlog processor: values of unknown fields are replaced."""
    for name in event.keys() - ALLOWED:
        event[name] = REDACTED
    return event


def configure_logs(form: str, level: str, worker: int | None = None) -> None:
    """Sets up logs on stderr: `form` is json or console, `level` debug, info, warning or error.

    Every line carries the number of the `worker`, if there are several.
    """

    def numbered(_logger: object, _name: str, event: MutableMapping[str, Any]) -> Any:
        if worker is not None:
            event["worker"] = worker
        return event

    renderer: Any = structlog.processors.JSONRenderer()
    if form == "console":
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            numbered,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            allow_listed,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )


class Unfailing:
    """An `Observer` that passes on to another one and never raises.

    Money goes on moving when a disk is full and no log line can be written.
    """

    def __init__(self, observer: Observer) -> None:
        self.committed = _unfailing(observer.committed)
        self.troubled = _unfailing(observer.troubled)
        self.called = _unfailing(observer.called)
        self.grouped = _unfailing(observer.grouped)
        self.claim_lost = _unfailing(observer.claim_lost)
        self.breaker_changed = _unfailing(observer.breaker_changed)
        self.served = _unfailing(observer.served)
        self.injected = _unfailing(observer.injected)


def _unfailing(tell: Callable[P, None]) -> Callable[P, None]:
    def told(*facts: P.args, **named: P.kwargs) -> None:
        try:  # noqa: SIM105 - `suppress` costs more than counting something
            tell(*facts, **named)
        except Exception:  # noqa: BLE001, S110 - nobody is left to be told
            pass

    return told


class Several:
    """An `Observer` that passes on to all of these, in order."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = tuple(observers)

    def committed(self, change: Change) -> None:
        """See `Observer.committed`."""
        for observer in self._observers:
            observer.committed(change)

    def troubled(self, what: str, error: BaseException, transaction_id: str = "") -> None:
        """See `Observer.troubled`."""
        for observer in self._observers:
            observer.troubled(what, error, transaction_id)

    def called(
        self, participant: str, operation: Operation, outcome: Outcome, seconds: float
    ) -> None:
        """See `Observer.called`."""
        for observer in self._observers:
            observer.called(participant, operation, outcome, seconds)

    def grouped(self, writes: int, seconds: float) -> None:
        """See `Observer.grouped`."""
        for observer in self._observers:
            observer.grouped(writes, seconds)

    def claim_lost(self, transaction_id: TransactionId) -> None:
        """See `Observer.claim_lost`."""
        for observer in self._observers:
            observer.claim_lost(transaction_id)

    def breaker_changed(self, participant: str, state: BreakerState) -> None:
        """See `Observer.breaker_changed`."""
        for observer in self._observers:
            observer.breaker_changed(participant, state)

    def served(self, method: str, code: str) -> None:
        """See `Observer.served`."""
        for observer in self._observers:
            observer.served(method, code)

    def injected(self, kind: str, place: str, transaction_id: str = "") -> None:
        """See `Observer.injected`."""
        for observer in self._observers:
            observer.injected(kind, place, transaction_id)


class AlsoCommitted(Several):
    """An `Observer` that passes everything on to another one, and what is committed to `also`."""

    def __init__(self, observer: Observer, also: Callable[[Change], None]) -> None:
        super().__init__([observer])
        self._also = also

    def committed(self, change: Change) -> None:
        """See `Observer.committed`."""
        super().committed(change)
        self._also(change)


def _settled_line(change: Change) -> str:
    if any(event.late_phase for event in change.events):
        return "late success undone"
    if change.after.refund_of is not None:
        return "refund settled"
    return "payment refunded" if change.after.refunded_minor else "payment settled"


def _of_refunds(after: Transaction) -> dict[str, Any]:
    """What only refunds, and payments that have some, have to tell."""
    if after.refund_of is not None:
        return {"payment_id": after.refund_of.payment_id}
    return {"refunded_minor": after.refunded_minor} if after.refunded_minor else {}


class _Sparing:
    """Leaves out lines of a kind beyond SAME_LINES in a second.

    In an outage of the database every payment in flight has the same trouble again and again.
    """

    def __init__(self, timer: Callable[[], float]) -> None:
        self._timer = timer
        self._begun: dict[tuple[str, str], float] = {}
        self._said: dict[tuple[str, str], int] = {}

    def left_out(self, kind: tuple[str, str]) -> int | None:
        """How many lines of the kind were left out before this one; None: leave it out too."""
        now, said, left_out = self._timer(), self._said.get(kind, 0), 0
        if now - self._begun.get(kind, -math.inf) >= 1.0:
            self._begun[kind], said, left_out = now, 0, max(0, said - SAME_LINES)
        self._said[kind] = said + 1
        return left_out if said < SAME_LINES else None


class LogObserver:
    """An `Observer` that writes log lines, each with its transaction ID.

    `timer`, in seconds since some fixed moment, lets it leave out trouble that it said too often.
    """

    def __init__(self, timer: Callable[[], float] | None = None) -> None:
        self._sparing = _Sparing(timer) if timer else None
        self._log = structlog.get_logger().bind()  # bound once: the lazy one binds at every call

    def committed(self, change: Change) -> None:
        """A settled payment at info, one that newly needs a person at warning, others at debug."""
        after = change.after
        for entry in change.entries:
            if entry.kind is EntryKind.OPERATOR:
                self._log.info(
                    "operator acted",
                    transaction_id=after.id,
                    actor=entry.actor,
                    act=entry.event,
                    phase=entry.phase,
                    state=after.state.value,
                )
        raised = next((event.attention for event in change.events if event.attention), None)
        if after.state in SETTLED:
            self._log.info(
                _settled_line(change),
                transaction_id=after.id,
                caller=after.caller,
                flow=after.flow,
                state=after.state.value,
                amount_minor=after.amount.minor,
                currency=after.amount.currency,
                code=after.failure.code if after.failure else "",
                **_of_refunds(after),
            )
        elif raised is not None:
            self._log.warning(
                "payment needs attention",
                transaction_id=after.id,
                state=after.state.value,
                code=raised.code,
                reason=raised.reason,
            )
        else:
            self._log.debug(
                "payment moved",
                transaction_id=after.id,
                state=after.state.value,
                version=after.version,
            )

    def troubled(self, what: str, error: BaseException, transaction_id: str = "") -> None:
        """The kind of error, never its text: a third party's message may carry anything."""
        kind = type(error).__name__
        left_out = self._sparing.left_out((what, kind)) if self._sparing else 0
        if left_out is None:
            return
        self._log.warning(
            "trouble",
            what=what,
            error=kind,
            reason=getattr(error, "detail", ""),
            transaction_id=transaction_id,
            **({"left_out": left_out} if left_out else {}),
        )

    def called(
        self, participant: str, operation: Operation, outcome: Outcome, seconds: float
    ) -> None:
        """Nothing: the journal has a line for each."""

    def grouped(self, writes: int, seconds: float) -> None:
        """Nothing: too many, and only their distribution says anything."""

    def claim_lost(self, transaction_id: TransactionId) -> None:
        """At warning: this process was slower than its lease, or was taken for dead."""
        self._log.warning("claim lost", transaction_id=transaction_id)

    def breaker_changed(self, participant: str, state: BreakerState) -> None:
        """At warning when calls are held back from now on, otherwise at info."""
        log = self._log.warning if state is BreakerState.OPEN else self._log.info
        log("breaker changed", participant=participant, state=state.value)

    def served(self, method: str, code: str) -> None:
        """Nothing: what a call asked for has lines of its own."""

    def injected(self, kind: str, place: str, transaction_id: str = "") -> None:
        """At warning, always: nobody is to look for the cause of what was done on purpose."""
        self._log.warning("fault injected", kind=kind, place=place, transaction_id=transaction_id)
