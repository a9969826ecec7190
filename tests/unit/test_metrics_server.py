"""Metrics over HTTP."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator

import pytest

from coordinator.domain.errors import ConfigurationError
from coordinator.metrics.instruments import Instruments
from coordinator.metrics.server import MetricsServer


@pytest.fixture
def server() -> Iterator[MetricsServer]:
    serving = MetricsServer(Instruments("1.2.3").registry, "127.0.0.1:0")
    yield serving
    serving.close()


def fetched(address: str) -> str:
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as response:
        assert response.headers["Content-Type"].startswith("text/plain")
        return str(response.read().decode())


def test_the_metrics_are_served_as_prometheus_reads_them(server: MetricsServer) -> None:
    text = fetched(server.address)
    assert 'kessai_build_info{version="1.2.3"} 1.0' in text
    assert "process_resident_memory_bytes" in text
    assert "_created" not in text


def test_a_taken_port_is_refused_with_what_to_do(server: MetricsServer) -> None:
    with pytest.raises(ConfigurationError, match=r"KESSAI_METRICS_LISTEN: .* choose another"):
        MetricsServer(Instruments("1.2.3").registry, server.address)


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="KESSAI_METRICS_LISTEN"):
        MetricsServer(Instruments("1.2.3").registry, "192.0.2.1:9464")


def test_once_closed_the_port_is_free_again() -> None:
    serving = MetricsServer(Instruments("1.2.3").registry, "127.0.0.1:0")
    address = serving.address
    serving.close()
    again = MetricsServer(Instruments("1.2.3").registry, address)
    try:
        assert fetched(again.address)
    finally:
        again.close()
