"""FFmpeg's frames → samples of one rate and one set of channels, with silence where sound was lost."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_LOST_S = (0.1, 3600.0)
"""After damage, a jump of the time stamps between these is sound that could not be decoded: silence stands in."""


class Converter:
    """Frames → (samples, channels) float32, all of the stream's first rate and channels: a broadcast may change them on
    the way, and FFmpeg's resampler takes one kind of frame only."""

    def __init__(self, stream: Any) -> None:
        self._layout, self._rate = stream.layout, stream.rate
        self._kind: tuple[str, str, int] | None = None
        self._resampler: Any = None
        self._first_s: float | None = None
        self._heard_s = 0.0

    def __call__(self, frame: Any | None, *, fill: bool = False) -> list[NDArray[np.float32]]:
        """`frame` None ends the stream. `fill`: where time stamps have jumped, silence comes first."""
        import av

        kind = None if frame is None else (frame.format.name, frame.layout.name, frame.sample_rate)
        converted: list[Any] = []
        if kind != self._kind:
            converted += [] if self._resampler is None else self._resampler.resample(None)
            self._resampler = av.AudioResampler(format="fltp", layout=self._layout, rate=self._rate)
            self._kind = kind
        lost_s = self._lost_s(frame) if frame is not None else 0.0
        if frame is not None:
            converted += self._resampler.resample(frame)
        parts = [part.to_ndarray().T for part in converted]
        if fill and _LOST_S[0] <= lost_s <= _LOST_S[1]:
            self._heard_s += lost_s
            parts.insert(0, np.zeros((round(lost_s * self._rate), self._layout.nb_channels), dtype=np.float32))
        return parts

    def _lost_s(self, frame: Any) -> float:
        """How far the frame's time stamp is ahead of the audio heard before it."""
        at_s = 0.0 if frame.pts is None else float(frame.pts * frame.time_base)
        self._first_s = at_s if self._first_s is None else self._first_s
        lost_s = at_s - self._first_s - self._heard_s
        self._heard_s += frame.samples / frame.sample_rate
        return lost_s
