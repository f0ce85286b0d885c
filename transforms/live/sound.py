"""What a client sends of its sound, piece by piece → samples as a session wants them."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import soxr
from numpy.typing import NDArray

from schemas.config import SAMPLE_RATE_HZ
from transforms.errors import RecordingError

Samples = NDArray[np.float32]
_WAITING = 64
"""Pieces of a container that wait for its decoder; whoever sends more waits, too."""


class Sound(Protocol):
    waits: bool
    """Whether the methods may wait for something, instead of just computing."""

    def take(self, data: bytes) -> Samples:
        """The samples, float32 of 16 kHz, that are ready after these bytes: 1-D, or (samples, channels). Raises
        RecordingError for what is no such sound."""
        ...

    def end(self) -> Samples:
        """The rest, once all bytes are there."""
        ...

    def close(self) -> None:
        """Nobody listens any more."""
        ...


def _ulaw() -> Samples:
    """The value of each byte of G.711's μ-law, in [-1, 1] (ITU-T G.711, table 2a)."""
    code = ~np.arange(256, dtype=np.uint8)
    steps = ((code & 15).astype(np.int32) * 2 + 33 << (code >> 4 & 7)) - 33
    return (np.where(code & 128, -steps, steps) * 4 / 32768).astype(np.float32)


def _alaw() -> Samples:
    """The value of each byte of G.711's A-law, in [-1, 1] (ITU-T G.711, table 1a)."""
    code = np.arange(256, dtype=np.uint8) ^ 0x55
    part, step = (code >> 4 & 7).astype(np.int32), (code & 15).astype(np.int32)
    steps = np.where(part == 0, step * 2 + 1, step * 2 + 33 << np.maximum(part - 1, 0))
    return (np.where(code & 128, steps, -steps) * 8 / 32768).astype(np.float32)


class Pcm:
    """Of numbers of `dtype`, which are 1.0 at `full`, or places in `table`, those of all channels beside one another;
    pieces may end anywhere."""

    waits = False

    def __init__(
        self, dtype: str, rate_hz: int, full: float = 1.0, table: Samples | None = None, channels: int = 1
    ) -> None:
        self._dtype, self._full, self._table, self._rest = np.dtype(dtype), np.float32(full), table, b""
        self._channels = channels
        same = rate_hz == SAMPLE_RATE_HZ
        self._resampler = None if same else soxr.ResampleStream(rate_hz, SAMPLE_RATE_HZ, channels, dtype="float32")

    def take(self, data: bytes) -> Samples:
        data = self._rest + data
        one = self._dtype.itemsize * self._channels
        whole = len(data) // one * one
        self._rest = data[whole:]
        values = np.frombuffer(data[:whole], self._dtype)
        samples = values.astype(np.float32) / self._full if self._table is None else self._table[values]
        return self._resampled(self._shaped(np.clip(np.nan_to_num(samples), -1, 1)), last=False)

    def end(self) -> Samples:
        return self._resampled(self._shaped(np.zeros(0, np.float32)), last=True)

    def close(self) -> None: ...

    def _shaped(self, values: Samples) -> Samples:
        return values if self._channels == 1 else values.reshape(-1, self._channels)

    def _resampled(self, values: Samples, last: bool) -> Samples:
        if self._resampler is None:
            return values
        return np.asarray(self._resampler.resample_chunk(values, last=last), dtype=np.float32)


class Container:
    """Any that FFmpeg reads from its start: WebM and Ogg as browsers record them, WAV, MP3, FLAC. Decoded in a thread
    of its own, which may be some pieces behind; channels are averaged."""

    waits = True

    def __init__(self) -> None:
        self._coming: queue.Queue[bytes] = queue.Queue(_WAITING)
        self._ready = queue.SimpleQueue[Samples]()
        self._error: RecordingError | None = None
        self._rest = b""
        self._closed = False
        self._thread = threading.Thread(target=self._decode, daemon=True, name="container")
        self._thread.start()

    def take(self, data: bytes) -> Samples:
        if data:
            self._put(data)
        return self._taken()

    def end(self) -> Samples:
        self._put(b"")
        self._thread.join()
        return self._taken()

    def close(self) -> None:
        self._closed = True

    def _put(self, data: bytes) -> None:
        while self._thread.is_alive():
            try:
                self._coming.put(data, timeout=0.1)
                return
            except queue.Full:
                continue  # the decoder is behind, or has just ended

    def _taken(self) -> Samples:
        if self._error is not None:
            raise self._error
        ready = [self._ready.get() for _ in range(self._ready.qsize())]
        return np.concatenate(ready) if ready else np.zeros(0, np.float32)

    def read(self, size: int) -> bytes:
        """For FFmpeg: it waits until there is something; nothing means the end."""
        while not self._rest and not self._closed:
            try:
                self._rest = self._coming.get(timeout=0.5)
            except queue.Empty:
                continue
            self._closed = self._closed or not self._rest
        data, self._rest = self._rest[:size], self._rest[size:]
        return data

    def _decode(self) -> None:
        import av

        try:
            with av.open(self, mode="r") as container:
                if not container.streams.audio:
                    raise RecordingError("decode", "no_audio", "there is no sound in what was sent")
                to_ours = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE_HZ)
                for frame in container.decode(container.streams.audio[0]):
                    self._keep(to_ours.resample(frame))
                self._keep(to_ours.resample(None))
        except RecordingError as error:
            self._error = error
        except av.FFmpegError as error:
            self._error = RecordingError("decode", "unreadable", f"what was sent cannot be decoded: {error}")

    def _keep(self, frames: list[Any]) -> None:
        for frame in frames:
            self._ready.put(frame.to_ndarray().reshape(-1))


SOUNDS: dict[str, Callable[[int, int], Sound]] = {
    "pcm16": lambda rate_hz, channels: Pcm("<i2", rate_hz, 32768.0, channels=channels),
    "f32": lambda rate_hz, channels: Pcm("<f4", rate_hz, channels=channels),
    "pcmu": lambda rate_hz, channels: Pcm("u1", rate_hz, table=_ulaw(), channels=channels),
    "pcma": lambda rate_hz, channels: Pcm("u1", rate_hz, table=_alaw(), channels=channels),
    "container": lambda rate_hz, channels: Container(),
}
"""By what a client calls them: of so many Hz and channels, which a container tells itself."""
