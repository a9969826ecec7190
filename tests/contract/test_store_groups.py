"""The Store port tells of every group of writes."""

from __future__ import annotations

import asyncio

from tests.support.stores import Stores
from tests.support.transactions import committed, creation


def test_every_group_is_told_with_its_size_and_how_long_it_took(stores: Stores) -> None:
    told: list[tuple[int, float]] = []

    async def scenario() -> None:
        heard = stores.open(grouped=lambda writes, seconds: told.append((writes, seconds)))
        async with heard as store:
            await committed(store, creation())
            await asyncio.gather(*(committed(store, creation()) for _ in range(5)))

    asyncio.run(scenario())
    assert [writes for writes, _ in told] == [1, 5]
    assert all(seconds >= 0 for _, seconds in told)
