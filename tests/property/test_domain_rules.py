"""The rules that keep the money right, under everything participants and networks can do.

Two worlds. In the lawless one, any call may bring any outcome, however absurd: the coordinator's
own rules must hold all the same. In the fenced one, participants keep the protocol's rules while
requests and replies get lost, Tries arrive late and the coordinator crashes: there the money
itself is checked.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from hashlib import shake_256

import pytest
from hypothesis import HealthCheck, find, given, settings
from hypothesis import Phase as Phases
from hypothesis import strategies as st

from coordinator.domain import decide, moves, step
from coordinator.domain.decide import Action, Advance, Call
from coordinator.domain.flow import Flow, FlowRow, bind
from coordinator.domain.machine import Event, State
from coordinator.domain.outcome import Applied, Outcome, Pending, Refused, Unknown
from coordinator.domain.phase import Operation, Phase
from coordinator.domain.record import evolve
from coordinator.domain.transaction import Failure, Result, Step, StepStatus, Transaction
from phases.registry import PHASES
from tests.support import driven
from tests.support.domain import FLOWS
from tests.support.driven import Run

LIMITED = FlowRow("points_and_card", (("card_charge", "points_reserve"), ("merchant_credit",)))
EVERY_FLOW = [*FLOWS.values(), bind(LIMITED, PHASES)]
"""All of ours, and one that asks the pivot first and announces nothing."""

EXAMPLES = {"mutants": 50}.get(settings.get_current_profile_name(), 300)
SETTINGS = settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


@dataclass
class Chance:
    """Choices from hypothesis; when they run out, the world is tame for ever."""

    choices: list[int]

    def pick(self, options: int) -> int:
        return self.choices.pop(0) % options if self.choices else 0

    def healed(self) -> bool:
        return not self.choices

    def crashes(self) -> bool:
        return self.pick(12) == 11

    def cancels(self) -> bool:
        return self.pick(20) == 19

    def draw(self) -> float:
        return self.pick(3) / 2

    def oversleeps_s(self) -> float:
        return (0.0, 0.0, 0.0, 0.0, 0.5, 1.0, 10.0, 2000.0)[self.pick(8)]


def _noise(seed: int, length: int) -> list[int]:
    return list(shake_256(str(seed).encode()).digest(length))


CHOICES = st.one_of(
    st.lists(st.integers(0, 59), max_size=120),
    st.builds(_noise, st.integers(0, 2**32), st.integers(1, 160)),
)
"""Hypothesis alone prefers short and plain lists, which rarely get as far as the capture."""


class Lawless(Chance):
    """Any answer to any call, but for two lies that no coordinator could see through.

    It never takes back a Confirm it has acknowledged, which a crash may make us ask again; and once
    healed it is definite.
    """

    def __init__(self, choices: list[int]) -> None:
        super().__init__(choices)
        self.confirmed: set[str] = set()

    def answer(self, call: Call) -> Outcome:
        name = call.phase.name
        if name in self.confirmed and call.operation is Operation.CONFIRM:
            return Applied()
        outcome = _ANY[self.pick(len(_ANY))]
        if call.operation is Operation.CONFIRM and isinstance(outcome, Applied):
            self.confirmed.add(name)
        return outcome


_ANY: list[Outcome] = [
    Applied("ref"),
    Unknown("UNAVAILABLE", "gone"),
    Unknown("DEADLINE_EXCEEDED"),
    Unknown("ANSWER_MISMATCH", "amount", suspicious=True),
    Refused("NO_FUNDS", "Not enough."),
    Pending("ref"),
]


@dataclass
class Fence:
    """What one participant durably knows of the transaction, and what it did with the money."""

    verdict: str
    status: str = "nothing"
    effects: list[str] = field(default_factory=list)

    def take(self, operation: Operation) -> Outcome:
        """The request arrives."""
        match operation:
            case Operation.TRY if self.status == "nothing":
                if self.verdict == "refuse":
                    self.status = "refused"
                elif self.verdict.startswith("pend"):
                    self.status = "pending"
                else:
                    self.status = "held"
                    self.effects.append("hold")
            case Operation.QUERY if self.status == "pending":
                self._make_up_its_mind()
            case Operation.CONFIRM:
                return self._confirm()
            case Operation.CANCEL:
                return self._cancel()
            case _:
                pass
        return self._answer()

    def _make_up_its_mind(self) -> None:
        if self.verdict == "pend then hold":
            self.status = "held"
            self.effects.append("hold")
        elif self.verdict == "pend then refuse":
            self.status = "refused"

    def _confirm(self) -> Outcome:
        assert self.status in {"held", "confirmed", "capture refused"}, "confirm without a hold"
        if self.status == "held":
            if self.verdict == "hold, refuse capture":
                self.status = "capture refused"
            else:
                self.status = "confirmed"
                self.effects.append("confirm")
        if self.status == "capture refused":
            return Refused("CAPTURE_REFUSED", "The issuer changed its mind.")
        return Applied()

    def _cancel(self) -> Outcome:
        assert self.status != "confirmed", "S4: cancel after confirm"
        if self.status in {"held", "capture refused"}:
            self.effects.append("cancel")
        self.status = "cancelled"
        return Applied()

    def _answer(self) -> Outcome:
        match self.status:
            case "nothing":
                return Unknown("UNKNOWN_TRANSACTION")
            case "pending":
                return Pending()
            case "refused":
                return Refused("NO_FUNDS", "Not enough.")
            case "capture refused":
                return Refused("CAPTURE_REFUSED", "The issuer changed its mind.")
            case "confirmed":
                return Applied("ref", confirmed=True)
            case "cancelled":
                return Refused("CANCELLED_AT_PARTICIPANT", "It was cancelled before.")
            case status:
                assert status == "held", f"a Try or Query met {status}"
                return Applied("ref")


VERDICTS = [
    "hold",
    "hold",
    "hold",
    "hold",
    "hold",
    "refuse",
    "pend then hold",
    "pend then refuse",
    "pend for ever",
]
PIVOT_VERDICTS = [*VERDICTS, "hold, refuse capture", "hold, refuse capture"]


class Fenced(Chance):
    """Participants that keep their fence, behind a network that keeps nothing."""

    def __init__(self, choices: list[int], flow: Flow) -> None:
        super().__init__(choices)
        self.fences = {
            phase.name: Fence(
                PIVOT_VERDICTS[self.pick(len(PIVOT_VERDICTS))]
                if phase.confirm_refusable
                else VERDICTS[self.pick(len(VERDICTS))]
            )
            for phase in flow.called
        }
        self.late: list[str] = []
        """Tries that are still under way, long after their sender gave up."""

    def answer(self, call: Call) -> Outcome:
        self.arrive_late()
        fence = self.fences[call.phase.name]
        match self.pick(10):
            case 1:
                return Unknown("UNAVAILABLE", "lost on the way there")
            case 2:
                fence.take(call.operation)
                return Unknown("DEADLINE_EXCEEDED", "done, and the reply was lost")
            case 3 if call.operation is Operation.TRY:
                self.late.append(call.phase.name)
                return Unknown("DEADLINE_EXCEEDED", "still under way")
            case 4:
                fence.take(call.operation)
                return fence.take(call.operation)
            case _:
                return fence.take(call.operation)

    def arrive_late(self) -> None:
        if self.late and self.pick(3) == 2:
            self._arrive(self.late.pop(0))

    def everything_arrives(self) -> None:
        while self.late:
            self._arrive(self.late.pop(0))

    def _arrive(self, phase: str) -> None:
        fence = self.fences[phase]
        if fence.status == "nothing":
            fence.take(Operation.TRY)  # any other status answers a repeat and changes nothing


@pytest.mark.parametrize("flow", EVERY_FLOW, ids=lambda flow: f"{flow.name}/{len(flow.phases)}")
@SETTINGS
@given(choices=CHOICES)
def test_whatever_participants_answer_the_coordinator_keeps_its_own_rules(
    flow: Flow, choices: list[int]
) -> None:
    flow_run = Run(_announced(flow), Lawless(choices))
    row = flow_run.drive()
    assert row.settled


@pytest.mark.parametrize("flow", EVERY_FLOW, ids=lambda flow: f"{flow.name}/{len(flow.phases)}")
@SETTINGS
@given(choices=CHOICES)
def test_with_fenced_participants_money_moves_everywhere_or_nowhere(
    flow: Flow, choices: list[int]
) -> None:
    world = Fenced(choices, flow)
    row = Run(_announced(flow), world).drive()
    world.everything_arrives()
    for fence in world.fences.values():
        moved = fence.effects
        assert len(set(moved)) == len(moved), "S2: an effect twice"
        if row.state is State.PAID:
            assert moved == ["hold", "confirm"]
        else:
            assert "confirm" not in moved
            assert moved in ([], ["hold", "cancel"]), "S8: a hold that nobody will release"


def _announced(flow: Flow) -> Flow:
    """The flow as `Run` checks it: with its announcement."""
    if flow.announce is not None:
        return flow
    stages = tuple(tuple(phase.name for phase in stage) for stage in flow.stages)
    return bind(FlowRow(flow.name, stages, announce="notify"), PHASES)


def test_a_tame_world_pays_every_flow_without_waiting() -> None:
    for flow in FLOWS.values():
        run = Run(flow, Lawless([]))
        start = run.now
        assert run.drive().state is State.PAID
        assert run.now == start


# --- the checks themselves can fail --------------------------------------------------------


class Liar(Lawless):
    """Refuses the capture it has acknowledged: no coordinator survives a crash on top of that."""

    def answer(self, call: Call) -> Outcome:
        if call.operation is Operation.CONFIRM and call.phase.name in self.confirmed:
            return Refused("NEVER_HAPPENED", "What capture?")
        return super().answer(call)


def test_the_driver_notices_a_cancel_after_a_confirm() -> None:
    choices = _choices_until_crash_after_capture()
    with pytest.raises(AssertionError):
        Run(FLOWS["card_only"], Liar(choices)).drive()


def _choices_until_crash_after_capture() -> list[int]:
    """Tame choices with one crash, between the pivot's answer and its commit."""
    tame = Run(FLOWS["card_only"], counting := Counting())
    tame.drive()
    return [*([0] * (counting.asked_at_settling - 1)), 11]


