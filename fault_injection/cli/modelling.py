"""What `kessai model` does: reads what it is asked, explores, and tells of it."""

from __future__ import annotations

from typing import Any

import typer

from coordinator.cli.failures import Failure
from coordinator.cli.interruption import Interrupted, Interruption
from coordinator.cli.output import Format, emit, emit_all, lines, messages
from coordinator.domain.flow import Flow
from fault_injection.model.rules import RULES
from fault_injection.model.run import Look, chosen, flows_by_size, looks


def run(participants: int, variant: str | None, output: Format) -> None:
    """Takes every look. Raises Failure when one did not come out as it has to."""
    flow = _flow(participants)
    try:
        variants = chosen(variant)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--variant") from None
    taken: list[Look] = []
    progress = _progress if messages().is_terminal else None
    with Interruption():
        try:
            for look in looks(flow, variants, progress):
                taken.append(look)
                _tell(look, output)
        except Interrupted:
            raise typer.Exit(130) from None
    if output is Format.JSON:
        emit_all(Format.JSON, [_record(look) for look in taken], str)
    problems = [look.problem for look in taken if not look.ok]
    if problems:
        raise Failure("; ".join(problems), code="INVARIANT_BROKEN")


def _flow(participants: int) -> Flow:
    flows = flows_by_size()
    if participants not in flows:
        sizes = ", ".join(str(size) for size in sorted(flows))
        raise typer.BadParameter(
            f"no flow has {participants} participants and a pivot; there are flows of {sizes}",
            param_hint="--participants",
        )
    return flows[participants]


def _tell(look: Look, output: Format) -> None:
    if output is Format.JSONL:
        emit(Format.JSONL, _record(look), str)
    if output is not Format.TABLE:
        return
    explored = look.explored
    what = "the sound protocol"
    if look.variant is not None:
        rules = "every rule" if tuple(look.watched) == RULES else f"{look.expected} alone"
        what = f"{look.variant.name} ({look.variant.title}), {rules} watched"
    lines(
        f"{look.participants} participants, {what}: {explored.states:,} states, "
        f"{explored.steps:,} steps between them, depth {explored.depth}, {look.seconds:.1f} s"
    )
    if look.story:
        lines("\n".join(look.story) + "\n")
    else:
        ends = ", ".join(f"{state} {count}" for state, count in sorted(explored.ends.items()))
        lines(
            f"{', '.join(look.watched)} hold in every state; from each an end is reached ({ends})."
        )


def _record(look: Look) -> dict[str, Any]:
    return {
        "participants": look.participants,
        "variant": look.variant.name if look.variant else "",
        "watched": list(look.watched),
        "expected": look.expected,
        "broken": look.broken,
        "ok": look.ok,
        "states": look.explored.states,
        "steps": look.explored.steps,
        "depth": look.explored.depth,
        "seconds": round(look.seconds, 3),
        "story": list(look.story),
    }


def _progress(explored: int, known: int) -> None:
    messages().print(f"{explored:,} of {known:,} known states explored", end="   \r")
