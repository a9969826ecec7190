"""Serves the metrics over HTTP, in a thread of its own: `http://HOST:PORT/metrics`.

It answers while the event loop is busy or stuck, which is when somebody looks.
"""

from __future__ import annotations

from threading import Thread
from wsgiref.simple_server import WSGIServer

import structlog
from prometheus_client import CollectorRegistry, start_http_server

from coordinator.domain.errors import ConfigurationError


class MetricsServer:
    """The registry's metrics at `listen` (`HOST:PORT`; port 0: any free one).

    Raises ConfigurationError when the address cannot be bound.
    """

    def __init__(self, registry: CollectorRegistry, listen: str) -> None:
        host, _, port = listen.rpartition(":")
        self._server: WSGIServer
        self._thread: Thread
        try:
            self._server, self._thread = start_http_server(
                int(port), addr=host.strip("[]"), registry=registry
            )
        except OSError as error:
            raise ConfigurationError(
                f"KESSAI_METRICS_LISTEN: {listen} cannot be bound ({error.strerror}); "
                "stop what listens there, or choose another address"
            ) from error
        self.address = f"{host}:{self._server.server_port}"
        structlog.get_logger().info("metrics served", address=self.address)

    def close(self) -> None:
        """Ends it; waits for half a second at most."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
