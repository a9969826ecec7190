"""The sentences that operators read of a transaction, word for word."""

from __future__ import annotations

import pytest

from coordinator.domain.entries import Act, Hold
from coordinator.domain.machine import State
from coordinator.domain.outcome import NextAction
from coordinator.domain.permitted import WaitCode, WaitsFor, answers, verdicts, waits_for
from coordinator.domain.record import evolve
from coordinator.domain.transaction import RefundOf, StepStatus, Transaction
from tests.support.domain import BOTH, ID, NOW
from tests.support.operated import CARD, LATER, MERCHANT, WALLET, moved, stands, waiting

S = StepStatus
AT, AGAIN = "2026-01-02 03:09:05 UTC", "asked again at 2026-01-02 03:09:05 UTC"
CARD_DONE = {"card_charge": S.CONFIRMED}
HELD = {"points_reserve": S.HELD, "merchant_credit": S.HELD}


def held(transaction: Transaction) -> Transaction:
    return evolve(transaction, hold=Hold("alice", "ask the bank"))


RETRIED = "asks every unfinished step again at once; attempts are kept"
HOLDS = "asks nothing more of participants until it is unheld"
FREE = "nobody holds it"
HAS_IT = "alice holds it (ask the bank); unhold it to let it go on"
HAS_IT_ALREADY = "alice holds it already (ask the bank)"
LETS_GO = "lets it go on at once; alice holds it (ask the bank)"
RELEASES = "releases everything that is held at participants"
UNDECIDED = "nothing is decided yet, so that nothing is in doubt; cancel it instead"
DECIDED = "it is decided, and from there the way back is not the operator's"
DRIVEN = "worker-1 works on it at this moment; look again in a few seconds"
NO_RETRY = "it waits for its caller, who captures or cancels; there is nothing to retry"
NO_FLOW = "its flow points_and_card is not served by this coordinator"

VERDICTS: list[tuple[Transaction, str, list[str]]] = [
    # transaction, who works on it, the reasons for resume, hold, unhold, cancel and resolve
    (stands(State.CREATED), "", [RETRIED, HOLDS, FREE, RELEASES, UNDECIDED]),
    (
        held(stands(State.CREATED)),
        "",
        [HAS_IT, HAS_IT_ALREADY, LETS_GO, f"{RELEASES}, and takes the hold off", UNDECIDED],
    ),
    (
        evolve(stands(State.RESERVED), manual=True),
        "",
        [NO_RETRY, HOLDS, FREE, RELEASES, UNDECIDED],
    ),
    (
        stands(State.CAPTURING),
        "worker-1",
        [
            DRIVEN,
            HOLDS,
            FREE,
            f"it is CAPTURING: {DECIDED}; the step in doubt may be resolved as not captured",
            "says what became of card_charge, after it was asked once more",
        ],
    ),
    (
        stands(State.SETTLING, **CARD_DONE),
        "",
        [
            RETRIED,
            HOLDS,
            FREE,
            f"it is SETTLING: {DECIDED}",
            "says what became of points_reserve or merchant_credit, after it was asked once more",
        ],
    ),
    (
        stands(State.CANCELLING, card_charge=S.CANCELLED, **dict.fromkeys(HELD, S.CANCELLED)),
        "",
        [
            RETRIED,
            HOLDS,
            FREE,
            "it is CANCELLING: it is released already",
            "no step is in doubt; it goes on by itself",
        ],
    ),
    (
        stands(State.PAID),
        "",
        [
            "it is PAID: it has ended",
            "it is PAID: it has ended",
            FREE,
            "it is PAID: it has ended; a refund gives the money back",
            "it is PAID: it has ended",
        ],
    ),
    (
        evolve(stands(State.PAID), refund_of=RefundOf(ID, 1)),
        "",
        [
            "it is PAID: it has ended",
            "it is PAID: it has ended",
            FREE,
            "it is PAID: it has ended",
            "it is PAID: it has ended",
        ],
    ),
]


@pytest.mark.parametrize(("transaction", "driven_by", "reasons"), VERDICTS)
def test_a_verdict_says_why(transaction: Transaction, driven_by: str, reasons: list[str]) -> None:
    found = verdicts(transaction, BOTH, driven_by, NOW)
    assert [verdict.reason for verdict in found] == reasons


