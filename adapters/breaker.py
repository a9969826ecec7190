"""A circuit breaker: purgatory's state machine on our clock, with one trial call at a time.

purgatory decides when to open and when to close. Three things are ours, since it has no hook for
them (docs/decisions/0008):

- its open state reads the machine's clock; ours reads the `Clock` port, which simulation decides
  and which nobody can set back;
- half open, it lets every call through; thousands of payments may be waiting, so here one call goes
  ahead and the others wait for what it finds;
- it counts whatever ends; here the answer to a call that left before the breaker last changed is
  old news, and an abandoned call is no news at all.

Nothing waits in here: one event loop uses it, and it needs no lock.
"""

from __future__ import annotations

from collections.abc import Callable

from purgatory.domain.model import (
    CLOSED,
    HALF_OPENED,
    OPENED,
    Context,
    HalfOpenedState,
    OpenedState,
    State,
)

from coordinator.ports import BreakerState, Clock

TRIAL_WAIT_S = 0.5
"""How soon to ask again while another call is the trial, in seconds: spread out, it is still short
enough to be waited for in memory."""
_STATES = {
    CLOSED: BreakerState.CLOSED,
    HALF_OPENED: BreakerState.HALF_OPEN,
    OPENED: BreakerState.OPEN,
}


class _Failed(Exception):
    """What purgatory is told of a failed call."""


class _Open(OpenedState):
    """purgatory's open state, on our clock."""

    def __init__(self, name: str, clock: Clock) -> None:
        super().__init__(name)
        self.opened_at = clock.monotonic()


class _Context(Context):
    """purgatory's machine, whose open state is ours."""

    def __init__(
        self, name: str, *, failures: int, open_s: float, clock: Clock, changed: Callable[[], None]
    ) -> None:
        super().__init__(name, threshold=failures, ttl=open_s)
        self._clock = clock
        self._changed = changed

    def set_state(self, state: State) -> None:
        if isinstance(state, OpenedState):
            state = _Open(self.name, self._clock)
        super().set_state(state)
        self._changed()


class Breaker:
    """Opens after `failures` failed calls in a row, for `open_s` seconds; then tries one call.

    `changed` is told every new state. `state` is the one that the last call left it in.
    """

    def __init__(
        self,
        name: str,
        *,
        failures: int,
        open_s: float,
        clock: Clock,
        changed: Callable[[BreakerState], None],
    ) -> None:
        self._clock = clock
        self._tell = changed
        self._machine = _Context(
            name, failures=failures, open_s=open_s, clock=clock, changed=self._changed
        )
        self.state = BreakerState.CLOSED
        self._epoch = 0
        self._failed = False  # whether the machine counts failures that a success would reset
        self._trial = False
        self._down_since: float | None = None
        self.opens = 0

    @property
    def open_left_s(self) -> float:
        """How long it stays open, in seconds; 0 when a call may half open it, or when it is not."""
        if self.state is not BreakerState.OPEN:
            return 0.0
        opened_at = self._machine.opened_at
        assert opened_at is not None, "an open state knows since when"
        return max(0.0, opened_at + self._machine.ttl - self._clock.monotonic())

    @property
    def down_s(self) -> float:
        """For how long it has not been closed, in seconds."""
        return 0.0 if self._down_since is None else self._clock.monotonic() - self._down_since

    def holds_back_s(self) -> float:
        """How long until it is worth asking, in seconds; 0 when a call may leave now."""
        if self.state is BreakerState.CLOSED:
            return 0.0
        if left_s := self.open_left_s:
            return left_s
        return TRIAL_WAIT_S if self._trial else 0.0

    def leaves(self) -> int:
        """A call leaves, which `holds_back_s` let go; what is returned goes to `ended`."""
        if self.state is BreakerState.OPEN:
            self._machine.set_state(HalfOpenedState())
        self._trial = self.state is BreakerState.HALF_OPEN
        return self._epoch

    def ended(self, epoch: int, *, failed: bool | None) -> None:
        """The call that left in `epoch` ended; None says nothing about the participant."""
        if epoch != self._epoch:
            return
        self._trial = False
        if failed:
            self._failed = True
            self._machine.handle_exception(_Failed())
        elif failed is not None and self._failed:
            self._failed = False
            self._machine.handle_end_request()
        self._machine.messages.clear()  # they are for purgatory's stores and hooks

    def _changed(self) -> None:
        self._epoch += 1
        self._trial = False
        self.state = state = _STATES[self._machine.state]
        if state is BreakerState.CLOSED:
            self._down_since = None
        elif state is BreakerState.OPEN:
            self.opens += 1
            if self._down_since is None:
                self._down_since = self._clock.monotonic()
        self._tell(state)
