"""The TCP proxy of the harness over real sockets: each fault of a network does what it says."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import sqlalchemy as sa

from adapters.system import SystemClock
from fault_injection.network import connection as carried
from fault_injection.network.conditions import (
    CLEAR,
    CONDITIONS,
    Condition,
    Connecting,
    Fate,
    Traffic,
    Way,
)
from fault_injection.network.control import Network
from fault_injection.network.link import Link
from fault_injection.network.placing import Placed, detour

CLOCK = SystemClock()
SILENT_S = 0.2
"""Nothing came for so long: what a fault holds back does not come at all."""
SOON_S = 5.0
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass
class Upper:
    """A server that answers each byte string with its capitals, and keeps what reached it."""

    heard: bytearray = field(default_factory=bytearray)
    ends: list[str] = field(default_factory=list)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        try:
            while data := await reader.read(carried.CHUNK):
                self.heard += data
                writer.write(data.upper())
                await writer.drain()
            self.ends.append("end")
        except ConnectionResetError:
            self.ends.append("reset")
        finally:
            writer.close()


@asynccontextmanager
async def linked(condition: Condition = CLEAR) -> AsyncIterator[tuple[Link, Upper]]:
    """A link to such a server; at the end no connection and no task may be left over."""
    upper = Upper()
    server = await asyncio.start_server(upper.take, "127.0.0.1", 0)
    link = Link(f"127.0.0.1:{server.sockets[0].getsockname()[1]}", "1")
    await link.open()
    await link.impose(condition)
    try:
        yield link, upper
    finally:
        await link.close()
        server.close()
        for writer in upper.writers:
            writer.transport.abort()
        await until(lambda: len(asyncio.all_tasks()) == 1)
        assert link.traffic.open == 0


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(SOON_S):
        while not holds():
            await CLOCK.sleep(0.005)


_calls: list[asyncio.StreamWriter] = []


async def call(link: Link) -> Streams:
    host, _, port = link.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    _calls.append(writer)
    return reader, writer


async def says(streams: Streams, text: bytes) -> bytes:
    """What comes back for `text`: as many bytes."""
    streams[1].write(text)
    async with asyncio.timeout(SOON_S):
        return await streams[0].readexactly(len(text))


async def is_silent(reader: asyncio.StreamReader) -> bool:
    try:
        async with asyncio.timeout(SILENT_S):
            await reader.read(1)
    except TimeoutError:
        return True
    return False


async def ends_in_reset(streams: Streams) -> bool:
    try:
        async with asyncio.timeout(SOON_S):
            await streams[0].read()
    except ConnectionResetError:
        return True
    return False


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(30):
            await scenario()
        for writer in _calls:
            writer.transport.abort()
        _calls.clear()
        await CLOCK.sleep(0)

    asyncio.run(bounded())


def test_a_clear_link_carries_bytes_both_ways_and_ends_as_its_sides_do() -> None:
    async def scenario() -> None:
        async with linked() as (link, upper):
            streams = await call(link)
            assert await says(streams, b"hello") == b"HELLO"
            streams[1].write_eof()
            assert await streams[0].read() == b""
            await until(lambda: link.traffic.open == 0)
            assert upper.ends == ["end"]
            assert link.traffic == Traffic(connections=1, passed=10)

    run(scenario)


def test_more_than_any_buffer_takes_passes_whole() -> None:
    sent = os.urandom(4_000_000).lower()

    async def scenario() -> None:
        async with linked() as (link, upper):
            streams = await call(link)
            assert await says(streams, sent) == sent.upper()
            assert bytes(upper.heard) == sent

    run(scenario)


@pytest.mark.parametrize("size", [40_000, 20_000_000])
def test_a_link_is_closed_although_nobody_reads_what_it_carries(size: int) -> None:
    async def scenario() -> None:
        async with linked() as (link, _):
            _, writer = await call(link)
            writer.transport.pause_reading()  # type: ignore[attr-defined] # it is a socket's
            writer.write(bytes(size))
            writer.write_eof()
            await until(lambda: link.traffic.passed >= min(size, carried.CHUNK))

    run(scenario)


@pytest.mark.parametrize(
    ("fault", "heard"),
    [("requests-late", b"one"), ("replies-late", b"onetwo"), ("partition", b"one")],
)
def test_what_is_held_arrives_whole_and_in_order_when_the_link_is_healed(
    fault: str, heard: bytes
) -> None:
    async def scenario() -> None:
        async with linked() as (link, upper):
            streams = await call(link)
            assert await says(streams, b"one") == b"ONE"
            await link.impose(CONDITIONS[fault])
            streams[1].write(b"two")
            assert await is_silent(streams[0])
            assert bytes(upper.heard) == heard
            await link.impose(CLEAR)
            assert await streams[0].readexactly(3) == b"TWO"
            assert link.traffic.held >= 1
            assert link.traffic.lost == 0

    run(scenario)


@pytest.mark.parametrize(
    ("fault", "heard"), [("requests-lost", b"one"), ("replies-lost", b"onetwo")]
)
def test_what_is_lost_never_arrives_and_its_connection_is_reset_when_the_link_is_healed(
    fault: str, heard: bytes
) -> None:
    async def scenario() -> None:
        async with linked() as (link, upper):
            streams = await call(link)
            assert await says(streams, b"one") == b"ONE"
            await link.impose(CONDITIONS[fault])
            streams[1].write(b"two")
            assert await is_silent(streams[0])
            await link.impose(CLEAR)
            assert await ends_in_reset(streams)
            assert bytes(upper.heard) == heard
            assert link.traffic.lost == 3
            assert await says(await call(link), b"x") == b"X"

    run(scenario)


@pytest.mark.parametrize("fault", ["requests-lost", "requests-late"])
def test_the_end_of_a_stream_is_lost_or_late_like_its_bytes(fault: str) -> None:
    async def scenario() -> None:
        async with linked() as (link, upper):
            streams = await call(link)
            assert await says(streams, b"one") == b"ONE"
            await link.impose(CONDITIONS[fault])
            streams[1].write_eof()
            assert await is_silent(streams[0])
            assert upper.ends == []
            await link.impose(CLEAR)
            await until(lambda: len(upper.ends) == 1)
            assert upper.ends == ["reset" if fault == "requests-lost" else "end"]

    run(scenario)


@pytest.mark.parametrize("fault", ["partition", "half-open"])
def test_new_connections_hang_and_go_on_when_the_link_is_healed(fault: str) -> None:
    async def scenario() -> None:
        async with linked(CONDITIONS[fault]) as (link, upper):
            streams = await call(link)
            streams[1].write(b"hello")
            assert await is_silent(streams[0])
            assert upper.writers == []
            await link.impose(CLEAR)
            assert await streams[0].readexactly(5) == b"HELLO"

    run(scenario)


def test_a_peer_that_vanished_never_says_anything_again_healed_or_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario() -> None:
        async with linked() as (link, upper):
            streams = await call(link)
            assert await says(streams, b"one") == b"ONE"
            await link.impose(CONDITIONS["half-open"])
            await link.impose(CLEAR)
            streams[1].write(b"two")
            assert await is_silent(streams[0])
            assert bytes(upper.heard) == b"one"
            assert upper.ends == []
            assert await says(await call(link), b"x") == b"X"

    run(scenario)
    monkeypatch.setattr(carried, "VANISHED_S", 0.05)

    async def given_up() -> None:
        async with linked() as (link, _):
            streams = await call(link)
            assert await says(streams, b"one") == b"ONE"
            await link.impose(CONDITIONS["half-open"])
            streams[1].close()
            await until(lambda: link.traffic.open == 0)

    run(given_up)


@pytest.mark.parametrize("already_open", [True, False])
def test_a_connection_is_reset_in_the_middle_of_what_is_sent(already_open: bool) -> None:
    async def scenario() -> None:
        async with linked() as (link, upper):
            streams = await call(link) if already_open else None
            if streams:
                assert await says(streams, b"one") == b"ONE"
            await link.impose(Condition(reset_after=(4, 4)))
            reader, writer = streams or await call(link)
            writer.write(b"twelve bytes")
            assert await ends_in_reset((reader, writer))
            await until(lambda: upper.ends == ["reset"])
            assert bytes(upper.heard).removeprefix(b"one") == b"twel"
            assert link.traffic.resets == 1
            await link.impose(CLEAR)
            assert await says(await call(link), b"longer than four") == b"LONGER THAN FOUR"

    run(scenario)


def test_connections_are_refused_the_open_ones_reset_and_the_port_stays_ours() -> None:
    async def scenario() -> None:
        async with linked() as (link, upper):
            streams = await call(link)
            assert await says(streams, b"one") == b"ONE"
            await link.impose(CONDITIONS["refused"])
            assert await ends_in_reset(streams)
            await until(lambda: upper.ends == ["reset"])
            with pytest.raises(ConnectionRefusedError):
                await call(link)
            with socket.socket() as other, pytest.raises(OSError, match="in use"):
                other.bind(("127.0.0.1", int(link.address.rpartition(":")[2])))
            await link.impose(CLEAR)
            assert await says(await call(link), b"one") == b"ONE"

    run(scenario)


def test_a_slow_link_is_late_by_its_latency_and_its_rate() -> None:
    async def scenario() -> None:
        way = Way(latency_s=0.1, jitter_s=0.05, bytes_per_s=1000)
        async with linked(Condition(requests=way, replies=Way(latency_s=0.1))) as (link, _):
            streams = await call(link)
            loop = asyncio.get_running_loop()
            began = loop.time()
            assert await says(streams, b"x" * 100) == b"X" * 100
            assert loop.time() - began > 0.3  # 0.1 there, 0.1 for a hundred bytes, 0.1 back

    run(scenario)


def test_a_target_that_is_down_ends_the_connection_and_one_that_is_back_is_reached() -> None:
    async def scenario() -> None:
        free = socket.socket()
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        link = Link(f"127.0.0.1:{port}", "1")
        await link.open()
        assert await ends_in_reset(await call(link))
        upper = Upper()
        server = await asyncio.start_server(upper.take, "127.0.0.1", port)
        streams = await call(link)
        assert await says(streams, b"one") == b"ONE"
        streams[1].close()
        await until(lambda: upper.ends == ["end"])
        await link.close()
        server.close()

    run(scenario)


def test_a_peer_that_resets_is_handed_on_as_a_reset() -> None:
    async def scenario() -> None:
        async with linked() as (link, upper):
            streams = await call(link)
            assert await says(streams, b"one") == b"ONE"
            carried._abort(streams[1])
            await until(lambda: upper.ends == ["reset"])

    run(scenario)


def test_a_way_and_a_condition_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="latency and jitter"):
        Way(latency_s=-1)
    with pytest.raises(ValueError, match="bytes_per_s"):
        Way(bytes_per_s=0)
    with pytest.raises(ValueError, match="reset_after"):
        Condition(reset_after=(5, 4))


def test_every_named_fault_is_another_and_none_of_them_is_no_fault() -> None:
    assert len({*CONDITIONS.values(), CLEAR}) == len(CONDITIONS) + 1
    fates = {way.fate for each in CONDITIONS.values() for way in (each.requests, each.replies)}
    assert fates == set(Fate)
    assert {each.connecting for each in CONDITIONS.values()} == set(Connecting)


class Echo:
    """A blocking server in a thread of its own would do; a pair of sockets is enough."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"

    def exchange(self, through: str, text: bytes) -> bytes:
        """Sends the text through the link, and back."""
        host, _, port = through.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=SOON_S) as near:
            far, _ = self.listener.accept()
            with far:
                far.settimeout(SOON_S)
                near.sendall(text)
                far.sendall(far.recv(100).upper())
                return near.recv(100)


