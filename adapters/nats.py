"""Publishes events to NATS JetStream.

An event counts as published when the stream has acknowledged it. The header Nats-Msg-Id is the
event's ID, so that within the stream's duplicate window a repeat is stored once; consumers
deduplicate by the ID as well, for repeats that come later.

The broker may be down at any time, at the start too: connecting goes on in the background, and
until it has worked every publish fails fast, which leaves the event in the outbox.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, StorageType, StreamConfig
from nats.js.errors import BadRequestError, NotFoundError

from adapters.cloud_event import CONTENT_TYPE, render, subject_of
from coordinator.domain.errors import PublishFailed
from coordinator.domain.transaction import OutboxEvent


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """How the stream is made when it does not exist; an existing one is left as it is.

    duplicate_window_s  repeats within this time are stored once, in seconds
    max_age_s           messages older than this are dropped, in seconds; 0 keeps them for ever
    max_bytes           the stream's size limit; the oldest messages are dropped beyond it; -1: none
    replicas            copies in a NATS cluster
    """

    duplicate_window_s: float = 3600.0
    max_age_s: float = 0.0
    max_bytes: int = -1
    replicas: int = 1


class NatsPublisher:
    """One connection to NATS. Implements `coordinator.ports.Publisher`.

    Events go to subjects such as `kessai.payment.paid` and `kessai.payment.refund.succeeded`, all
    below `subject_prefix`. `timeout_s` bounds the
    whole of one publish, in seconds.
    """

    def __init__(
        self,
        url: str,
        *,
        stream: str = "KESSAI",
        subject_prefix: str = "kessai.payment",
        timeout_s: float = 5.0,
        reconnect_wait_s: float = 0.5,
        settings: StreamSettings | None = None,
    ) -> None:
        self._url = url
        self._stream = stream
        self._prefix = subject_prefix
        self._timeout_s = timeout_s
        self._reconnect_wait_s = reconnect_wait_s
        self._settings = settings or StreamSettings()
        self._client: Client | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._stream_is_there = False
        self._closed = False

    async def start(self) -> None:
        """Begins to connect and returns at once, whether or not the broker can be reached."""
        self._closed = False
        self._connect()

    async def publish(self, event: OutboxEvent) -> None:
        """Returns once the stream has acknowledged the event. Raises PublishFailed otherwise."""
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._publish(event)
        except asyncio.CancelledError as error:
            # `close` cancels what we wait for; that is no reason to end the caller's task.
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise _failed(event, error) from error
        # nats-py lets OSError and JSON errors through as well as its own.
        except (NatsError, OSError, TimeoutError, ValueError, KeyError) as error:
            raise _failed(event, error) from error

    async def close(self) -> None:
        """Ends the connection; whoever waits in `publish` gets PublishFailed."""
        self._closed = True
        connecting, self._connecting = self._connecting, None
        if connecting is not None:
            connecting.cancel()
            await asyncio.gather(connecting, return_exceptions=True)
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _publish(self, event: OutboxEvent) -> None:
        client = await self._connected()
        jetstream = client.jetstream(timeout=self._timeout_s)
        if not self._stream_is_there:
            await self._ensure_stream(jetstream)
        headers: dict[str, Any] = {"Nats-Msg-Id": event.id, "Content-Type": CONTENT_TYPE}
        try:
            await jetstream.publish(
                f"{self._prefix}.{subject_of(event)}",
                render(event),
                stream=self._stream,
                headers=headers,
            )
        except BaseException:
            # The stream may be gone (a broker that lost its disk): look again next time.
            self._stream_is_there = False
            raise

    async def _connected(self) -> Client:
        """The client, once connected. Raises PublishFailed when it is not, without waiting for it.

        Only the very first connection is waited for (within the caller's time limit): while nats-py
        reconnects, it would buffer what is published and send it after the caller gave up.
        """
        if self._closed:
            raise PublishFailed("the publisher is closed")
        if self._client is None or self._client.is_closed:
            await asyncio.shield(self._connect())
        client = self._client
        if client is None or not client.is_connected:
            raise PublishFailed("not connected to NATS; the event will be offered again")
        return client

    def _connect(self) -> asyncio.Task[None]:
        if self._connecting is None or self._connecting.done():
            self._connecting = asyncio.create_task(self._open(), name="nats-connect")
            # Asked here, so that asyncio does not report an error nobody was waiting for.
            self._connecting.add_done_callback(_look_at)
        return self._connecting

    async def _open(self) -> None:
        client = Client()
        try:
            # With no limit of attempts this returns only when connected, or fails for good
            # (bad credentials); the next publish then starts anew.
            await client.connect(
                self._url,
                name="kessai",
                error_cb=_ignore,
                max_reconnect_attempts=-1,
                reconnect_time_wait=self._reconnect_wait_s,  # type: ignore[arg-type] # a float does
                pending_size=0,
            )
        except BaseException:
            await client.close()
            raise
        self._stream_is_there = False
        self._client = client

    async def _ensure_stream(self, jetstream: JetStreamContext) -> None:
        try:
            await jetstream.stream_info(self._stream)
        except NotFoundError:
            try:
                await jetstream.add_stream(self._stream_config())
            except BadRequestError:
                # Another process made it meanwhile, perhaps with other settings: those stand.
                await jetstream.stream_info(self._stream)
        self._stream_is_there = True

    def _stream_config(self) -> StreamConfig:
        settings = self._settings
        return StreamConfig(
            name=self._stream,
            description="Settled payments, as CloudEvents",
            subjects=[f"{self._prefix}.>"],
            storage=StorageType.FILE,
            discard=DiscardPolicy.OLD,
            max_age=settings.max_age_s,
            max_bytes=settings.max_bytes,
            num_replicas=settings.replicas,
            duplicate_window=settings.duplicate_window_s,
        )


async def _ignore(error: Exception) -> None:
    """nats-py prints connection errors otherwise; a publish that fails says so by itself."""


def _failed(event: OutboxEvent, error: BaseException) -> PublishFailed:
    return PublishFailed(
        f"NATS did not take event {event.id}: {type(error).__name__}; it will be offered again"
    )


def _look_at(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        task.exception()
