"""Runs one reference service: `points`, `card`, `merchant` or `stock`.

Each is a process of its own with a database of its own, and creates its tables at start-up: enough
for a reference service that is started afresh; a service that lives longer migrates its schema.

A service accepts any phase name: the phase is the caller's name for what it does here, and only
tells two uses within one transaction apart. There is no TLS and no authentication: listen on a
private address.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import sqlalchemy as sa
import structlog

from participants import world
from participants.card import CARD_METADATA, Card, decide_due
from participants.database import create_tables, in_transaction, make_engine
from participants.errors import StoreUnavailable
from participants.fence import Fence
from participants.fence_table import FENCE_METADATA
from participants.ledger import LEDGER_METADATA
from participants.merchant import Merchant
from participants.points import Points
from participants.server import run_in_thread, run_until_signal, serve_until
from participants.service import ParticipantService
from participants.slow_tokens import CardService
from participants.stock import STOCK_METADATA, Stock

NAMES = ("points", "card", "merchant", "stock")

_log = structlog.get_logger("kessai.participant")


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """How a reference service behaves.

    slow_reply_s       how long the card's `tok_timeout_…` tokens keep an answer back, in seconds
    late_try_s         after how long a Try of `tok_late_try` reaches the fence, in seconds
    customer_action_s  after how long the customer of a pending token acts, in seconds; None: never
    by
                       itself (`participants.card.decide` does it then)
    poll_s             how often due customer actions are looked for, in seconds
    threads            how many requests use the database at once (and how many connections)
    grace_s            how long a stop waits for running requests, in seconds

    Raises ValueError when a value is out of range.
    """

    slow_reply_s: float = 30.0
    late_try_s: float = 60.0
    customer_action_s: float | None = 5.0
    poll_s: float = 0.5
    threads: int = 16
    grace_s: float = 5.0

    def __post_init__(self) -> None:
        if self.threads < 1:
            raise ValueError("threads must be at least 1")
        if self.poll_s <= 0:
            raise ValueError("poll_s must be above 0")
        if min(self.slow_reply_s, self.late_try_s, self.customer_action_s or 0, self.grace_s) < 0:
            raise ValueError("waits must be at least 0")


def parse_seeds(texts: Iterable[str]) -> dict[str, int]:
    """`alice=10000` or `shop` (an opening balance of 0) as name to minor units, or to units.

    Raises ValueError for anything else.
    """
    seeds: dict[str, int] = {}
    for text in texts:
        name, _, amount = text.partition("=")
        if not name or not (amount or "0").isascii() or not (amount or "0").isdigit():
            raise ValueError(f"{text!r} is not NAME or NAME=MINOR_UNITS")
        seeds[name] = int(amount or "0")
    return seeds


def serve(
    name: str,
    *,
    listen: str,
    database_url: str,
    seeds: Mapping[str, int] | None = None,
    options: ServeOptions | None = None,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Serves until SIGTERM or SIGINT, then lets running requests finish. For the main thread.

    name          one of `NAMES`
    listen        `HOST:PORT`; port 0 takes a free one
    database_url  a database of this service's own
    seeds         opening balances: name to minor units (or an article's units); each is opened once
    on_ready      is told `HOST:PORT` with the real port once requests are answered

    Logging is the caller's to configure (`configure_logging` does it for a process of our own).
    Raises ValueError for an unknown name or bad seeds, RuntimeError when the address cannot be
    bound, StoreUnavailable when the database cannot be used.
    """
    service = _Service(name, listen, database_url, dict(seeds or {}), options or ServeOptions())
    run_until_signal(service.run, on_ready)


def running(
    name: str,
    *,
    database_url: str,
    seeds: Mapping[str, int] | None = None,
    options: ServeOptions | None = None,
    listen: str = "127.0.0.1:0",
) -> contextlib.AbstractContextManager[str]:
    """Serves in a thread of this process while the block runs; gives `HOST:PORT`. For tests.

    Raises what `serve` raises.
    """
    service = _Service(name, listen, database_url, dict(seeds or {}), options or ServeOptions())
    return run_in_thread(service.run)


def configure_logging(*, json: bool) -> None:
    """Log lines of JSON, or for people, on stderr. For the process of a reference service."""
    renderer = (
        structlog.processors.JSONRenderer()
        if json
        # The default shows local variables with an exception, and with them what a caller sent.
        else structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([structlog.processors.format_exc_info] if json else []),
            renderer,
        ],
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
    )


@dataclass(frozen=True, slots=True)
class _Service:
    """One reference service: what it is made of, and its life from start to stop."""

    name: str
    listen: str
    database_url: str = field(repr=False)
    seeds: Mapping[str, int]
    options: ServeOptions

    def __post_init__(self) -> None:
        if self.name not in NAMES:
            raise ValueError(f"there is no participant {self.name!r}; choose of {', '.join(NAMES)}")

    async def run(self, stop: asyncio.Event, on_ready: Callable[[str], None]) -> None:
        """Serves until `stop` is set."""
        engine = make_engine(self.database_url, connections=self.options.threads)
        try:
            with ThreadPoolExecutor(self.options.threads, f"{self.name}-fence") as executor:
                async with self._prepared(engine, executor) as service:
                    await serve_until(
                        stop,
                        service,
                        listen=self.listen,
                        on_ready=on_ready,
                        grace_s=self.options.grace_s,
                    )
        finally:
            engine.dispose()

    @contextlib.asynccontextmanager
    async def _prepared(
        self, engine: sa.Engine, executor: ThreadPoolExecutor
    ) -> AsyncIterator[ParticipantService]:
        """The service over its tables and accounts, with what runs beside it."""
        card = Card(customer_action_s=self.options.customer_action_s)
        business: Points | Card | Merchant | Stock
        books = LEDGER_METADATA
        match self.name:
            case "points":
                business = Points()
            case "merchant":
                business = Merchant()
            case "stock":
                business, books = Stock(), STOCK_METADATA
            case _:
                business = card
        create_tables(engine, FENCE_METADATA, books)
        in_transaction(engine, lambda connection: business.prepare(connection, self.seeds))
        fence = Fence(engine, business)
        if business is not card:
            yield ParticipantService(fence, executor)
            return
        create_tables(engine, CARD_METADATA)
        service = CardService(
            fence,
            executor,
            card,
            slow_reply_s=self.options.slow_reply_s,
            late_try_s=self.options.late_try_s,
        )
        actions = asyncio.create_task(self._customers_act(engine, fence, executor))
        try:
            yield service
        finally:
            actions.cancel()
            await asyncio.gather(actions, return_exceptions=True)
            await service.close()

    async def _customers_act(
        self, engine: sa.Engine, fence: Fence, executor: ThreadPoolExecutor
    ) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                await loop.run_in_executor(executor, decide_due, engine, fence)
            except StoreUnavailable as error:
                _log.warning("customer actions wait", reason=error.reason)
            except Exception:  # noqa: BLE001  one bad row must not stop the others for ever
                _log.exception("customer actions failed")
            await world.sleep(self.options.poll_s)
