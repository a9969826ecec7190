"""Places links between the parts of a stack: each process reaches each part over one of its own."""

from __future__ import annotations

from urllib.parse import urlsplit

import sqlalchemy as sa

from fault_injection.network.control import Network

POSTGRES_PORT = 5432


def link_name(process: str, part: str) -> str:
    """What the link between them is called."""
    return f"{process} to {part}"


class Placed:
    """What `coordinator.cli.stack.Plan.between` may be: every address becomes that of a link.

    With `fronts`, each participant has a front as well, which all coordinators share.
    """

    def __init__(self, network: Network, *, fronts: bool = False) -> None:
        self._network = network
        self._fronts = fronts

    def __call__(self, process: str, part: str, address: str) -> str:
        """Where the process finds the part: a link's address in place of the part's own."""
        if self._fronts and "://" not in address:
            address = self._network.front(part, address)
        return detour(self._network, link_name(process, part), address)


def detour(network: Network, name: str, address: str) -> str:
    """The address over the link `name`, which is opened: HOST:PORT, or a URL of one.

    A database's URL may name a local socket; the link is TCP all the same.
    """
    if "://" not in address:
        return network.open(name, address)
    if not address.startswith("postgres"):
        parts = urlsplit(address)
        return parts._replace(netloc=network.open(name, parts.netloc)).geturl()
    url = sa.make_url(address)
    folder, port = url.query.get("host", url.host or ""), url.port or POSTGRES_PORT
    target = f"{folder}/.s.PGSQL.{port}" if str(folder).startswith("/") else f"{folder}:{port}"
    host, _, number = network.open(name, target).rpartition(":")
    there = url.difference_update_query(["host"]).set(host=host, port=int(number))
    return there.render_as_string(hide_password=False)