class Counting(Lawless):
    """Counts choices up to the first crash point after the capture."""

    def __init__(self) -> None:
        super().__init__([])
        self.asked = 0
        self.asked_at_settling = 0

    def pick(self, options: int) -> int:
        self.asked += 1
        return super().pick(options)

    def crashes(self) -> bool:
        before = bool(self.confirmed) and not self.asked_at_settling
        crash = super().crashes()
        if before:
            self.asked_at_settling = self.asked
        return crash


def _confirm_all_at_once(transaction: Transaction, flow: Flow, now: datetime) -> Action:
    return decide._settling(transaction, flow, now)


def _take_unknown_for_refused(
    state: State, before: Step, phase: Phase, result: Result, now: datetime
) -> Step:
    lost = isinstance(result.outcome, Unknown) and result.operation is Operation.CONFIRM
    refused = evolve(result, outcome=Refused("NO", "No.")) if lost else result
    return step.answered(state, before, phase, refused, now)


def _leave_a_refused_capture_alone(
    source: State, target: State, before: Step, phase: Phase
) -> Step:
    after = step.entered(source, target, before, phase)
    return after if before.status is not StepStatus.REFUSED else before


def _keep_the_secret(
    state: State, before: Step, phase: Phase, result: Result, now: datetime
) -> Step:
    after = step.answered(state, before, phase, result, now)
    return evolve(after, source=before.source)


