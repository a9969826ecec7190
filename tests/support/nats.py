"""Reading back what reached a NATS stream."""

from __future__ import annotations

from dataclasses import dataclass

import nats
from nats.aio.msg import Msg


@dataclass(frozen=True)
class Stored:
    """One message of a stream."""

    subject: str
    message_id: str
    body: bytes


async def stored(url: str, stream: str = "KESSAI") -> list[Stored]:
    """Every message of the stream, in order."""
    client = await nats.connect(url)
    try:
        jetstream = client.jetstream()
        info = await jetstream.stream_info(stream)
        first, last = info.state.first_seq, info.state.last_seq
        messages = []
        for sequence in range(first, last + 1):
            message = await jetstream.get_msg(stream, sequence)
            headers = message.headers or {}
            messages.append(
                Stored(message.subject or "", headers["Nats-Msg-Id"], message.data or b"")
            )
        return messages
    finally:
        await client.close()


async def consumed(url: str, subject: str, count: int) -> list[Msg]:
    """The next `count` messages as a durable consumer gets them; fails when fewer come."""
    client = await nats.connect(url)
    try:
        jetstream = client.jetstream()
        subscription = await jetstream.pull_subscribe(subject, durable="test")
        messages = await subscription.fetch(count, timeout=5)
        for message in messages:
            await message.ack()
        return messages
    finally:
        await client.close()
