"""Gauges → Prometheus: a page that is served, or a file for node_exporter's textfile collector."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any

from prometheus_client import CollectorRegistry, start_http_server, write_to_textfile
from prometheus_client.core import GaugeMetricFamily

from transforms.metrics.gauges import Gauge


class _Latest:
    """A collector, in Prometheus' words: shows what was read last, however often it is asked."""

    def __init__(self, gauges: Iterable[Gauge]) -> None:
        self.gauges = gauges

    def collect(self) -> Iterable[Any]:
        for gauge in self.gauges:
            family = GaugeMetricFamily(gauge.name, gauge.meaning, labels=gauge.labels)
            for labels, value in gauge.samples.items():
                family.add_metric(labels, value)
            yield family


def registry(latest: _Latest) -> CollectorRegistry:
    made = CollectorRegistry()
    made.register(latest)
    return made


def write(gauges: Iterable[Gauge], path: str) -> None:
    """Whole or not at all."""
    write_to_textfile(path, registry(_Latest(gauges)))


def serve(read: Callable[[], list[Gauge]], address: str, port: int, every_s: float, stop: threading.Event) -> None:
    """Serves /metrics until `stop` is set, and reads the tables anew every `every_s`. Raises what `read` raises:
    whoever keeps the exporter starts it again, and Prometheus sees that it is gone."""
    latest = _Latest(read())
    server, thread = start_http_server(port, address, registry(latest))
    try:
        while not stop.wait(every_s):
            latest.gauges = read()
    finally:
        server.shutdown()
        thread.join()
