"""Sealing: what goes in comes out, and nothing else does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.sealing import Sealer, SecretUnreadable
from coordinator.domain.errors import ConfigurationError

OLD, NEW = bytes(32), bytes(range(32))
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


@given(TEXTS, TEXTS)
def test_what_was_sealed_opens_in_its_context(text: str, context: str) -> None:
    sealer = Sealer(NEW)
    assert sealer.open(sealer.seal(text, context), context) == text


@given(st.text("0123456789", min_size=12), st.integers(min_value=0), st.integers(1, 255))
def test_a_changed_secret_does_not_open(text: str, place: int, flip: int) -> None:
    sealer = Sealer(NEW)
    blob = bytearray(sealer.seal(text, "here"))
    assert text.encode() not in blob
    blob[place % len(blob)] ^= flip
    with pytest.raises(SecretUnreadable):
        sealer.open(bytes(blob), "here")


def test_a_secret_that_was_moved_to_another_row_does_not_open() -> None:
    sealer = Sealer(NEW)
    with pytest.raises(SecretUnreadable, match="changed or moved"):
        sealer.open(sealer.seal("token", "payment-1/card"), "payment-2/card")


@pytest.mark.parametrize("length", [0, 1, 5, 17, 20])
def test_a_truncated_secret_does_not_open(length: int) -> None:
    sealer = Sealer(NEW)
    with pytest.raises(SecretUnreadable):
        sealer.open(sealer.seal("token", "here")[:length], "here")


def test_the_same_secret_never_looks_the_same_twice() -> None:
    sealer = Sealer(NEW)
    assert sealer.seal("token", "here") != sealer.seal("token", "here")


def test_after_a_rotation_old_secrets_open_and_new_ones_use_the_new_key() -> None:
    old, both, new = Sealer(OLD), Sealer([NEW, OLD]), Sealer(NEW)
    sealed = old.seal("token", "here")
    assert both.open(sealed, "here") == "token"
    assert new.open(both.seal("token", "here"), "here") == "token"
    with pytest.raises(SecretUnreadable, match="not configured"):
        new.open(sealed, "here")


@pytest.mark.parametrize("keys", [[], b"", b"short", bytes(33), [NEW, b"short"]])
def test_keys_of_another_length_are_refused(keys: bytes | list[bytes]) -> None:
    with pytest.raises(ConfigurationError):
        Sealer(keys)


def test_nonces_come_from_the_entropy_that_was_handed_in() -> None:
    first, second = (Sealer(NEW, entropy=lambda count: b"n" * count) for _ in range(2))
    assert first.seal("token", "here") == second.seal("token", "here")
