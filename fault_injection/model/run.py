"""The looks that a model check takes: what is explored, what has to come out, and what did."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from adapters.system import SystemClock
from coordinator.domain.flow import Flow
from fault_injection.model.explore import Explored, explore
from fault_injection.model.protocol import Protocol
from fault_injection.model.rules import RULES
from fault_injection.model.story import told
from fault_injection.model.variants import BY_NAME, VARIANTS, Variant
from phases.flows import FLOW_ROWS, bind_flows
from phases.registry import PHASES

ALL = "all"
"""What stands for every variant."""
CLOCK = SystemClock()


@dataclass(frozen=True, slots=True)
class Look:
    """One exploration.

    variant   the broken one that was explored; None: the sound protocol
    watched   the rules that counted
    expected  the rule that has to be broken; empty: none
    broken    the rule that is; empty: none
    story     how that comes about, a line each
    seconds   that it took
    """

    participants: int
    variant: Variant | None
    watched: Sequence[str]
    expected: str
    broken: str
    story: Sequence[str]
    explored: Explored
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether it came out as it has to."""
        return self.broken == self.expected

    @property
    def problem(self) -> str:
        """What did not."""
        name = self.variant.name if self.variant else "the sound protocol"
        expected, broken = self.expected or "nothing", self.broken or "nothing"
        return f"{name} should break {expected}, and breaks {broken}"


def flows_by_size() -> Mapping[int, Flow]:
    """The flows with a pivot, by the number of their participants."""
    flows = bind_flows(FLOW_ROWS, PHASES).values()
    return {len(flow.called): flow for flow in flows if flow.pivot is not None}


def chosen(name: str | None) -> tuple[Variant | None, ...]:
    """The variants of this name: one, every one (`all`), or the sound protocol (None).

    Raises ValueError for a name that there is not.
    """
    if name is None:
        return (None,)
    if name == ALL:
        return VARIANTS
    if name not in BY_NAME:
        raise ValueError(f"there is no variant {name}; there are {', '.join(BY_NAME)}, {ALL}")
    return (BY_NAME[name],)


def looks(
    flow: Flow,
    variants: Sequence[Variant | None],
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[Look]:
    """Explores each: the first rule that a variant breaks, and then how it costs money."""
    for variant in variants:
        if variant is None:
            yield _look(flow, None, RULES, "", progress)
            continue
        yield _look(flow, variant, RULES, variant.first, progress)
        if variant.harm != variant.first:
            yield _look(flow, variant, (variant.harm,), variant.harm, progress)


def _look(
    flow: Flow,
    variant: Variant | None,
    watched: Sequence[str],
    expected: str,
    progress: Callable[[int, int], None] | None,
) -> Look:
    protocol = Protocol(flow, variant.switches) if variant else Protocol(flow)
    began = CLOCK.monotonic()
    explored = explore(protocol, tuple(watched), progress)
    seconds = CLOCK.monotonic() - began
    found = explored.found
    return Look(
        participants=protocol.size,
        variant=variant,
        watched=tuple(watched),
        expected=expected,
        broken=found.breach.rule if found else "",
        story=told(found, [phase.title for phase in flow.called]) if found else [],
        explored=explored,
        seconds=seconds,
    )