def test_where_the_flow_is_not_served_the_verdict_names_it() -> None:
    for state in (State.CREATED, State.SETTLING):
        found = {verdict.act: verdict.reason for verdict in verdicts(stands(state), None, "", NOW)}
        assert found[Act.RESUME] == found[Act.RESOLVE] == NO_FLOW
    assert verdicts(stands(State.CREATED), None, "", NOW)[3].reason == NO_FLOW


OUT_OF_TURN = "it is {}: it is not in doubt, or not its turn"
CANCEL_ONLY = "cancelled: nothing is held any more; the release goes on without asking it"
NO_WAY_BACK = "confirmed: its part is final; the other part is confirmed, so there is no way back"
EITHER = (
    "confirmed: it was captured, and the payment goes on to be paid; cancelled: it was not, its "
    "hold is undone, and the payment is released"
)


@pytest.mark.parametrize(
    ("transaction", "reasons"),
    [
        (
            stands(State.RESERVED),
            dict.fromkeys(
                (WALLET, MERCHANT, CARD),
                "nothing is decided yet: cancel the transaction instead",
            ),
        ),
        (
            stands(State.CAPTURING),
            {
                WALLET: OUT_OF_TURN.format("HELD"),
                MERCHANT: OUT_OF_TURN.format("HELD"),
                CARD: EITHER,
            },
        ),
        (
            stands(State.SETTLING, **CARD_DONE),
            {WALLET: NO_WAY_BACK, MERCHANT: NO_WAY_BACK, CARD: OUT_OF_TURN.format("CONFIRMED")},
        ),
        (
            stands(State.CANCELLING, card_charge=S.REFUSED),
            {WALLET: CANCEL_ONLY, MERCHANT: CANCEL_ONLY, CARD: OUT_OF_TURN.format("REFUSED")},
        ),
    ],
)
def test_what_may_be_said_of_a_step_says_what_it_does(
    transaction: Transaction, reasons: dict[str, str]
) -> None:
    assert {each.phase: each.reason for each in answers(transaction, BOTH, NOW)} == reasons


def pending(**changes: object) -> Transaction:
    base = evolve(stands(State.CREATED, **HELD), due_at=LATER)
    step = {"status": S.PENDING, "attempts": 1, "next_attempt_at": LATER}
    return moved(base, CARD, **(step | changes))


ASKED = NextAction("redirect", "https://card.example")
REFUSED = {"refusal_code": "CLOSED", "refusal_reason": "The account is closed."}
RELEASED_AT = "; released at 2026-01-02 03:04:10 UTC if it does not"
TAKEN_UP = WaitsFor(
    WaitCode.CLAIM, "it is due since 2026-01-02 03:04:05 UTC, and no process has taken it up yet"
)
WORKS = WaitsFor(WaitCode.DRIVER, "worker-1 works on it now")


def of_card(code: WaitCode, sentence: str) -> WaitsFor:
    return WaitsFor(code, sentence, CARD, LATER)


