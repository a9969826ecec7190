"""A planted bug as data: what somebody might have done wrong, how, and which layers catch it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

import pytest

Plant: TypeAlias = Callable[[pytest.MonkeyPatch], None]
"""Patches the service's behaviour; undone with the MonkeyPatch. No flag of ours knows of it."""


class Layer(StrEnum):
    """A layer of the pyramid of tests, the cheapest first."""

    MODEL = "model check"
    SINGLES = "single faults"
    CRASHES = "crash points"
    WINDOWS = "outage windows"
    SEEDS = "random seeds"
    UNIT = "unit tests"
    PAIRS = "two coordinators"
    OPERATORS = "operators"
    CASES = "hand-written cases"
    FENCE = "participant conformance"
    STORE = "store conformance"


@dataclass(frozen=True)
class Bug:
    """One patch of behaviour.

    mistake    what a programmer might have done wrong, in a sentence
    caught_by  every layer that has to catch it
    variant    the model check's own name for it, where that restates what is patched
    where      a part of the names of the cases that show it soonest
    """

    name: str
    mistake: str
    plant: Plant
    caught_by: tuple[Layer, ...]
    variant: str = ""
    where: str = ""

    def __post_init__(self) -> None:
        if not self.caught_by:
            raise ValueError(f"{self.name}: no layer is said to catch it")

    @property
    def cheapest(self) -> Layer:
        """The cheapest layer that has to catch it."""
        return min(self.caught_by, key=list(Layer).index)


def planted(
    mistake: str, *caught_by: Layer, variant: str = "", where: str = ""
) -> Callable[[Plant], Bug]:
    """Makes a bug, named like the function that plants it."""
    return lambda plant: Bug(
        plant.__name__.replace("_", "-"), mistake, plant, caught_by, variant, where
    )
