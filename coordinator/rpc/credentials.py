"""Who calls: API keys, known here by their SHA-256 alone.

Callers and operators have sets of their own; a key of one set says nothing to the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from hashlib import sha256

from coordinator.domain.errors import Unauthenticated
from coordinator.domain.operator_errors import CredentialExpired
from coordinator.domain.record import Record
from coordinator.ports import Clock


class Credential(Record, frozen=True):
    """One key: whose it is, its SHA-256 in hex, and from when on it opens nothing; None: never."""

    HIDDEN = frozenset({"digest"})

    name: str
    digest: str
    expires: datetime | None = None


class Credentials:
    """The keys of one kind of user. `whose` is that kind: caller, or operator."""

    def __init__(self, whose: str, keys: Iterable[Credential], clock: Clock) -> None:
        self._whose = whose
        self._by_digest: Mapping[str, Credential] = {key.digest: key for key in keys}
        self._clock = clock

    def name_of(self, metadata: Iterable[tuple[str, str | bytes]]) -> str:
        """The name that goes with the key in a call's metadata.

        Raises Unauthenticated when there is no key that is known, CredentialExpired.
        """
        for name, value in metadata:
            if name == "authorization" and isinstance(value, str):
                scheme, _, key = value.partition(" ")
                known = self._by_digest.get(sha256(key.encode()).hexdigest())
                if scheme.lower() == "bearer" and known is not None:
                    if known.expires is not None and self._clock.now() >= known.expires:
                        raise CredentialExpired(known.name, known.expires.isoformat())
                    return known.name
        raise Unauthenticated(self._whose)
