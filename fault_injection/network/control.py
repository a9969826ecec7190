"""The harness's hand on the proxy: starts its process, opens links, and lets them fail."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from fault_injection.network.answers import Fate, Manners
from fault_injection.network.conditions import Condition, Traffic
from fault_injection.network.process import (
    Answer,
    Ask,
    Behave,
    Command,
    Heal,
    Impose,
    Open,
    OpenFront,
)

STOP_LIMIT_S = 10.0
_decode = msgspec.json.Decoder(Answer).decode


class Network:
    """A proxy process, its links and its fronts. Use as a context manager.

    Many threads may use it. `seed` decides jitter, where resets fall and which calls go wrong.
    Every method raises RuntimeError when the process has ended, and KeyError for a link or front
    that is not there.
    """

    def __init__(self, seed: int, log: Path) -> None:
        self._seed = seed
        self._log = log
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self.links: dict[str, str] = {}
        """Every link's own address, by its name."""
        self.fronts: dict[str, str] = {}
        """Every front's own address, by its participant."""

    def __enter__(self) -> Self:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own program, our own arguments
                [sys.executable, "-P", "-m", "fault_injection.network", str(self._seed)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        process, self._process = self._process, None
        assert process is not None, "entered"
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        try:
            process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()

    @property
    def pid(self) -> int:
        """The proxy's process ID."""
        assert self._process is not None, "entered"
        return self._process.pid

    def open(self, name: str, target: str) -> str:
        """Opens a link to HOST:PORT, or to the path of a local socket; returns its own address.

        A link that is open already keeps its address: who is started again finds it there.
        """
        if name not in self.links:
            self.links[name] = self._ask(Open(name, target)).address
        return self.links[name]

    def impose(self, name: str, condition: Condition) -> None:
        """The link is like this from now on; returns when it is."""
        if name not in self.links:
            raise KeyError(name)
        self._ask(Impose(name, condition))

    def front(self, participant: str, target: str) -> str:
        """Opens a front of the participant at HOST:PORT; returns its own address, as `open`."""
        if participant not in self.fronts:
            self.fronts[participant] = self._ask(OpenFront(participant, target)).address
        return self.fronts[participant]

    def behave(self, participant: str, manners: Manners) -> None:
        """Calls by the participant's front go like this from now on."""
        if participant not in self.fronts:
            raise KeyError(participant)
        self._ask(Behave(participant, manners))

    def heal(self) -> None:
        """Every link is clear again, and every front polite; returns when they are."""
        self._ask(Heal())

    def traffic(self) -> Mapping[str, Traffic]:
        """What has passed over each link so far."""
        return self._ask(Ask()).traffic

    def spoilt(self) -> Mapping[str, Mapping[Fate, int]]:
        """How many calls went wrong so far, by participant and how."""
        return self._ask(Ask()).spoilt

    def _ask(self, command: Command) -> Answer:
        with self._lock:
            process = self._process
            assert process is not None, "entered"
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                process.stdin.write(msgspec.json.encode(command) + b"\n")
                process.stdin.flush()
                line = process.stdout.readline()
            except OSError:
                line = b""
        if not line:
            raise RuntimeError(f"the network's process ended; see {self._log}")
        answer = _decode(line)
        if answer.problem:
            raise RuntimeError(answer.problem)
        return answer
