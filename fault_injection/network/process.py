"""The proxy's own process, so that no load slows it: commands come by stdin, answers by stdout.

A line each, as JSON. It ends, with every connection, when stdin does: so it never outlives whoever
started it.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TypeAlias

import msgspec

from fault_injection.network.conditions import CLEAR, Condition, Traffic
from fault_injection.network.link import Link


class Open(msgspec.Struct, frozen=True, tag=True):
    """Opens a link to `target`; the answer is its address."""

    name: str
    target: str


class Impose(msgspec.Struct, frozen=True, tag=True):
    """The link is like this from now on."""

    name: str
    condition: Condition


class Heal(msgspec.Struct, frozen=True, tag=True):
    """Every link is clear from now on."""


class Ask(msgspec.Struct, frozen=True, tag=True):
    """The answer is the traffic of every link."""


Command: TypeAlias = Open | Impose | Heal | Ask


class Answer(msgspec.Struct, frozen=True):
    """What comes back for a command; `problem` is empty when it was done."""

    address: str = ""
    traffic: dict[str, Traffic] = {}
    problem: str = ""


class Links:
    """All links of one process."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._links: dict[str, Link] = {}

    async def do(self, command: Command) -> Answer:
        """Does one command; what cannot be done is a problem in the answer."""
        match command:
            case Open(name, _) if name in self._links:
                return Answer(problem=f"there is a link {name} already")
            case Open(name, target):
                link = self._links[name] = Link(target, f"{self._seed}/{name}")
                await link.open()
                return Answer(address=link.address)
            case Impose(name, condition):
                if name not in self._links:
                    return Answer(problem=f"there is no link {name}")
                await self._links[name].impose(condition)
                return Answer()
            case Heal():
                for link in self._links.values():
                    if link.condition != CLEAR:
                        await link.impose(CLEAR)
                return Answer()
            case Ask():
                return Answer(traffic={name: link.traffic for name, link in self._links.items()})

    async def close(self) -> None:
        """Ends everything."""
        for link in self._links.values():
            await link.close()


async def serve(seed: int) -> None:
    """Does every command of stdin, one after the other, until it ends."""
    commands = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    links = Links(seed)
    decode = msgspec.json.Decoder(Command).decode
    try:
        while line := await commands.readline():
            answer = await links.do(decode(line))
            sys.stdout.write(msgspec.json.encode(answer).decode() + "\n")
            sys.stdout.flush()
    finally:
        await links.close()
