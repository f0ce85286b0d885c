"""FFmpeg's frames → samples of one rate and one set of channels, each where the file's time line has it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from transforms.audio.mixing import mix_weights
from transforms.audio.timeline import TimeLine

_SILENCE_S = 10
"""Silence comes in pieces of at most this length: memory does not depend on how long it is."""


class Converter:
    """Frames → (samples, channels) float32, all of the first stream's rate and channels: a broadcast may change them on
    the way, and FFmpeg's resampler takes one kind of frame only.

    A frame comes out when the next one is known (see TimeLine.place).
    """

    def __init__(self, layout: Any, rate_hz: int, line: TimeLine, stamped: bool = True) -> None:
        """`stamped`: time stamps are the file's, and hold whatever the rate of a frame."""
        self._layout, self._rate = layout, rate_hz
        self.line, self._stamped = line, stamped
        self._kind: tuple[str, str, int] | None = None
        self._resampler: Any = None
        self._waiting: Any = None

    def __call__(self, frame: Any | None) -> list[NDArray[np.float32]]:
        """`frame` None ends the stream; what is given afterwards is another one, that follows at once."""
        waiting, self._waiting = self._waiting, frame
        parts = [] if waiting is None else self._placed(waiting, None if frame is None else self._stamp(frame))
        if frame is None:
            parts += self._turned(None)
            self.line.restart()
        return parts

    def _stamp(self, frame: Any) -> int | None:
        return self.line.stamp(frame) if self._stamped or frame.sample_rate == self._rate else None

    def _placed(self, frame: Any, following: int | None) -> list[NDArray[np.float32]]:
        samples = frame.samples * self._rate // frame.sample_rate
        stamp = self._stamp(frame)
        if stamp is None and frame.pts is not None:
            self.line.restart()
        silence = self.line.place(stamp, samples, following)
        kind = (frame.format.name, frame.layout.name, frame.sample_rate)
        parts = []
        if kind != self._kind:
            import av

            parts += self._turned(None)
            self._resampler = av.AudioResampler(format="fltp", rate=self._rate)
            self._kind = kind
        while silence > 0:
            piece = min(silence, _SILENCE_S * self._rate)
            parts.append(np.zeros((piece, self._layout.nb_channels), dtype=np.float32))
            silence -= piece
        return parts + self._turned(frame)

    def _turned(self, frame: Any | None) -> list[NDArray[np.float32]]:
        """By the resampler, which is done with for good when it was given None."""
        if self._resampler is None:
            return []
        converted = self._resampler.resample(frame)
        if frame is None:
            self._resampler = self._kind = None
        return [self._spread(part.to_ndarray().T, part.layout.name) for part in converted]

    def _spread(self, samples: NDArray[np.float32], layout: str) -> NDArray[np.float32]:
        """With as many channels as the first frame had: by FFmpeg's own way, voices would get louder or softer."""
        channels = self._layout.nb_channels
        if samples.shape[1] == channels:
            return samples
        return np.repeat(samples @ mix_weights(samples.shape[1], layout)[:, None], channels, axis=1)
