"""What a repeated idempotency key is compared with: the request's body, field by field.

A body is every field by its path (`tenders[0].source`). Its fingerprint is that as JSON, which is
kept with what the request made, so that a repeat can be told which fields differ. Secrets are in it
only as digests, salted by the caller and the key.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256

from msgspec import json


@dataclass(frozen=True, slots=True)
class Salt:
    """What a digest is bound to: equal secrets of different requests look different."""

    caller: str
    idempotency_key: str

    def digest(self, value: str) -> str:
        """A stand-in for a secret value."""
        salted = f"{self.caller}\0{self.idempotency_key}\0{value}"
        return "sha256:" + sha256(salted.encode()).hexdigest()


def fingerprint(body: Mapping[str, str], secret: Iterable[str], salt: Salt) -> str:
    """The body as JSON; of the fields named by `secret`, only digests."""
    shown = dict(body)
    for name in secret:
        shown[name] = salt.digest(body[name])
    return json.encode(shown).decode()


def differing_fields(before: str, body: Mapping[str, str], salt: Salt) -> list[str]:
    """The paths in which `body` is not what the body of the fingerprint `before` was."""
    known = json.decode(before, type=dict[str, str])
    return sorted(
        name
        for name in known.keys() | body.keys()
        if known.get(name) not in {body.get(name), salt.digest(body.get(name, ""))}
    )
