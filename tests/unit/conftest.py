"""What the tests of `kessai payments` and `kessai refunds` share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.cli import Fake, Kessai, served


@pytest.fixture
def fake() -> Fake:
    return Fake()


@pytest.fixture
def kessai(fake: Fake) -> Iterator[Kessai]:
    """Runs the command line against the fake."""
    with served(fake) as run:
        yield run
