"""Merchant credit: credits the merchant's ledger with the whole amount."""

from __future__ import annotations

from coordinator.domain.phase import Phase, Role

MERCHANT_CREDIT = Phase(
    name="merchant_credit",
    title="Merchant",
    role=Role.GIVES,
    participant="merchant",
)
