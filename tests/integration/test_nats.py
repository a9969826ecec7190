"""The NATS publisher and the embedded server: starting, streams, outages, leaving nothing
behind."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nats
import pytest

from adapters.embedded import guard
from adapters.embedded import nats as embedded
from adapters.embedded.nats import EmbeddedNats
from adapters.nats import NatsPublisher, StreamSettings
from coordinator.domain.errors import ConfigurationError, PublishFailed
from coordinator.domain.machine import Event, State
from coordinator.domain.moves import advance
from coordinator.domain.record import evolve
from coordinator.domain.transaction import OutboxEvent
from tests.support.domain import BOTH, NOW, standing
from tests.support.nats import consumed, stored

[EVENT] = advance(standing(State.SETTLING), BOTH, [Event.PAY], NOW).events


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedNats]:
    with EmbeddedNats(tmp_path / "nats") as running:
        yield running


def publisher(url: str, timeout_s: float = 2.0) -> NatsPublisher:
    return NatsPublisher(url, timeout_s=timeout_s, reconnect_wait_s=0.05)


async def publish(url: str, *events: OutboxEvent) -> None:
    """Publishes with a publisher of its own."""
    made = publisher(url)
    await made.start()
    try:
        for event in events:
            await made.publish(event)
    finally:
        await made.close()


def test_the_stream_is_made_with_its_settings_and_the_message_with_its_header(
    server: EmbeddedNats,
) -> None:
    async def scenario() -> None:
        await publish(server.url, EVENT)
        client = await nats.connect(server.url)
        try:
            config = (await client.jetstream().stream_info("KESSAI")).config
        finally:
            await client.close()
        assert config.subjects == ["kessai.payment.>"]
        assert config.storage == "file"
        assert config.duplicate_window == 3600
        [message] = await stored(server.url)
        assert (message.subject, message.message_id) == ("kessai.payment.paid", EVENT.id)

    asyncio.run(scenario())


def test_a_stream_that_exists_is_left_as_it_is(server: EmbeddedNats) -> None:
    async def scenario() -> None:
        client = await nats.connect(server.url)
        try:
            jetstream = client.jetstream()
            await jetstream.add_stream(
                name="KESSAI", subjects=["kessai.payment.>"], max_msgs=7, duplicate_window=60
            )
            await publish(server.url, EVENT)
            config = (await jetstream.stream_info("KESSAI")).config
            assert (config.max_msgs, config.duplicate_window) == (7, 60)
        finally:
            await client.close()

    asyncio.run(scenario())


def test_two_processes_that_start_at_once_agree_on_the_stream(server: EmbeddedNats) -> None:
    async def scenario() -> None:
        settings = [StreamSettings(duplicate_window_s=window) for window in (60.0, 120.0)]
        both = [NatsPublisher(server.url, settings=one) for one in settings]
        try:
            await asyncio.gather(*(one.start() for one in both))
            await asyncio.gather(*(one.publish(EVENT) for one in both))
        finally:
            await asyncio.gather(*(one.close() for one in both))
        assert len(await stored(server.url)) == 1

    asyncio.run(scenario())


def test_a_durable_consumer_gets_what_was_published(server: EmbeddedNats) -> None:
    async def scenario() -> None:
        await publish(server.url, EVENT, EVENT)
        [message] = await consumed(server.url, "kessai.payment.>", 1)
        assert (message.headers or {})["Nats-Msg-Id"] == EVENT.id

    asyncio.run(scenario())


def test_starting_while_the_broker_is_down_is_no_error(tmp_path: Path) -> None:
    async def scenario() -> None:
        server = EmbeddedNats(tmp_path / "nats")
        with server:
            url = server.url
        made = publisher(url, timeout_s=0.2)
        await made.start()
        try:
            with pytest.raises(PublishFailed):
                await made.publish(EVENT)
            await asyncio.to_thread(server.start)
            async with asyncio.timeout(20):
                while True:
                    try:
                        await made.publish(EVENT)
                        break
                    except PublishFailed:
                        continue
            assert len(await stored(url)) == 1
        finally:
            await made.close()
            server.stop()

    asyncio.run(scenario())


def test_a_broker_that_lost_its_disk_gets_the_stream_again(server: EmbeddedNats) -> None:
    async def scenario() -> None:
        made = publisher(server.url)
        await made.start()
        try:
            await made.publish(EVENT)
            client = await nats.connect(server.url)
            await client.jetstream().delete_stream("KESSAI")
            await client.close()
            with pytest.raises(PublishFailed):
                await made.publish(EVENT)
            await made.publish(EVENT)
            assert len(await stored(server.url)) == 1
        finally:
            await made.close()

    asyncio.run(scenario())


def test_an_event_for_a_foreign_stream_is_not_taken_for_published(server: EmbeddedNats) -> None:
    async def scenario() -> None:
        client = await nats.connect(server.url)
        try:
            await client.jetstream().add_stream(name="OTHER", subjects=["kessai.payment.>"])
            with pytest.raises(PublishFailed):
                await publish(server.url, EVENT)
        finally:
            await client.close()

    asyncio.run(scenario())


def test_a_failure_says_which_event_and_no_more(server: EmbeddedNats) -> None:
    async def scenario() -> None:
        huge = evolve(EVENT, merchant_id="m" * 2_000_000)
        with pytest.raises(PublishFailed, match=EVENT.id) as caught:
            await publish(server.url, huge)
        assert len(str(caught.value)) < 200

    asyncio.run(scenario())


def test_a_closed_publisher_refuses_and_closing_twice_is_no_error(server: EmbeddedNats) -> None:
    async def scenario() -> None:
        made = publisher(server.url)
        await made.close()
        await made.start()
        await made.close()
        await made.close()
        with pytest.raises(PublishFailed, match="closed"):
            await made.publish(EVENT)

    asyncio.run(scenario())


def test_closing_under_an_open_publish_fails_it_and_cancels_no_task(tmp_path: Path) -> None:
    async def scenario() -> None:
        with EmbeddedNats(tmp_path / "nats") as server:
            url = server.url
        made = publisher(url, timeout_s=30)
        waiting = asyncio.create_task(made.publish(EVENT))
        await asyncio.wait([waiting], timeout=0.1)
        assert not waiting.done()
        await made.close()
        with pytest.raises(PublishFailed):
            await waiting

    asyncio.run(scenario())


def test_cancelling_the_calling_task_cancels_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        with EmbeddedNats(tmp_path / "nats") as server:
            url = server.url
        made = publisher(url, timeout_s=30)
        waiting = asyncio.create_task(made.publish(EVENT))
        await asyncio.wait([waiting], timeout=0.1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await made.close()

    asyncio.run(scenario())


def test_closing_while_still_connecting_leaves_no_task(tmp_path: Path) -> None:
    async def scenario() -> None:
        with EmbeddedNats(tmp_path / "nats") as server:
            url = server.url
        made = publisher(url)
        await made.start()
        await made.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(scenario())


def test_the_server_keeps_its_port_and_its_data_over_a_restart(server: EmbeddedNats) -> None:
    asyncio.run(publish(server.url, EVENT))
    url, pid = server.url, server.pid
    server.start()
    assert server.pid == pid
    server.stop()
    server.stop()
    server.start()
    assert (server.url, server.pid != pid) == (url, True)
    assert len(asyncio.run(stored(server.url))) == 1


def test_the_server_has_a_session_of_its_own_and_ends_with_its_owner(tmp_path: Path) -> None:
    with EmbeddedNats(tmp_path / "nats") as server:
        pid = server.pid
        assert os.getsid(pid) == pid != os.getsid(0)
        assert server.url.startswith("nats://127.0.0.1:")
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert not list((tmp_path / "nats").glob("*.ports"))


def test_a_server_that_cannot_start_says_where_to_look(
    server: EmbeddedNats, tmp_path: Path
) -> None:
    taken = int(server.url.rpartition(":")[2])
    with pytest.raises(ConfigurationError, match=r"nats\.log"):
        EmbeddedNats(tmp_path / "second", port=taken).start()


OWNER = """
import sys, time
from pathlib import Path
from adapters.embedded.nats import EmbeddedNats
server = EmbeddedNats(Path(sys.argv[1]))
server.start()
print(server.pid, server._guard._process.pid, flush=True)
time.sleep(600)
"""


def killed_owner(folder: Path, *, and_guard: bool) -> int:
    """The ID of a server whose owner was killed, with its guard or without."""
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    pid, guard = map(int, owner.stdout.readline().split())
    if and_guard:
        os.kill(guard, signal.SIGKILL)
    owner.kill()
    owner.communicate()
    return pid


@pytest.mark.parametrize("and_guard", [False, True])
def test_a_server_whose_owner_was_killed_is_gone_before_the_next_one_uses_its_data(
    tmp_path: Path, and_guard: bool
) -> None:
    left = killed_owner(tmp_path / "nats", and_guard=and_guard)
    with EmbeddedNats(tmp_path / "nats") as server:
        assert server.pid != left
        assert not guard.runs(left)
        assert [path.stem for path in (tmp_path / "nats").glob("*.ports")] == [
            f"nats-server_{server.pid}"
        ]


def test_a_foreign_process_in_a_stale_file_of_ports_is_left_alone(tmp_path: Path) -> None:
    foreign = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        stale = tmp_path / f"nats-server_{foreign.pid}.ports"
        stale.touch()
        with EmbeddedNats(tmp_path):
            assert foreign.poll() is None
            assert not stale.exists()
    finally:
        foreign.communicate(b"\n")


def test_a_missing_program_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    with pytest.raises(ConfigurationError, match="install"):
        embedded._program()


def test_a_server_that_is_killed_starts_again_with_its_port_and_its_data(
    server: EmbeddedNats,
) -> None:
    url, pid = server.url, server.pid
    server.crash()
    server.crash()
    server.start()
    assert server.url == url
    assert server.pid != pid
