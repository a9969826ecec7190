"""Whatever callers, participants, operators, processes and time do: the reference agrees.

A share of the runs is one test, its seed in its name: `pytest tests/machine -k seed_7` replays it,
and what fails is made smaller and told as a program, with a line that reproduces it at once.
`make machine` runs the size of a release.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from adapters.guarded_participant import GuardedParticipant
from coordinator.domain.outcome import Outcome, Refused, Unknown
from coordinator.domain.phase import Operation
from coordinator.engine import accept, cancel, refund
from coordinator.engine.accept import Accept
from fault_injection.model_participant import ModelParticipant
from tests.machine.machine import PaymentMachine

_SIZES = {"release": (100, 100, 100), "tenth": (10, 100, 100)}
IS_RELEASE = settings.get_current_profile_name() in _SIZES
SHARES, RUNS, RULES = _SIZES.get(settings.get_current_profile_name(), (10, 30, 50))
"""So many tests of so many runs of so many rules each."""

_PLAIN = settings(
    max_examples=RUNS,
    stateful_step_count=RULES,
    deadline=None,
    database=None,  # the seed says it all
    print_blob=True,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)


def machine(number: int) -> type[PaymentMachine]:
    """The machine with a seed of its own."""
    found: type[PaymentMachine] = seed(number)(type("Payments", (PaymentMachine,), {}))
    return found


@pytest.mark.timeout(0 if IS_RELEASE else 300)
@pytest.mark.parametrize("share", range(SHARES), ids=lambda share: f"seed_{share}")
def test_every_answer_and_every_ledger_is_one_that_the_reference_allows(share: int) -> None:
    run_state_machine_as_test(machine(share), settings=_PLAIN)


def a_lost_confirm_is_taken_for_a_refusal(patch: pytest.MonkeyPatch) -> None:
    perform = GuardedParticipant.perform

    async def hasty(self: GuardedParticipant, *asked: object) -> Outcome:
        outcome = await perform(self, *asked)  # type: ignore[arg-type] # passed on as it came
        call = asked[1]
        confirm = call.operation is Operation.CONFIRM  # type: ignore[attr-defined]
        if confirm and isinstance(outcome, Unknown):
            return Refused("DECLINED", "it did not answer")
        return outcome

    patch.setattr(GuardedParticipant, "perform", hasty)


def a_refund_does_not_count_the_others(patch: pytest.MonkeyPatch) -> None:
    count = refund.refundable
    patch.setattr(refund, "refundable", lambda payment, _refunds: count(payment, []))
    patch.setattr(ModelParticipant, "_is_too_much", lambda _self, _key: False)


def a_repeated_key_is_answered_whatever_its_body(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(accept, "differing_fields", lambda *_: [])


def a_decided_payment_can_be_cancelled(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(cancel, "may_cancel", lambda found: not found.settled)


def a_paused_flow_takes_payments(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Accept, "_check", _without_a_pause(Accept._check))


def _without_a_pause(check: object) -> object:
    def let_in(self: Accept, new: object) -> object:
        self._intake._pauses = {}
        return check(self, new)  # type: ignore[operator]

    return let_in


PLANTED = (
    a_lost_confirm_is_taken_for_a_refusal,
    a_refund_does_not_count_the_others,
    a_repeated_key_is_answered_whatever_its_body,
    a_decided_payment_can_be_cancelled,
    a_paused_flow_takes_payments,
)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_a_planted_bug_is_found(plant: object, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)  # type: ignore[operator]
    only_found = settings(_PLAIN, max_examples=300, phases=[Phase.generate], print_blob=False)
    with pytest.raises((AssertionError, ExceptionGroup)):
        run_state_machine_as_test(machine(0), settings=only_found)
