"""Seals the secrets of tenders (card tokens) so that no row, backup or dump holds them in clear.

AES-256-GCM with a random 96-bit nonce. The context (which transaction and phase the secret
belongs to) is authenticated with it, so that a sealed secret moved to another row does not open.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from coordinator.domain.errors import ConfigurationError, KessaiError

KEY_BYTES = 32
_FORMAT = b"\x01"
_KEY_ID_BYTES = 4
_NONCE_BYTES = 12
_HEAD_BYTES = len(_FORMAT) + _KEY_ID_BYTES + _NONCE_BYTES


class SecretUnreadable(KessaiError):
    """A sealed secret does not open: its key is not configured, or it was changed or moved."""

    code = "SECRET_UNREADABLE"


class Sealer:
    """Seals with the first key and opens with any, so that keys can be rotated.

    key      32 bytes, or several such keys, the newest first
    entropy  where nonces come from; the simulator hands in its own

    Raises ConfigurationError when there is no key or one has another length.
    """

    def __init__(
        self, key: bytes | Sequence[bytes], *, entropy: Callable[[int], bytes] = os.urandom
    ) -> None:
        keys = [key] if isinstance(key, bytes) else list(key)
        if not keys or any(len(one) != KEY_BYTES for one in keys):
            raise ConfigurationError(
                f"sealing needs at least one key, each of exactly {KEY_BYTES} bytes"
            )
        self._first = _key_id(keys[0])
        self._ciphers = {_key_id(one): AESGCM(one) for one in keys}
        self._entropy = entropy

    def seal(self, text: str, context: str) -> bytes:
        """The sealed form: format (1 byte), key ID (4), nonce (12), ciphertext with tag."""
        nonce = self._entropy(_NONCE_BYTES)
        sealed = self._ciphers[self._first].encrypt(nonce, text.encode(), context.encode())
        return _FORMAT + self._first + nonce + sealed

    def open(self, blob: bytes, context: str) -> str:
        """What was sealed in this context. Raises SecretUnreadable."""
        key_id, nonce = blob[1 : 1 + _KEY_ID_BYTES], blob[1 + _KEY_ID_BYTES : _HEAD_BYTES]
        cipher = self._ciphers.get(key_id)
        if blob[:1] != _FORMAT or cipher is None:
            raise SecretUnreadable("the secret was sealed with a key that is not configured")
        try:
            return cipher.decrypt(nonce, blob[_HEAD_BYTES:], context.encode()).decode()
        except (InvalidTag, ValueError):
            raise SecretUnreadable("the sealed secret was changed or moved") from None


def _key_id(key: bytes) -> bytes:
    """Tells keys apart and gives nothing away: a truncated hash."""
    return hashlib.sha256(b"kessai sealing key" + key).digest()[:_KEY_ID_BYTES]
