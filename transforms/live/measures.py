"""What an operator sees of the server: /metrics, for Prometheus. Nothing in it tells what was said."""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from transforms.live.service import Service

_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_SHORT = (0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.25, 0.5, 1, 2.5, 5)
_FACTORS = (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)


class Measures:
    def __init__(self, service: Service) -> None:
        to = self.registry = CollectorRegistry()
        name = "lakescribe_serve_{}".format
        ready = Gauge(name("ready"), "1 while the engines are loaded", registry=to)
        ready.set_function(lambda: float(service.ready))
        waiting = Gauge(name("waiting_audio_seconds"), "Audio that waits for an engine", registry=to)
        waiting.set_function(lambda: service.waiting_s)
        self.sessions = Gauge(name("sessions"), "Live sessions that are open", registry=to)
        self.requests = Gauge(name("requests"), "Files that are at work", registry=to)
        self.audio = Counter(name("audio_seconds"), "Audio that was transcribed", ("key", "kind"), registry=to)
        self.refused = Counter(name("refused"), "What was not done, by the error's code", ("code",), registry=to)
        losses = Counter(name("engine_losses"), "How often the engines were lost", registry=to)
        service.on_loss = losses.inc
        self._busy = Counter(name("engine_busy_seconds"), "How long the recognizer was at work", registry=to)
        said = "Audio that it read, also what was still being said"
        self._read = Counter(name("engine_audio_seconds"), said, registry=to)
        service.on_effort = self._add_effort
        self.not_kept = Counter(name("not_kept"), "How often sound or text of sessions could not be kept", registry=to)
        said = "Seconds of work for a second of a file"
        self.factor = Histogram(name("real_time_factor"), said, buckets=_FACTORS, registry=to)
        said = "Seconds from an utterance's end to its text"
        self.final_lag = Histogram(name("final_lag_seconds"), said, buckets=_SECONDS, registry=to)
        said = "Seconds from the sound that a partial reading ends with to its text"
        self.partial_lag = Histogram(name("partial_lag_seconds"), said, buckets=_SHORT, registry=to)

    def _add_effort(self, busy_s: float, audio_s: float) -> None:
        self._busy.inc(busy_s)
        self._read.inc(audio_s)

    def page(self) -> bytes:
        return generate_latest(self.registry)


@contextmanager
def counted(gauge: Gauge) -> Iterator[None]:
    gauge.inc()
    try:
        yield
    finally:
        gauge.dec()


class Lag:
    """Of the utterances of one session: from `said` to `read`; and of their partial readings."""

    def __init__(self, measures: Measures) -> None:
        self._finals, self._partials = measures.final_lag, measures.partial_lag
        self._said_at: dict[Hashable, float] = {}

    def said(self, utterance: Hashable) -> None:
        self._said_at[utterance] = time.monotonic()

    def read(self, utterance: Hashable) -> None:
        if (said_at := self._said_at.pop(utterance, None)) is not None:
            self._finals.observe(time.monotonic() - said_at)

    def told(self, pushed_at: float) -> None:
        self._partials.observe(time.monotonic() - pushed_at)
