"""Transactions and their stories as operators read them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp
from kessai.admin.v1 import admin_pb2 as pb
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from coordinator.cli.admin_client import seconds
from coordinator.cli.output import plain, table
from coordinator.cli.show import (
    MIDDLING,
    WIDE,
    Facts,
    coloured,
    grid,
    in_utc,
    moment,
    money,
    part_of,
    state_word,
    status_name,
)

ANSWERS = {pb.STEP_ANSWER_CONFIRMED: "captured", pb.STEP_ANSWER_CANCELLED: "not-captured"}
"""The answers of ResolveStep as they are typed."""
_ACTION_PREFIX = "OPERATOR_ACTION_"
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86400


def age(of_s: float) -> str:
    """A length of time in a few characters, such as 42s, 12m, 3h 05m or 2d 4h; never below 0."""
    whole = max(0, int(of_s))
    if whole < 2 * _MINUTE_S:
        return f"{whole}s"
    if whole < _HOUR_S:
        return f"{whole // _MINUTE_S}m"
    if whole < _DAY_S:
        return f"{whole // _HOUR_S}h {whole % _HOUR_S // _MINUTE_S:02}m"
    return f"{whole // _DAY_S}d {whole % _DAY_S // _HOUR_S}h"


def between(start: Timestamp, end: Timestamp) -> float:
    """From one time to another, in seconds."""
    return float(end.ToMilliseconds() - start.ToMilliseconds()) / 1000


def stamp(of: datetime) -> Timestamp:
    """A time as protobuf has it."""
    made = Timestamp()
    made.FromDatetime(of.astimezone(UTC))
    return made


# --- lists -----------------------------------------------------------------------------------


def transactions_view(
    found: Sequence[pb.Transaction], now: Timestamp, width: int
) -> RenderableType:
    """Transactions, one a line; only what matters most where there are few columns."""
    columns: tuple[str, ...] = (
        *("transaction", "kind", "state", "for", "amount", "caller", "flow", "why"),
    )
    if width < WIDE:
        columns = ("transaction", "state", "for", "amount", "flow", "why")
    if width < MIDDLING:
        columns = ("transaction", "state", "for", "why")
    made = table(*columns, right=("for", "amount"), whole=columns[:-1], edge=width >= MIDDLING)
    for each in found:
        cells = _cells(each, now)
        made.add_row(*(cells[column] for column in columns))
    return made


def _cells(of: pb.Transaction, now: Timestamp) -> dict[str, str | Text]:
    return {
        "transaction": plain(of.transaction_id),
        "kind": "refund" if of.refund_of else "payment",
        "state": coloured(state_word(of.state)),
        "for": age(between(of.state_time, now)),
        "amount": money(of.amount),
        "caller": plain(of.caller),
        "flow": plain(of.flow),
        "why": plain(why(of)),
    }


def why(of: pb.Transaction) -> str:
    """Why it stands where it stands, in a few words: hold, attention, errors, failure."""
    told = []
    if of.HasField("hold"):
        told.append(f"held by {of.hold.operator}: {of.hold.reason}")
    if of.HasField("attention"):
        told.append(of.attention.code)
    settled = not of.HasField("due_time") and not of.HasField("hold")
    if not settled:
        told += [
            f"{step.phase} {step.last_error}{f' ×{step.attempts}' if step.attempts else ''}"
            for step in of.steps
            if step.last_error
        ]
    if of.HasField("failure"):
        told.append(of.failure.code)
    return ", ".join(told)


# --- one transaction -------------------------------------------------------------------------


def transaction_view(of: pb.Transaction, now: Timestamp, width: int) -> RenderableType:
    """One transaction as it stands."""
    return Group(grid(_facts(of, now)), Text(), _steps(of, now, width))


def story_view(story: pb.ExplainTransactionResponse, run: str, width: int) -> RenderableType:
    """The whole story; `run` is how the command is called. What can be done stands at the end."""
    of, now = story.transaction, story.now
    facts = _facts(of, now)
    if of.HasField("due_time") or story.HasField("claim"):
        facts.append(("driven by", _claim(story)))
    if of.HasField("due_time") and not of.HasField("hold"):
        facts.append(("next due", _when(of.due_time, now)))
    parts: list[RenderableType] = [grid(facts)]
    if story.waits:
        parts += [_title("It waits for"), _indented(_waits(story.waits))]
    parts += [Text(), _steps(of, now, width)]
    if story.journal:
        parts += [_title(_journal_title(story)), _journal(story.journal)]
    parts += [_title("What can be done now"), _indented(_actions(story.actions))]
    if any(each.answers for each in story.resolvable):
        parts += [_title("How a step can be resolved"), _indented(_answers(story.resolvable))]
        parts += [Text(each, overflow="fold") for each in _commands(story, run)]
    return Group(*parts)


def _facts(of: pb.Transaction, now: Timestamp) -> Facts:
    facts: Facts = [
        ("transaction", plain(of.transaction_id)),
        ("kind", f"refund of {plain(of.refund_of)}" if of.refund_of else "payment"),
        ("state", _state(of, now)),
        ("amount", money(of.amount)),
        ("caller", plain(of.caller)),
        ("flow", plain(of.flow)),
        ("merchant", plain(of.merchant_id)),
    ]
    optional = (("order", of.order_id), ("customer", of.customer_id))
    facts += [(name, plain(value)) for name, value in optional if value]
    if of.HasField("attention"):
        facts.append(("attention", _red(f"{of.attention.code}: {of.attention.reason}")))
    if of.HasField("hold"):
        facts.append(("held by", _red(f"{of.hold.operator}: {of.hold.reason}")))
    if of.HasField("failure"):
        where = f" (at {of.failure.phase})" if of.failure.phase else ""
        facts.append(("failure", plain(f"{of.failure.code}: {of.failure.reason}{where}")))
    if state_word(of.state) in {"CREATED", "RESERVED"} and of.HasField("reserve_until"):
        facts.append(("reserved until", _when(of.reserve_until, now)))
    facts.append(("accepted", in_utc(of.create_time)))
    facts.append(("version", str(of.version)))  # for --if-version of the next act
    return facts


def _state(of: pb.Transaction, now: Timestamp) -> Text:
    text = coloured(state_word(of.state))
    text.append(f" for {age(between(of.state_time, now))}", style="not bold default")
    return text.append(f", since {in_utc(of.state_time)}", style="not bold default")


def _claim(story: pb.ExplainTransactionResponse) -> str:
    if not story.HasField("claim"):
        return "nobody at this moment"
    here = "; it is the process that answers" if story.claim.here else ""
    left = age(seconds(story.claim.remaining))
    return f"{plain(story.claim.owner)} (its claim lasts {left} unless it renews it{here})"


def _when(at: Timestamp, now: Timestamp) -> str:
    left_s = between(now, at)
    how = f"in {age(left_s)}" if left_s >= 0 else f"{age(-left_s)} ago"
    return f"{in_utc(at)} ({how})"


def _waits(waits: Iterable[pb.Wait]) -> Table:
    return grid([(plain(wait.code), plain(wait.sentence)) for wait in waits])


def _steps(of: pb.Transaction, now: Timestamp, width: int) -> Table:
    wide = width >= MIDDLING
    columns = ("phase", *(("at",) if wide else ()), "status", "amount", "tries", "last error")
    columns += ("asked again", *(("reference",) if wide else ()))
    made = table(*columns, right=("amount", "tries"), edge=False)
    for step in of.steps:
        again = ""
        if step.HasField("next_attempt_time") and not of.HasField("hold"):
            left_s = between(now, step.next_attempt_time)
            again = f"in {age(left_s)}" if left_s > 0 else "now"
        error = plain(step.last_error)
        if step.HasField("refusal"):
            error = plain(f"{step.refusal.code}: {step.refusal.reason}")
        made.add_row(
            plain(step.phase),
            *((plain(step.participant),) if wide else ()),
            status_name(step.status),
            _amount(step),
            str(step.attempts),
            error,
            again,
            *((plain(step.participant_reference),) if wide else ()),
        )
    return made


def _amount(step: pb.Step) -> str:
    if not step.HasField("amount"):
        return ""
    return (
        part_of(step.final_amount, step.amount)
        if step.HasField("final_amount")
        else money(step.amount)
    )


def _journal_title(story: pb.ExplainTransactionResponse) -> str:
    earlier = story.earlier_lines
    return f"What happened (after {earlier} earlier lines; --lines)" if earlier else "What happened"


def _journal(lines: Iterable[pb.JournalEntry]) -> Table:
    made = table(
        "#", "time (UTC)", "what", "result", right=("#",), whole=("#", "time (UTC)"), edge=False
    )
    for line in lines:
        made.add_row(str(line.sequence), moment(line.time), plain(_what(line)), _result(line))
    return made


def _what(line: pb.JournalEntry) -> str:
    if line.kind == "attempt":
        return f"{line.phase} {line.operation} {line.attempt}"
    if line.kind == "operator":
        return " ".join(filter(None, (line.actor, line.event, line.phase)))
    return line.event


def _result(line: pb.JournalEntry) -> str:
    before, after = state_word(line.from_state), state_word(line.to_state)
    moved = f"{before} → {after}" if before not in {"", after} else ""
    if line.kind == "transition" and not moved:
        moved = after
    why_ = ": ".join(filter(None, (line.code, line.detail)))
    evidence = f"evidence: {line.evidence}" if line.evidence else ""
    return plain("; ".join(filter(None, (moved, line.outcome, why_, evidence))))


def _actions(verdicts: Iterable[pb.ActionVerdict]) -> Table:
    made = Table.grid(padding=(0, 2))
    made.add_column(no_wrap=True)
    made.add_column(no_wrap=True)
    made.add_column(overflow="fold")
    for verdict in verdicts:
        allowed = Text("yes", style="green") if verdict.allowed else Text("no", style="red")
        code = "" if verdict.allowed or not verdict.code else f" ({verdict.code})"
        made.add_row(action_name(verdict.action), allowed, plain(f"{verdict.reason}{code}"))
    return made


def action_name(action: pb.OperatorAction) -> str:
    """The action as its command is called."""
    known = action in pb.OperatorAction.values()
    name = pb.OperatorAction.Name(action) if known else str(action)
    return name.removeprefix(_ACTION_PREFIX).lower()


def _answers(resolvable: Iterable[pb.StepAnswers]) -> Table:
    return grid([(plain(step.phase), plain(step.reason)) for step in resolvable if step.answers])


def _commands(story: pb.ExplainTransactionResponse, run: str) -> list[str]:
    """Commands to paste: nothing, not even blanks, may follow a backslash."""
    return [
        f"  {run} tx resolve {plain(story.transaction.transaction_id)} \\\n"
        f"    --step {plain(step.phase)} --as {ANSWERS[answer]} --reason … --evidence …"
        for step in story.resolvable
        for answer in step.answers
        if answer in ANSWERS
    ]


def _title(text: str) -> Text:
    return Text(f"\n{text}:", style="bold")


def _indented(what: RenderableType) -> Padding:
    return Padding(what, (0, 0, 0, 2), expand=False)


def _red(text: str) -> Text:
    return Text(plain(text), style="red")
