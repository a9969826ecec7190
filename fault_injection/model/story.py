"""A breach as a story that can be read aloud: one sentence for each happening."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fault_injection.model import fence
from fault_injection.model.coordinator import Cause
from fault_injection.model.explore import Found
from fault_injection.model.nodes import Node, scene_of
from fault_injection.model.protocol import Happening

_ARRIVED = {
    fence.PENDING: "it waits for its customer",
    fence.HELD: "it holds",
    fence.REFUSED: "it refuses",
    fence.CONFIRMED: "it is confirmed",
    fence.CONFIRM_REFUSED: "it refuses, and still holds",
    fence.CANCELLED: "it is cancelled",
    fence.FORGOT: "it answers, and forgets",
}
_SENTENCES: Mapping[str, str] = {
    "arrives": "{who}: the {what} arrives; {did}.",
    "customer": "{who}: its customer decides; {did}.",
    "sends": "The coordinator sends {what} to {who}.",
    "hears": "The coordinator hears {status} from {who}, to {what}.",
    "commits": "The coordinator commits {state}{because}.",
    "decides": "The coordinator decides {state}{because}, and goes on without a commit.",
    "commits late": "The coordinator commits {state}, which it decided before.",
    "gives back": "The coordinator commits what it heard, and gives the row back.",
    "crashes": "The coordinator crashes.",
    "taken up": "A coordinator takes the row up{although}.",
    "taken up too": "A second coordinator takes the row up; the first may still commit.",
    "sent late": "Another coordinator, which read the row before, sends {what} to {who}.",
    "overwrites": "Another coordinator, which read the row before, commits {state} over it.",
    "cancel": "The caller cancels: {state} is committed.",
    "capture": "The caller captures{without}: {state} is committed.",
}


def told(found: Found, titles: Sequence[str]) -> list[str]:
    """The story, a line each: where it starts, what happens, which rule is broken.

    `titles` name the participants, in the flow's order.
    """
    manual = scene_of(found.start).manual
    capture = "to be captured by its caller" if manual else "to be captured at once"
    lines = [f"A payment is accepted, {capture}. A coordinator drives it."]
    before = found.start
    for happening, node in found.story:
        lines.append(_sentence(happening, before, titles))
        before = node
    breach = found.breach
    where = "" if breach.participant is None else f" at {titles[breach.participant]}"
    broken = f"{breach.rule} is broken{where}: {breach.what}."
    return [f"{number:>3}  {line}" for number, line in enumerate(lines)] + [f"     {broken}"]


def _sentence(happening: Happening, before: Node, titles: Sequence[str]) -> str:
    running = scene_of(before).process is not None
    return _SENTENCES[happening.kind].format(
        who="" if happening.participant is None else titles[happening.participant],
        what="" if happening.operation is None else happening.operation.capitalize(),
        did=_ARRIVED.get(happening.letter, ""),
        status=happening.status,
        state="" if happening.after is None else happening.after.state,
        without=_without(happening, titles),
        because=_because(happening.cause, titles),
        although=", although the one before still runs" if running else "",
    )


def _without(happening: Happening, titles: Sequence[str]) -> str:
    """What a capture takes nothing of."""
    dropped = () if happening.after is None else happening.after.dropped
    names = [title for title, out in zip(titles, dropped, strict=False) if out]
    return f" nothing of {' and '.join(names)}" if names else " all of it"


def _because(cause: Cause | None, titles: Sequence[str]) -> str:
    if cause is None:
        return ""
    who = "" if cause.participant is None else f", {titles[cause.participant]}"
    return f" ({cause.code}{who})"
