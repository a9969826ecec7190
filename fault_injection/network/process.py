"""The proxy's own process, so that no load slows it: commands come by stdin, answers by stdout.

A line each, as JSON. It ends, with every connection, when stdin does: so it never outlives whoever
started it.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TypeAlias

import msgspec

from fault_injection.network.answers import POLITE, Fate, Manners
from fault_injection.network.conditions import CLEAR, Condition, Traffic
from fault_injection.network.front import Front
from fault_injection.network.link import Link


class Open(msgspec.Struct, frozen=True, tag=True):
    """Opens a link to `target`, of a new name; the answer is its address."""

    name: str
    target: str


class Impose(msgspec.Struct, frozen=True, tag=True):
    """The link is like this from now on."""

    name: str
    condition: Condition


class OpenFront(msgspec.Struct, frozen=True, tag=True):
    """Opens a front of the participant `target`, of a new name; the answer is its address."""

    name: str
    target: str


class Behave(msgspec.Struct, frozen=True, tag=True):
    """Calls by the front go like this from now on."""

    name: str
    manners: Manners


class Heal(msgspec.Struct, frozen=True, tag=True):
    """Every link is clear from now on, and every front polite."""


class Ask(msgspec.Struct, frozen=True, tag=True):
    """The answer is the traffic of every link, and what was spoilt by every front."""


Command: TypeAlias = Open | Impose | OpenFront | Behave | Heal | Ask


class Answer(msgspec.Struct, frozen=True):
    """What comes back for a command; `problem` is empty when it was done."""

    address: str = ""
    traffic: dict[str, Traffic] = {}
    spoilt: dict[str, dict[Fate, int]] = {}
    problem: str = ""


class Links:
    """All links and fronts of one process."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._links: dict[str, Link] = {}
        self._fronts: dict[str, Front] = {}

    async def do(self, command: Command) -> Answer:
        """Does one command; what cannot be done is a problem in the answer."""
        try:
            return await self._done(command)
        except KeyError as error:
            return Answer(problem=f"there is no {error}")

    async def _done(self, command: Command) -> Answer:
        match command:
            case Open(name, target):
                link = self._links[name] = Link(target, f"{self._seed}/{name}")
                await link.open()
                return Answer(address=link.address)
            case OpenFront(name, target):
                front = self._fronts[name] = Front(target, f"{self._seed}/front/{name}")
                await front.open()
                return Answer(address=front.address)
            case Impose(name, condition):
                await self._links[name].impose(condition)
            case Behave(name, manners):
                self._fronts[name].manners = manners
            case Heal():
                await self._heal()
            case Ask():
                return Answer(
                    traffic={name: link.traffic for name, link in self._links.items()},
                    spoilt={name: dict(front.spoilt) for name, front in self._fronts.items()},
                )
        return Answer()

    async def _heal(self) -> None:
        for link in self._links.values():
            if link.condition != CLEAR:
                await link.impose(CLEAR)
        for front in self._fronts.values():
            front.manners = POLITE

    async def close(self) -> None:
        """Ends everything."""
        for link in self._links.values():
            await link.close()
        for front in self._fronts.values():
            await front.close()


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
