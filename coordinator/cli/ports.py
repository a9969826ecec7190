"""Is an address free? Asked before a server starts, so that the answer is a sentence.

gRPC itself would write lines of its own to stderr.
"""

from __future__ import annotations

import errno
import socket

from coordinator.cli.failures import Failure


def refuse_taken(address: str, option: str) -> None:
    """Raises Failure if something else listens on `HOST:PORT`; `option` is named in the hint.

    Any other trouble with the address is left to the server, which knows more about it.
    """
    host, _, port = address.rpartition(":")
    try:
        [found, *_] = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
        with socket.socket(found[0], socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(found[4])
    except (OSError, ValueError, OverflowError) as error:
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            raise Failure(
                f"{address} is in use: something listens there already",
                hint=f"stop it, or choose another with {option}; port 0 takes any free one",
            ) from None
