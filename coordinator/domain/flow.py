"""A flow: the ordered phases of a kind of payment. A flow is a row; binding it checks the rules.

Confirm order is derived: the pivot first and alone, then all the others together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from coordinator.domain.errors import ConfigurationError
from coordinator.domain.phase import NAME, Phase, Role
from coordinator.domain.retry import LONGEST_S


class BadFlow(ConfigurationError):
    """A flow that breaks the rules; the service does not start with it."""

    code = "BAD_FLOW"

    def __init__(self, flow: str, problems: list[str]) -> None:
        self.problems = tuple(problems)
        super().__init__(f"flow {flow}: " + "; ".join(problems))


@dataclass(frozen=True, slots=True)
class FlowRow:
    """One flow, by phase names.

    name           unique, snake case; stored with every transaction, so never renamed
    try_stages     the phases of a stage are tried together, the stages one after the other
    announce       the phase that announces the result, or empty
    try_budget_s   how long a payment may stay CREATED before it is released, in seconds
    reservation_s  how long holds are asked to last unless the request says, in seconds; at most
                   the shortest `longest_hold_s` of its phases
    attention_after_s  a transaction that is decided and not done after so long needs a person, in
                   seconds
    """

    name: str
    try_stages: tuple[tuple[str, ...], ...]
    announce: str = ""
    try_budget_s: float = 5.0
    reservation_s: float = 900.0
    attention_after_s: float = 900.0


@dataclass(frozen=True)
class Flow:
    """A checked flow, bound to its phases."""

    name: str
    stages: tuple[tuple[Phase, ...], ...]
    announce: Phase | None
    try_budget_s: float
    reservation_s: float
    attention_after_s: float

    @cached_property
    def called(self) -> tuple[Phase, ...]:
        """The phases that call a participant, in try order."""
        return tuple(phase for stage in self.stages for phase in stage)

    @cached_property
    def phases(self) -> tuple[Phase, ...]:
        """Every phase, in the order steps are stored and shown."""
        return self.called + ((self.announce,) if self.announce else ())

    @cached_property
    def by_name(self) -> Mapping[str, Phase]:
        """The phases by their names."""
        return {phase.name: phase for phase in self.phases}

    @cached_property
    def takers(self) -> tuple[Phase, ...]:
        """The phases that take money, in try order: one tender each."""
        return tuple(phase for phase in self.called if phase.role is Role.TAKES)

    @cached_property
    def keepers(self) -> tuple[Phase, ...]:
        """The phases that keep something besides money: one item each."""
        return tuple(phase for phase in self.called if phase.role is Role.KEEPS)

    @cached_property
    def longest_reservation_s(self) -> float:
        """What the least patient participant holds, in seconds."""
        return min(phase.longest_hold_s for phase in self.called)

    @cached_property
    def refund(self) -> Flow:
        """The flow of a refund: the merchant's part is held first, then given to the tenders.

        Each phase goes the other way at the same participant. What is kept besides money stays.
        """
        merchant = tuple(_reversed(p, Role.TAKES) for p in self.called if p.role is Role.GIVES)
        tenders = tuple(_reversed(phase, Role.GIVES) for phase in self.takers)
        return replace(self, stages=(merchant, tenders))

    @cached_property
    def pivot(self) -> Phase | None:
        """The one phase whose Confirm can still be refused, if there is one."""
        return next((phase for phase in self.called if phase.confirm_refusable), None)


def _reversed(phase: Phase, role: Role) -> Phase:
    return replace(phase, role=role, confirm_refusable=False, secret_source=False)


def bind(row: FlowRow, phases: Mapping[str, Phase]) -> Flow:
    """The flow of `row`. Raises BadFlow with every rule it breaks."""
    names = [name for stage in row.try_stages for name in stage]
    names += [row.announce] if row.announce else []
    problems = [f"unknown phase {name!r}" for name in names if name not in phases]
    problems += [f"phase {name!r} twice" for name, count in Counter(names).items() if count > 1]
    known = [phases[name] for stage in row.try_stages for name in stage if name in phases]
    problems += _rule_problems(row, known)
    if not NAME.fullmatch(row.name):
        problems.append("its name must be snake case, at most 40 characters")
    announce = phases.get(row.announce)
    if announce is not None and announce.role is not Role.ANNOUNCES:
        problems.append(f"phase {announce.name!r} cannot announce")
    if problems:
        raise BadFlow(row.name, problems)
    return Flow(
        name=row.name,
        stages=tuple(tuple(phases[name] for name in stage) for stage in row.try_stages),
        announce=announce,
        try_budget_s=row.try_budget_s,
        reservation_s=row.reservation_s,
        attention_after_s=row.attention_after_s,
    )


def _rule_problems(row: FlowRow, known: list[Phase]) -> list[str]:
    problems = [f"phase {phase.name!r} has no undo" for phase in known if not phase.cancellable]
    problems += [
        f"phase {phase.name!r} announces; name it as `announce`, not in a try stage"
        for phase in known
        if phase.role is Role.ANNOUNCES
    ]
    refusable = [phase.name for phase in known if phase.confirm_refusable]
    if len(refusable) > 1:
        problems.append(
            "only the pivot's confirm may still be refused, but these all may: "
            + ", ".join(refusable)
        )
    if not any(phase.role is Role.TAKES for phase in known):
        problems.append("no phase takes money")
    if sum(phase.role is Role.GIVES for phase in known) != 1:
        problems.append("exactly one phase must give the money to the merchant")
    if any(not stage for stage in row.try_stages):
        problems.append("a try stage is empty")
    shortest = min((phase for phase in known), key=lambda each: each.longest_hold_s, default=None)
    if shortest is not None and shortest.longest_hold_s < row.reservation_s <= LONGEST_S:
        problems.append(
            f"reservation_s must be at most {shortest.longest_hold_s:g}, as long as phase "
            f"{shortest.name!r} holds"
        )
    if not 0 < row.attention_after_s <= LONGEST_S:
        problems.append(f"attention_after_s must be above 0 and at most {LONGEST_S}")
    if not 0 < row.try_budget_s <= row.reservation_s <= LONGEST_S:
        problems.append(
            f"try_budget_s must be above 0, at most reservation_s, and that at most {LONGEST_S}"
        )
    return problems
