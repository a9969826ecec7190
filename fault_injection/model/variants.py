"""The protocol with one rule broken: what the check must find.

Each switch takes one rule away, in the model's own wiring and never in the code of the service. All
are off in the sound protocol.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Switches:
    """Which rules are broken; none by default."""

    confirms_in_parallel: bool = False
    timeout_is_refusal: bool = False
    timeout_is_success: bool = False
    no_tombstone: bool = False
    empty_cancel_fails: bool = False
    refusal_forgotten: bool = False
    trying_not_cancelled: bool = False
    decision_not_durable: bool = False
    recovered_as_untried: bool = False
    claim_keeps_version: bool = False
    version_ignored: bool = False
    dropped_is_confirmed: bool = False
    nobody_recovers: bool = False


@dataclass(frozen=True, slots=True)
class Variant:
    """One broken rule.

    first  the rule whose breach has the shortest story
    harm   the rule whose breach costs somebody money, found when only that one is watched
    """

    name: str
    title: str
    switches: Switches
    first: str
    harm: str


SOUND = Switches()

VARIANTS: tuple[Variant, ...] = (
    Variant(
        "parallel-confirm",
        "the other Confirms leave together with the pivot's",
        Switches(confirms_in_parallel=True),
        "S5",
        "S4",
    ),
    Variant(
        "timeout-is-refusal",
        "a capture that does not answer in time is taken for refused",
        Switches(timeout_is_refusal=True),
        "S6",
        "S4",
    ),
    Variant(
        "timeout-is-success",
        "once the pivot is confirmed, another Confirm without an answer is taken for done",
        Switches(timeout_is_success=True),
        "S1",
        "S1",
    ),
    Variant(
        "no-tombstone",
        "a participant does not remember a Cancel that came before its Try",
        Switches(no_tombstone=True),
        "S8",
        "S8",
    ),
    Variant(
        "empty-cancel-fails",
        "a participant answers a Cancel whose Try it does not know with an error",
        Switches(empty_cancel_fails=True),
        "S7",
        "L1",
    ),
    Variant(
        "refusal-forgotten",
        "the pivot's participant does not remember that it refused a Confirm",
        Switches(refusal_forgotten=True),
        "S4",
        "S4",
    ),
    Variant(
        "trying-not-cancelled",
        "a release cancels what is known to be held, and not what may be",
        Switches(trying_not_cancelled=True),
        "S8",
        "S8",
    ),
    Variant(
        "decision-not-durable",
        "the coordinator acts on a decision before it is committed",
        Switches(decision_not_durable=True),
        "S3",
        "S4",
    ),
    Variant(
        "recovered-as-untried",
        "after a crash, a step without an answer in the table is taken for never sent",
        Switches(recovered_as_untried=True),
        "S8",
        "S8",
    ),
    Variant(
        "claim-keeps-version",
        "taking a transaction up leaves its version as it is, so that two may commit",
        Switches(claim_keeps_version=True),
        "S8",
        "S8",
    ),
    Variant(
        "version-ignored",
        "a commit does not ask whether the row is still as it was read",
        Switches(version_ignored=True),
        "S9",
        "S4",
    ),
    Variant(
        "dropped-is-confirmed",
        "a step of which a partial capture takes nothing is confirmed with the others",
        Switches(dropped_is_confirmed=True),
        "S4",
        "S4",
    ),
    Variant(
        "nobody-recovers",
        "what a crash leaves behind is taken up by nobody",
        Switches(nobody_recovers=True),
        "L1",
        "L1",
    ),
)

BY_NAME = {variant.name: variant for variant in VARIANTS}
