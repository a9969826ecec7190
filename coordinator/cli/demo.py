"""`kessai demo`: a story of a few payments, told by real processes and checked in their ledgers."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer
from rich.text import Text

from coordinator.cli.app import app
from coordinator.cli.failures import ExitCode, Failure, needing_embedded
from coordinator.cli.helps import command
from coordinator.cli.interruption import Interrupted, Interruption
from coordinator.cli.output import data, plain, say, table

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from kessai.payments.v1 import payments_pb2 as pb
    from rich.table import Table

    from coordinator.cli.client import Client
    from coordinator.cli.events import Announced
    from coordinator.cli.ledgers import Books, Ledgers
    from coordinator.cli.stack import Stack
    from coordinator.cli.telling import Chapter, World

CALL_TIMEOUT_S = 20.0
EVENTS_LIMIT_S = 20.0


@command(
    app,
    "kessai demo",
    "NO_COLOR=1 kessai demo > story.txt",
    ok="every chapter ended as told, and money in = money out",
    failed="a chapter did not, or the ledgers do not balance",
)
def demo() -> None:
    """Tells the story of a few payments, with real processes in a temporary folder.

    Starts PostgreSQL, NATS, four participants and the coordinator, lets payments succeed, fail and
    lose their answers, reserves, captures, cancels, refunds, stops a participant, kills the
    coordinator, and checks every ending in the
    participants' own ledgers. Takes about a minute and leaves nothing behind.
    """
    with needing_embedded():  # chapters know the stack, which they stop parts of
        from coordinator.cli import folders, story  # noqa: PLC0415 - slow

    with Interruption() as interruption:
        folder = folders.temporary()
        try:
            problems = play(folder, story.CHAPTERS, interruption)
        except Interrupted:
            say("interrupted; everything was stopped")
            raise typer.Exit(ExitCode.INTERRUPTED) from None
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    if problems:
        raise Failure("the story did not end as told", hint="\n".join(problems))


def play(
    folder: Path, chapters: Sequence[Chapter], interruption: Interruption | None = None
) -> list[str]:
    """Starts everything in `folder`, tells the chapters, stops everything.

    Returns what did not end as told, one sentence each.
    """
    from adapters.system import SystemClock  # noqa: PLC0415 - slow
    from coordinator.cli.chapters_recovering import SETTINGS  # noqa: PLC0415 - slow
    from coordinator.cli.client import Client  # noqa: PLC0415 - slow
    from coordinator.cli.ledgers import Ledgers  # noqa: PLC0415 - slow
    from coordinator.cli.telling import World  # noqa: PLC0415 - slow

    with needing_embedded():
        from coordinator.cli.stack import LEDGERS, Plan, Stack  # noqa: PLC0415 - slow

    clock = SystemClock()
    start = clock.now()
    stack = Stack(Plan(folder, options=_options(), settings=SETTINGS), interruption)
    say("Starting PostgreSQL, NATS, four participants and the coordinator …")
    try:
        stack.start()
        _line(f"Ready after {_since(start, clock.now())}.")
        urls = {name: stack.database_urls[name] for name in LEDGERS}
        with (
            Ledgers(urls) as ledgers,
            Client(stack.address, stack.keys.api_key, CALL_TIMEOUT_S) as client,
        ):
            problems = _tell(World(client, ledgers, clock, stack), chapters)
            problems += _settle_up(stack, client, ledgers)
    finally:
        stack.stop()
    _line(f"\nTotal time {_since(start, clock.now())}.")
    return problems


def _options() -> dict[str, Sequence[str]]:
    """The participants' options: those of `kessai up`, and what the story needs besides."""
    from coordinator.cli.chapters_paying import LATE_TRY_S  # noqa: PLC0415 - slow
    from coordinator.cli.chapters_refunding import POOR_SHOP  # noqa: PLC0415 - slow
    from coordinator.cli.up import OPTIONS  # noqa: PLC0415 - slow

    return {
        **OPTIONS,
        "card": (*OPTIONS["card"], f"--late-try-s={LATE_TRY_S}"),
        "merchant": (*OPTIONS["merchant"], f"--seed={POOR_SHOP}"),
    }


def _payments(client: Client) -> list[pb.Payment]:
    """Every payment of the story, oldest first."""
    from kessai.payments.v1 import payments_pb2  # noqa: PLC0415 - slow

    return client.search(payments_pb2.ListPaymentsRequest(), limit=10_000)[::-1]


def _tell(world: World, chapters: Sequence[Chapter]) -> list[str]:
    """Tells every chapter, also after one that did not end as told."""
    from coordinator.cli.telling import NotAsTold  # noqa: PLC0415 - slow

    problems = []
    for number, chapter in enumerate(chapters, start=1):
        _line(f"\n{number}. {chapter.title}", style="bold")
        try:
            _line(f"   {chapter.tell(world)}", style="green")
        except (NotAsTold, Failure) as error:
            problems.append(f"{chapter.title}: {error}")
            _line(f"   {error}", style="red")
    return problems


