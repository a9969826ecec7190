"""The model check as a command: explores, prints figures and stories, says how it came out."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from adapters.system import SystemClock
from coordinator.cli.failures import ExitCode
from coordinator.cli.output import lines, say
from coordinator.domain.flow import Flow
from fault_injection.model.explore import Explored, explore
from fault_injection.model.protocol import Protocol
from fault_injection.model.rules import RULES
from fault_injection.model.story import told
from fault_injection.model.variants import BY_NAME, VARIANTS, Variant
from phases.flows import FLOW_ROWS, bind_flows
from phases.registry import PHASES

ALL = "all"
CLOCK = SystemClock()


def flows_by_size() -> Mapping[int, Flow]:
    """The flows with a pivot, by the number of their participants."""
    flows = bind_flows(FLOW_ROWS, PHASES).values()
    return {len(flow.called): flow for flow in flows if flow.pivot is not None}


def main(participants: int = 3, variant: str | None = None) -> int:
    """Explores the flow of so many participants: the sound protocol, or one broken variant.

    `variant` is a variant's name, or `all` for every one of them. Returns 0 when it came out as it
    must (nothing broken; a variant broken where it should be), 1 when not, 2 for bad input.
    """
    flow = flows_by_size().get(participants)
    if flow is None:
        sizes = ", ".join(str(size) for size in sorted(flows_by_size()))
        say(f"no flow has {participants} participants and a pivot; there are flows of {sizes}")
        return ExitCode.USAGE
    if variant is None:
        return _sound(flow)
    if variant != ALL and variant not in BY_NAME:
        say(f"there is no variant {variant!r}; there are: {', '.join(BY_NAME)}, {ALL}")
        return ExitCode.USAGE
    chosen = VARIANTS if variant == ALL else (BY_NAME[variant],)
    return max(_broken(flow, each) for each in chosen)


def _sound(flow: Flow) -> int:
    explored = _timed(Protocol(flow), "the sound protocol")
    if explored.found is None:
        ends = ", ".join(f"{state} {count}" for state, count in sorted(explored.ends.items()))
        lines(f"{', '.join(RULES)} hold in every state; from each an end is reached ({ends}).")
        return ExitCode.OK
    _print_story(explored, flow)
    return ExitCode.FAILED


def _broken(flow: Flow, variant: Variant) -> int:
    """Shows the first rule that the variant breaks, and then how it costs money."""
    protocol = Protocol(flow, variant.switches)
    came_out = ExitCode.OK
    lines(f"{variant.name}: {variant.title}")
    looks: list[tuple[str, tuple[str, ...]]] = [(variant.first, RULES)]
    looks += [(variant.harm, (variant.harm,))] if variant.harm != variant.first else []
    for expected, watched in looks:
        explored = _timed(
            protocol,
            "every rule watched" if watched is RULES else f"{expected} alone watched",
            watched,
        )
        broken = None if explored.found is None else explored.found.breach.rule
        if broken != expected:
            say(f"{variant.name} should break {expected}, and breaks {broken or 'nothing'}")
            came_out = ExitCode.FAILED
        _print_story(explored, flow)
    return came_out


def _timed(protocol: Protocol, what: str, watched: tuple[str, ...] = RULES) -> Explored:
    began = CLOCK.monotonic()
    explored = explore(protocol, watched, _progress if sys.stderr.isatty() else None)
    seconds = CLOCK.monotonic() - began
    lines(
        f"{protocol.size} participants, {what}: {explored.states:,} states, "
        f"{explored.steps:,} steps between them, depth {explored.depth}, {seconds:.1f} s"
    )
    return explored


def _progress(explored: int, known: int) -> None:
    sys.stderr.write(f"\r{explored:,} of {known:,} known states explored \r")
    sys.stderr.flush()


def _print_story(explored: Explored, flow: Flow) -> None:
    if explored.found is not None:
        lines("\n".join(told(explored.found, [phase.title for phase in flow.called])) + "\n")
