"""Faults that a staging service injects on purpose, as far as the service knows them.

What brings them about is in a package above this one, found by the entry points of GROUP: where
that is not installed there can be no faults. Whatever the profile production says, they are refused
by the settings themselves (`config`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from coordinator.config import Settings
from coordinator.domain.errors import ConfigurationError
from coordinator.plugins import plugins
from coordinator.ports import Clock, Observer, Participant, Publisher, Store

GROUP = "kessai.faults"
"""Each of its entry points makes a FaultPlan of KESSAI_FAULTS, or raises ConfigurationError."""


class Faults(Protocol):
    """Rules at work in one process: wrappers for its ports and its wire."""

    @property
    def rules(self) -> Sequence[str]:
        """The rules as they can be read again."""

    def participant(self, name: str, participant: Participant) -> Participant:
        """The participant of this name, with faults."""

    def store(self, store: Store) -> Store:
        """The store, with faults."""

    def publisher(self, publisher: Publisher) -> Publisher:
        """The broker, with faults."""

    def commit_point(self, point: str) -> None:
        """What happens at a point of a group of writes, in the store's writer thread."""

    def to_participant(self, name: str) -> Sequence[Any]:
        """Interceptors (`grpc.aio.ClientInterceptor`) of the calls to this participant."""

    def from_callers(self) -> Sequence[Any]:
        """Interceptors (`grpc.aio.ServerInterceptor`) of callers' calls."""


class FaultPlan(Protocol):
    """Rules that were read, and are good."""

    @property
    def rules(self) -> Sequence[str]:
        """The rules as they can be read again."""

    @property
    def kinds(self) -> Sequence[tuple[str, str]]:
        """Kind and place of each."""

    def start(self, *, clock: Clock, observer: Observer) -> Faults:
        """Puts them to work, in the running loop."""


def planned_faults(settings: Settings) -> FaultPlan | None:
    """The faults that the settings want; None: there are to be none.

    Raises ConfigurationError naming the rule and the field, or when nothing here can inject faults.
    """
    if not settings.faults:
        return None
    for plan_of in plugins(GROUP):
        try:
            plan: FaultPlan = plan_of(settings.faults)
        except ConfigurationError as error:
            raise ConfigurationError(f"KESSAI_FAULTS: {error}") from None
        return plan
    raise ConfigurationError("KESSAI_FAULTS: fault injection is not installed here")
