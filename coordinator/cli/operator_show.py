"""Flows, participants and checks as operators read them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kessai.admin.v1 import admin_pb2 as pb
from rich.console import RenderableType
from rich.text import Text

from coordinator.cli.admin_client import seconds
from coordinator.cli.output import plain, table
from coordinator.cli.show import MIDDLING, in_utc
from coordinator.cli.tx_show import age

STATUSES = {
    pb.CHECK_STATUS_OK: "ok",
    pb.CHECK_STATUS_WARNING: "warning",
    pb.CHECK_STATUS_FAILED: "failed",
}
_COLOURS = {"ok": "green", "warning": "yellow", "failed": "red", "serving": "green"}
_COLOURS |= {"closed": "green", "half open": "yellow", "open": "red", "unreachable": "red"}
_COLOURS |= {"not serving": "red", "paused": "yellow", "not served": "dim"}


def flows_view(flows: Iterable[pb.Flow], width: int) -> RenderableType:
    """Flows, one a line."""
    wide = width >= MIDDLING
    columns = ("flow", "new payments", *(("phases", "participants") if wide else ()))
    made = table(*columns, whole=("flow",), edge=wide)
    for flow in flows:
        made.add_row(
            plain(flow.name),
            _intake(flow),
            *((", ".join(flow.phases), ", ".join(flow.participants)) if wide else ()),
        )
    return made


def _intake(flow: pb.Flow) -> Text:
    if not flow.HasField("pause"):
        return _word("open" if flow.served else "not served", "" if flow.served else "dim")
    pause = flow.pause
    until = f" until {in_utc(pause.until_time)}" if pause.HasField("until_time") else ""
    text = _word("paused")
    if not flow.served:
        text.append(" and not served", style="default")
    said = f" by {pause.operator}: {pause.reason} (since {in_utc(pause.since_time)}{until})"
    return text.append(plain(said), style="default")


def participants_view(found: Iterable[pb.Participant], width: int) -> RenderableType:
    """Participants, one a line."""
    wide = width >= MIDDLING
    columns = ("participant", *(("address", "phases") if wide else ()))
    columns += ("health", "breaker", "calls", "waiting", "oldest", "more")
    whole = ("participant", "breaker", "calls", "waiting", "oldest")
    made = table(*columns, right=("calls", "waiting", "oldest"), whole=whole, edge=wide)
    for each in found:
        waits = each.HasField("oldest_waiting")
        made.add_row(
            plain(each.name),
            *((plain(each.address), ", ".join(each.phases)) if wide else ()),
            _word(_name(pb.Reachability, each.reachability, "REACHABILITY_")),
            _word(_name(pb.BreakerState, each.breaker, "BREAKER_STATE_")),
            str(each.calls_in_flight),
            str(each.waiting),
            age(seconds(each.oldest_waiting)) if waits else "",
            plain(each.detail),
        )
    return made


def _name(enum: Any, value: int, prefix: str) -> str:
    name = enum.Name(value) if value in enum.values() else str(value)
    return str(name.removeprefix(prefix).replace("_", " ").lower())


def check_record(check: pb.Check) -> dict[str, str]:
    """A check as programs read it."""
    return {
        "name": check.name,
        "status": STATUSES.get(check.status, str(check.status)),
        "finding": check.finding,
        "advice": check.advice,
    }


def checks_view(records: Sequence[Mapping[str, str]]) -> RenderableType:
    """Checks, one a line; what to do about one stands below what was found."""
    made = table("check", "status", "finding", whole=("check", "status"), edge=False)
    for each in records:
        finding = Text(plain(each["finding"]))
        if each["advice"]:
            finding.append(f"\n→ {plain(each['advice'])}", style="bold")
        made.add_row(plain(each["name"]), _word(each["status"]), finding)
    return made


def _word(word: str, style: str | None = None) -> Text:
    return Text(word, style=_COLOURS.get(word, "") if style is None else style)
