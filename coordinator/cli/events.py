"""What arrived at NATS: events of payments and refunds, deduplicated as a consumer would do it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass

import nats
from nats.errors import TimeoutError as NatsTimeout
from nats.js.errors import NotFoundError

STREAM = "KESSAI"
SUBJECT = "kessai.payment.>"


@dataclass(frozen=True, slots=True)
class Announced:
    """The payment or refund and its state, as an event said."""

    subject: str
    state: str


def collect(url: str, expected: int, limit_s: float) -> Mapping[str, Announced]:
    """Event ID to what it announced: all that is there once `expected` came or `limit_s` is over.

    Raises nothing for a stream that is not there yet: then nothing was announced.
    """
    return asyncio.run(_collect(url, expected, limit_s))


async def _collect(url: str, expected: int, limit_s: float) -> dict[str, Announced]:
    found: dict[str, Announced] = {}
    client = await nats.connect(url, max_reconnect_attempts=1, connect_timeout=5)
    try:
        async with asyncio.timeout(limit_s):
            jetstream = client.jetstream()
            subscription = await jetstream.subscribe(SUBJECT, stream=STREAM, ordered_consumer=True)
            while len(found) < expected:
                message = await subscription.next_msg(timeout=limit_s)
                event = json.loads(message.data)
                state = event["data"].get("state", "").partition("_STATE_")[2]
                if state:  # there are also events of what happened on the way
                    found[event["id"]] = Announced(event["subject"], state)
    except (TimeoutError, NatsTimeout, NotFoundError):
        pass  # what came is what there is
    finally:
        await client.close()
    return found
