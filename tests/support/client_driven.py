"""Either client, driven by tests that are written once for both."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import kessai
from kessai.payments.v1 import payments_pb2 as pb

from tests.support.client_stub import Refusal

PAYMENT_ID = "019aa5f0-6c1e-7c1a-9d57-1d1b0f2a6c11"
UNAVAILABLE = Refusal(grpc.StatusCode.UNAVAILABLE)
QUICK = kessai.RetryPolicy(max_attempts=5, backoff_s=0.01, backoff_cap_s=0.02)


class Driven:
    """A client of either kind, whose calls are made at once and whose iterators become lists."""

    def __init__(self, kind: str, address: str) -> None:
        self._runner = asyncio.Runner() if kind == "async" else None
        self._kind: Any = kessai.AsyncClient if self._runner else kessai.Client
        self._address = address
        self.client: Any = None
        self.open()

    def open(self, **options: Any) -> None:
        """A new client, with these options."""
        self.close()
        self.client = self._kind(self._address, **({"api_key": "k1", "retry": QUICK} | options))

    def close(self) -> None:
        """Closes the client."""
        if self.client is not None:
            self._resolve(self.client.close())

    def end(self) -> None:
        """Closes everything."""
        self.close()
        if self._runner is not None:
            self._runner.close()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *args, **values: self._resolve(getattr(self.client, name)(*args, **values))

    def first(self, name: str, *args: Any, **values: Any) -> Any:
        """The first thing of an iterator that is then closed."""
        found = getattr(self.client, name)(*args, **values)
        if self._runner is None:
            thing = next(found)
            found.close()
            return thing

        async def one() -> Any:
            thing = await anext(found)
            await found.aclose()
            return thing

        return self._runner.run(one())

    def _resolve(self, value: Any) -> Any:
        if inspect.isasyncgen(value):
            value = _listed(value)
        if inspect.iscoroutine(value):
            assert self._runner is not None
            return self._runner.run(value)
        return list(value) if inspect.isgenerator(value) else value


async def _listed(things: AsyncIterator[Any]) -> list[Any]:
    return [thing async for thing in things]


def payment(version: int = 1, state: str = "PAID", **values: Any) -> pb.Payment:
    return pb.Payment(
        payment_id=PAYMENT_ID, state=f"PAYMENT_STATE_{state}", version=version, **values
    )
