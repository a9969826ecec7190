"""What the tests of the commands that call a service share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.cli import Fake, FakeAdmin, Kessai, served


@pytest.fixture
def fake() -> Fake:
    return Fake()


@pytest.fixture
def kessai(fake: Fake) -> Iterator[Kessai]:
    """Runs the command line against the fake."""
    with served(fake) as run:
        yield run


@pytest.fixture
def admin() -> FakeAdmin:
    return FakeAdmin()


@pytest.fixture
def operate(admin: FakeAdmin) -> Iterator[Kessai]:
    """Runs the command line against the fake AdminService."""
    with served(admin) as run:
        yield run
