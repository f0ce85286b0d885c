"""Speech as it is spoken → events: readings of the utterance that is being said, and each utterance when it is over.

An utterance is a chunk as the job makes it, cut by the same VAD and packing, and read as the job reads it: what a
session has said at its end is what the job makes of the same audio under the same configuration.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.config import SAMPLE_RATE_HZ, Config
from transforms.audio.channel import Channel, SpeechChunk
from transforms.audio.front import Chunk, Closing, Work
from transforms.engines import Growth, Hypothesis, Utterance
from transforms.errors import MachineError, RecordingError
from transforms.live.agreement import Agreement
from transforms.live.service import Delivery, Peeked, Service

Event = dict[str, Any]
"""Each has a `type`, and but for the last two the `utterance`'s number, from 0. speech_started and speech_stopped (with
`at_ms`) tell that it begins and is over, also where nothing comes of it; partial (`start_ms`, `stable`, `tail`, and
`pushed_at`, the monotonic time at which its last sound came) is a reading of what was said so far; said (`start_ms`,
`end_ms`) means that it will be read as a whole, and final has that `row` of chunks. ended (`rows`: all of the session)
comes after `finish`, error (`message`) in place of all others."""


class _Growing:
    """The utterance that is being said."""

    def __init__(self) -> None:
        self.agreement, self.growth = Agreement(), Growth()


class Session:
    """One voice, or several on one channel. `push`, `commit` and `finish` are called one after the other; `deliver`
    gets the events, in whatever thread. Times are ms from the session's first sample."""

    def __init__(self, service: Service, work: Work, config: Config, deliver: Callable[[Event], None]) -> None:
        self._service, self._work, self._config, self._deliver = service, work, config, deliver
        self._channel = Channel(config.vad, config.packing)
        self._samples = self._speech_samples = 0
        self._begun = self._finished = False
        self._lock = threading.Lock()
        """For what the service's thread looks at, too: the three that follow."""
        self._growing = _Growing()
        self._peeking = False
        self._peeked_at = 0
        self._rows: list[dict[str, Any]] = []
        self._read: dict[int, dict[str, Any]] = {}
        self._told = 0
        """Utterances are told in their order, in whatever order they are read."""
        self._order = service.open(work, config, self._take)

    @property
    def heard_ms(self) -> int:
        return self._samples * 1000 // SAMPLE_RATE_HZ

    @property
    def is_behind(self) -> bool:
        """True while more was said than the engines should have in hand of one order."""
        return not self._service.has_room(self._order)

    def push(self, samples: NDArray[np.float32]) -> None:
        """`samples`: the next, 1-D float32 of 16 kHz in [-1, 1], of any length."""
        pushed_at = time.monotonic()
        self._samples += len(samples)
        self._end_utterances(self._channel.push(samples))
        self._tell_whether_speech()
        self._peek(pushed_at)

    def commit(self) -> None:
        """Ends the utterance that is being said, as if a pause had come."""
        self._end_utterances(self._channel.flush())
        self._tell_whether_speech()

    def clear(self) -> None:
        """Forgets the utterance that is being said; the clock goes on."""
        count = self._channel.count
        self._channel = Channel(self._config.vad, self._config.packing, self._samples)
        self._channel.count = count
        self._forget()
        self._tell_whether_speech()

    def finish(self) -> None:
        """No more will be said; the event `ended` comes when all is read."""
        self._end_utterances(self._channel.finish())
        self._tell_whether_speech()
        closing = Closing(self._work, self.heard_ms, self.heard_ms, chunk_count=self._channel.count)
        closing.speech_ms = self._speech_samples * 1000 // SAMPLE_RATE_HZ
        self._finished = True
        self._service.offer(self._order, closing)

    def drop(self) -> None:
        """Nobody listens any more."""
        self._service.withdraw(self._order)
        if not self._finished:
            self._finished = True
            self._service.offer(self._order, Closing(self._work))

    def _end_utterances(self, chunks: list[SpeechChunk]) -> None:
        for chunk in chunks:
            self._speech_samples += chunk.speech_samples
            self._forget()
            said = Chunk(self._work, None, chunk.index, chunk.start_ms, chunk.end_ms, chunk.samples, chunk.speech)
            self._tell_of_speech(True, chunk.index, chunk.start_ms)
            self._tell_of_speech(False, chunk.index, chunk.end_ms)
            times = {"start_ms": chunk.start_ms, "end_ms": chunk.end_ms}
            self._deliver({"type": "said", "utterance": chunk.index, **times})
            self._service.offer(self._order, said)

    def _forget(self) -> None:
        """The utterance that was being said is over: readings that are on the way are of no use."""
        with self._lock:
            self._growing, self._peeked_at = _Growing(), 0

    def _tell_whether_speech(self) -> None:
        self._tell_of_speech(self._channel.begun, self._channel.count, self.heard_ms)

    def _tell_of_speech(self, begun: bool, utterance: int, at_ms: int) -> None:
        if begun != self._begun:
            self._begun = begun
            kind = "speech_started" if begun else "speech_stopped"
            self._deliver({"type": kind, "utterance": utterance, "at_ms": at_ms})

    def _peek(self, pushed_at: float) -> None:
        """Once the last reading is there and enough was said since: so readings come as fast as the engine is."""
        every = int(self._config.serve.partial_s * SAMPLE_RATE_HZ)
        with self._lock:
            if self._peeking or not self._channel.speaks or self._samples - self._peeked_at < every:
                return
            chunk = self._channel.so_far()
            if chunk is None:
                return
            self._peeking, self._peeked_at = True, self._samples
            growing = self._growing
        work, growth = self._work, growing.growth
        utterance = Utterance(chunk.samples, work.language, work.context, chunk.speech, growth)
        self._service.peek(self._order, (chunk.index, chunk.start_ms, pushed_at, growing), utterance)

    def _take(self, delivery: Delivery) -> None:
        if isinstance(delivery, MachineError):
            self._deliver({"type": "error", "message": str(delivery)})
        elif isinstance(delivery, Peeked):
            index, start_ms, pushed_at, growing = delivery.id
            about = {"utterance": index, "start_ms": start_ms, "pushed_at": pushed_at}
            self._hear(about, growing, delivery.reading)
        elif delivery is None:
            self._deliver({"type": "ended", "rows": self._rows})
        else:
            self._rows.append(delivery)
            self._read[delivery["chunk_index"]] = delivery
            while (row := self._read.pop(self._told, None)) is not None:
                self._told += 1
                self._deliver(
                    {"type": "final", "utterance": row["chunk_index"], "start_ms": row["start_ms"], "row": row}
                )

    def _hear(self, about: Event, growing: _Growing, reading: Hypothesis | RecordingError) -> None:
        with self._lock:
            self._peeking = False
            if growing is not self._growing or isinstance(reading, RecordingError):
                return  # it is read as a whole by now, or will be: what is wrong is told then
            stable, tail = growing.agreement.hear(reading.text, reading.language)
            growing.growth.standing = stable
        self._deliver({"type": "partial", **about, "stable": stable, "tail": tail})