def _settle_up(stack: Stack, client: Client, ledgers: Ledgers) -> list[str]:
    """The end: payments, refunds, ledgers, events, and whether money in = money out."""
    from coordinator.cli.chapters_recovering import CROWD_CUSTOMER  # noqa: PLC0415 - slow
    from coordinator.cli.events import collect  # noqa: PLC0415 - slow
    from coordinator.cli.ledgers import imbalances  # noqa: PLC0415 - slow
    from coordinator.cli.show import payments_view, refunds_view  # noqa: PLC0415 - slow

    payments = _payments(client)
    crowd = [each for each in payments if each.customer_id == CROWD_CUSTOMER]
    told = [each for each in payments if each.customer_id != CROWD_CUSTOMER]
    refunds = [made for payment in told for made in client.refunds(payment.payment_id)]
    books = ledgers.books()
    _line("\nPayments", style="bold")
    data().print(payments_view(told, data().width))
    if crowd:
        _line(f"… and the {len(crowd):,} under which the coordinator was killed.")
    if refunds:
        _line("\nRefunds", style="bold")
        data().print(refunds_view(refunds, data().width))
    _line("\nLedgers, in minor units", style="bold")
    data().print(_books_table(books))
    captured_minor = sum(item.captured_amount.minor_units for item in payments)
    refunded_minor = sum(item.refunded_amount.minor_units for item in payments)
    problems = imbalances(books, captured_minor, refunded_minor)
    expected = _announced(payments, refunds)
    events = collect(stack.nats.url, len(expected), EVENTS_LIMIT_S)
    if set(events.values()) != expected or len(events) != len(expected):
        problems.append(f"{len(events)} events arrived for {len(expected)} settled states")
    else:
        _line(f"Events at NATS: {len(events)}, one for every settled state.")
    if problems:
        _line("The ledgers or the events are not as they should be.", style="bold red")
    else:
        _line(_balance(books), style="bold green")
    return problems


def _announced(payments: Sequence[pb.Payment], refunds: Sequence[pb.Refund]) -> set[Announced]:
    """What must have been announced: a payment that is REFUNDED was PAID before."""
    from coordinator.cli.events import Announced  # noqa: PLC0415 - slow
    from coordinator.cli.show import refund_state, state_name  # noqa: PLC0415 - slow

    found = {Announced(each.payment_id, state_name(each)) for each in payments}
    found |= {Announced(each.payment_id, "PAID") for each in payments if _is_refunded(each)}
    return found | {Announced(each.refund_id, refund_state(each)) for each in refunds}


def _is_refunded(payment: pb.Payment) -> bool:
    from coordinator.cli.show import state_name  # noqa: PLC0415 - slow

    return state_name(payment) == "REFUNDED"


def _books_table(books: Books) -> Table:
    numbers = ("confirmed", "amount", "given back", "open holds", "sum of postings")
    made = table("ledger", *numbers, right=numbers)
    what = {"points": "points burned", "card": "card captured", "merchant": "merchant credited"}
    for name, totals in books.totals.items():
        made.add_row(
            what.get(name, name),
            f"{totals.confirmed:,}",
            f"{totals.confirmed_minor:,}",
            f"{totals.refunded_minor:,}",
            f"{totals.open_holds:,}",
            f"{totals.postings_minor:,}",
        )
    return made


def _balance(books: Books) -> str:
    points, card, merchant = (books.totals[name] for name in ("points", "card", "merchant"))
    told = (
        f"Money in = money out: {points.confirmed_minor:,} points "
        f"+ {card.confirmed_minor:,} JPY by card = {merchant.confirmed_minor:,} JPY credited."
    )
    if not merchant.refunded_minor:
        return told
    return (
        f"{told}\nGiven back: {points.refunded_minor:,} points + {card.refunded_minor:,} JPY by "
        f"card = {merchant.refunded_minor:,} JPY from merchants. What is left: "
        f"{points.net_minor:,} + {card.net_minor:,} = {merchant.net_minor:,}."
    )


def _line(text: str, style: str = "") -> None:
    """One line of the story, as plain text where there is no terminal."""
    for line in text.split("\n"):
        data().print(Text(_folded(plain(line), data().width), style=style), soft_wrap=True)


def _folded(line: str, width: int) -> str:
    """The line broken between words, each part indented as the first; a long word stays whole."""
    indent = line[: len(line) - len(line.lstrip())]
    parts = textwrap.wrap(
        line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
    return "\n".join(parts)


def _since(start: datetime, now: datetime) -> str:
    return f"{(now - start).total_seconds():.1f} s"
