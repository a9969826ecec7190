"""Notify: announces the result. Its Confirm is the outbox row in the settling commit."""

from __future__ import annotations

from coordinator.domain.phase import Phase, Role

NOTIFY = Phase(name="notify", title="Notify", role=Role.ANNOUNCES)
