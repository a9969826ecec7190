"""Chance and identifiers of a simulated world: its seed's, and no others."""

from __future__ import annotations

import itertools
import random  # noqa: TID251 - seeded: this is the simulated Randomness
import uuid

from coordinator.domain.ids import TransactionId


class SeededIds:
    """Transaction IDs 1, 2, 3 … in the form of UUIDv7."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    def transaction_id(self) -> TransactionId:
        """The next one."""
        return TransactionId(str(uuid.UUID(int=(7 << 76) | (2 << 62) | next(self._numbers))))


class SeededRandomness:
    """Jitter from a seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - jitter is not cryptography

    def draw(self) -> float:
        """Uniform in 0..1."""
        return self._random.random()