WAITS: list[tuple[Transaction, str, list[WaitsFor]]] = [
    (stands(State.PAID), "", []),
    (
        held(waiting(State.CAPTURING, CARD)),
        "",
        [WaitsFor(WaitCode.HELD, "held by alice: ask the bank")],
    ),
    (
        evolve(stands(State.RESERVED), manual=True, due_at=LATER),
        "",
        [WaitsFor(WaitCode.CALLER, f"the caller captures or cancels until {AT}", until=LATER)],
    ),
    (
        pending(),
        "",
        [of_card(WaitCode.PARTICIPANT, f"Card decides later, until {AT}; {AGAIN}")],
    ),
    (
        pending(next_action=ASKED),
        "",
        [
            of_card(
                WaitCode.CUSTOMER,
                f"Card: the customer has to act (redirect) until {AT}; {AGAIN}",
            )
        ],
    ),
    (
        waiting(State.CAPTURING, CARD, attempts=1),
        "",
        [of_card(WaitCode.RETRY, f"Card: Confirm did not answer once (UNAVAILABLE); {AGAIN}")],
    ),
    (
        waiting(State.CAPTURING, CARD, attempts=2),
        "",
        [of_card(WaitCode.RETRY, f"Card: Confirm did not answer 2 times (UNAVAILABLE); {AGAIN}")],
    ),
    (
        waiting(State.CAPTURING, CARD, attempts=10),
        "",
        [of_card(WaitCode.RETRY, f"Card: Confirm did not answer 10 times (UNAVAILABLE); {AGAIN}")],
    ),
    (
        waiting(State.CAPTURING, CARD, ""),
        "",
        [of_card(WaitCode.RETRY, f"Card: Confirm did not answer 4 times (not decided); {AGAIN}")],
    ),
    (
        waiting(State.CAPTURING, CARD, "PARTICIPANT_BUSY", attempts=0),
        "",
        [of_card(WaitCode.RETRY, f"Card: Confirm was held back here (PARTICIPANT_BUSY); {AGAIN}")],
    ),
    (
        waiting(State.CAPTURING, CARD, "CLOSED", **REFUSED),
        "",
        [
            of_card(
                WaitCode.PARKED,
                f"Card: Confirm was refused (CLOSED: The account is closed.); {AGAIN}",
            )
        ],
    ),
    (
        waiting(State.CAPTURING, CARD, "UNAVAILABLE", **REFUSED),
        "",
        [of_card(WaitCode.RETRY, f"Card: Confirm did not answer 4 times (UNAVAILABLE); {AGAIN}")],
    ),
    (
        evolve(
            waiting(State.CANCELLING, CARD, "ABANDONED", attempts=0),
            steps=tuple(
                evolve(step, status=S.CANCELLED) if step.phase in HELD else step
                for step in waiting(State.CANCELLING, CARD, "ABANDONED", attempts=0).steps
            ),
        ),
        "",
        [
            of_card(
                WaitCode.RETRY,
                f"Card: Cancel has no answer yet (the last error: ABANDONED); {AGAIN}",
            )
        ],
    ),
    (
        moved(waiting(State.CREATED, CARD), MERCHANT, status=S.HELD),
        "",
        [WaitsFor(WaitCode.CLAIM, "it is taken up when it is due", until=LATER)],
    ),
    (stands(State.CAPTURING), "", [TAKEN_UP]),
    (
        evolve(stands(State.CAPTURING), due_at=None),
        "",
        [WaitsFor(WaitCode.CLAIM, "it is due, and no process has taken it up yet")],
    ),
    (stands(State.CAPTURING), "worker-1", [WORKS]),
    (
        waiting(State.CAPTURING, CARD),
        "worker-1",  # there is nothing that it could work on
        [of_card(WaitCode.RETRY, f"Card: Confirm did not answer 4 times (UNAVAILABLE); {AGAIN}")],
    ),
    (
        evolve(waiting(State.CAPTURING, CARD, next_attempt_at=NOW), due_at=NOW),
        "",
        [
            WaitsFor(
                WaitCode.RETRY,
                "Card: Confirm did not answer 4 times (UNAVAILABLE); asked again now",
                CARD,
                NOW,
            ),
            TAKEN_UP,
        ],
    ),
]


@pytest.mark.parametrize(("transaction", "driven_by", "expected"), WAITS)
def test_what_it_waits_for_is_said_with_whom_why_and_until_when(
    transaction: Transaction, driven_by: str, expected: list[WaitsFor]
) -> None:
    assert list(waits_for(transaction, BOTH, driven_by, NOW)) == expected


def test_a_try_that_is_not_answered_tells_when_the_payment_is_released() -> None:
    found = {wait.phase: wait for wait in waits_for(waiting(State.CREATED, WALLET), BOTH, "", NOW)}
    assert found[WALLET] == WaitsFor(
        WaitCode.RETRY,
        f"Points: Try did not answer 4 times (UNAVAILABLE); {AGAIN}{RELEASED_AT}",
        WALLET,
        LATER,
    )


def test_a_pivot_that_is_queried_is_still_told_as_asked_to_confirm() -> None:
    often = BOTH.by_name[CARD].retry.attempts
    [wait] = waits_for(waiting(State.CAPTURING, CARD, attempts=often), BOTH, "", NOW)
    assert wait.sentence.startswith(f"Card: Confirm did not answer {often} times")


def test_what_is_not_served_here_says_which_flow() -> None:
    assert waits_for(stands(State.SETTLING), None, "", NOW) == (
        WaitsFor(
            WaitCode.FLOW,
            "flow points_and_card is not served here; a coordinator that serves it goes on",
        ),
    )