def test_the_proxy_is_a_process_of_its_own_that_does_what_it_is_told(tmp_path: Path) -> None:
    echo = Echo()
    with echo.listener, Network(7, tmp_path / "network.log") as network:
        assert network.pid != os.getpid()
        address = network.open("shop", echo.address)
        assert network.open("shop", echo.address) == address
        assert echo.exchange(address, b"one") == b"ONE"
        network.impose("shop", CONDITIONS["refused"])
        with pytest.raises(ConnectionRefusedError):
            echo.exchange(address, b"two")
        network.heal()
        assert echo.exchange(address, b"three") == b"THREE"
        traffic = network.traffic()["shop"]
        assert (traffic.connections, traffic.passed) == (2, 16)
        with pytest.raises(KeyError):
            network.impose("nobody", CLEAR)
    assert (tmp_path / "network.log").read_text() == ""


def test_a_proxy_that_was_killed_is_told_of(tmp_path: Path) -> None:
    with Network(7, tmp_path / "network.log") as network:
        os.kill(network.pid, 9)
        with pytest.raises(RuntimeError, match=r"network\.log"):
            network.traffic()


def test_a_local_socket_can_stand_behind_a_link(tmp_path: Path) -> None:
    async def scenario() -> None:
        upper = Upper()
        server = await asyncio.start_unix_server(upper.take, tmp_path / "socket")
        link = Link(str(tmp_path / "socket"), "1")
        await link.open()
        streams = await call(link)
        assert await says(streams, b"one") == b"ONE"
        await link.impose(CONDITIONS["refused"])
        assert await ends_in_reset(streams)
        await until(lambda: len(upper.ends) == 1)
        await link.close()
        server.close()

    run(scenario)


