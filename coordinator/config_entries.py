"""Entries of those settings that are tables: what each may say, and within which bounds."""

from __future__ import annotations

from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

KeyDigest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


def _only_known(model: type[BaseModel], given: object, what: str) -> object:
    """`given` itself: a limit that is spelled wrong would not limit, so say how it is spelled."""
    unknown = sorted(set(given) - model.model_fields.keys()) if isinstance(given, dict) else []
    if unknown:
        known = ", ".join(model.model_fields)
        raise ValueError(f"unknown {', '.join(unknown)}; {what} are {known}")
    return given


class CallerLimit(BaseModel):
    """One entry of KESSAI_LIMITS: what a caller may ask for. What is left out is not limited."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    max_amount_minor: int | None = Field(None, ge=1)
    # Each creation counts up to so many entries of an index.
    max_live: int | None = Field(None, ge=1, le=100_000)
    per_second: float | None = Field(None, ge=0.001, le=1_000_000, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _known(cls, given: object) -> object:
        return _only_known(cls, given, "a caller's limits")


class ParticipantLimit(BaseModel):
    """One entry of KESSAI_PARTICIPANT_LIMITS: what keeps a participant's trouble to itself.

    Without `streams` each question to it is a call of its own.
    """

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    max_in_flight: int = Field(default=512, ge=1, le=100_000)
    timeout_s: float | None = Field(default=None, ge=0.05, le=600, allow_inf_nan=False)
    breaker_failures: int = Field(default=10, ge=0, le=100_000)
    breaker_open_s: float = Field(default=5.0, ge=0.1, le=15, allow_inf_nan=False)
    streams: bool = True

    @model_validator(mode="before")
    @classmethod
    def _known(cls, given: object) -> object:
        return _only_known(cls, given, "a participant's limits")


class OperatorKey(BaseModel):
    """One entry of KESSAI_OPERATORS: the SHA-256 (hex) of an operator's key, and when it ends."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sha256: KeyDigest
    expires: AwareDatetime | None = None

    @model_validator(mode="before")
    @classmethod
    def _bare(cls, given: object) -> object:
        return {"sha256": given} if isinstance(given, str) else given