def _retry_only_until_the_deadline(transaction: Transaction, flow: Flow, now: datetime) -> Action:
    if now >= transaction.try_deadline:
        return Advance((Event.RELEASE,), Failure("TRY_DEADLINE_EXCEEDED", "Too late."))
    return capturing(transaction, flow, now)


capturing = decide._capturing

PLANTED: dict[str, tuple[object, str, object]] = {
    "confirms leave together": (decide, "_capturing", _confirm_all_at_once),
    "a lost capture counts as refused": (moves, "answered", _take_unknown_for_refused),
    "a refused capture is not voided": (moves, "entered", _leave_a_refused_capture_alone),
    "what may be tried is not cancelled": (decide, "MAY_HOLD", {StepStatus.HELD}),
    "a recovered payment is taken for untried": (driven, "as_recovered", lambda row: row),
    "secrets are kept": (moves, "answered", _keep_the_secret),
    "a capture gives up at the deadline": (decide, "_capturing", _retry_only_until_the_deadline),
    "a release is announced before it is done": (
        moves,
        "ANNOUNCED",
        {State.PAID, State.FAILED, State.CANCELLING},
    ),
}


@pytest.mark.parametrize("bug", PLANTED)
def test_a_planted_bug_is_found(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(*PLANTED[bug])
    find(CHOICES, _breaks, settings=settings(SETTINGS, max_examples=4000, phases=[Phases.generate]))


def _breaks(choices: list[int]) -> bool:
    flow = FLOWS["points_and_card"]
    world = Fenced(list(choices), flow)
    try:
        Run(flow, world).drive()
        world.everything_arrives()
        assert not any(fence.effects == ["hold"] for fence in world.fences.values())
    except AssertionError:
        return True
    return False