def test_a_database_behind_a_link_is_cut_off_and_reached_again(
    new_database: Callable[[], str], tmp_path: Path
) -> None:
    with Network(7, tmp_path / "network.log") as network:
        url = Placed(network)("coordinator", "postgres", new_database())
        engine = sa.create_engine(url, poolclass=sa.NullPool, connect_args={"connect_timeout": 2})
        asked = sa.text("SELECT inet_server_addr() IS NULL")  # behind the link: its local socket
        with engine.connect() as connection:
            assert connection.execute(asked).scalar_one() is True
            network.impose("coordinator to postgres", CONDITIONS["refused"])
            with pytest.raises(sa.exc.OperationalError):
                connection.execute(asked)
        with pytest.raises(sa.exc.OperationalError, match="refused"):
            engine.connect()
        network.impose("coordinator to postgres", CONDITIONS["partition"])
        with pytest.raises(sa.exc.OperationalError, match="timeout"):
            engine.connect()
        network.heal()
        with engine.connect() as connection:
            assert connection.execute(asked).scalar_one() is True


@pytest.mark.parametrize(
    "address", ["nats://{}", "{}", "postgresql+psycopg2://me:pw@{}/kessai?sslmode=disable"]
)
def test_an_address_over_a_link_differs_in_host_and_port_alone(
    address: str, tmp_path: Path
) -> None:
    echo = Echo()
    with echo.listener, Network(7, tmp_path / "network.log") as network:
        found = detour(network, "any", address.format(echo.address))
        assert found == address.format(network.links["any"])
        assert echo.exchange(network.links["any"], b"one") == b"ONE"
