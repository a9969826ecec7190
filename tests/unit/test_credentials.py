"""Whose key it is, and until when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest

from adapters.system import SystemClock
from coordinator.domain.errors import Unauthenticated
from coordinator.domain.operator_errors import CredentialExpired
from coordinator.rpc.credentials import Credential, Credentials

ENDS = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class At(SystemClock):
    """A clock that stands still."""

    def __init__(self, now: datetime) -> None:
        self._now = now

    def now(self) -> datetime:
        return self._now


def digest(key: str) -> str:
    return sha256(key.encode()).hexdigest()


def operators(now: datetime = ENDS) -> Credentials:
    keys = [Credential("alice", digest("a-key")), Credential("bob", digest("b-key"), expires=ENDS)]
    return Credentials("operator", keys, At(now))


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_a_known_key_tells_whose_it_is(scheme: str) -> None:
    metadata = [("user-agent", "x"), ("authorization", f"{scheme} a-key")]
    assert operators().name_of(metadata) == "alice"


@pytest.mark.parametrize(
    "metadata",
    [
        [],
        [("authorization", "Bearer other")],
        [("authorization", "Basic a-key")],
        [("authorization", "a-key")],
        [("authorization", b"Bearer a-key")],
        [("x-authorization", "Bearer a-key")],
        [("authorization", f"Bearer {digest('a-key')}")],
    ],
)
def test_without_a_known_key_nobody_is_anybody(metadata: list[tuple[str, str | bytes]]) -> None:
    with pytest.raises(Unauthenticated, match="operator"):
        operators().name_of(metadata)


def test_a_key_ends_exactly_when_it_expires() -> None:
    metadata = [("authorization", "Bearer b-key")]
    assert operators(ENDS - timedelta(microseconds=1)).name_of(metadata) == "bob"
    with pytest.raises(CredentialExpired, match="expired at 2026-01-02"):
        operators(ENDS).name_of(metadata)


def test_no_repr_shows_what_a_key_is_known_by() -> None:
    assert digest("a-key") not in repr(Credential("alice", digest("a-key")))
