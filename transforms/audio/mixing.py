"""All of a recording's channels → one, as FFmpeg mixes them; the loudest, where they cancel. Or each by itself, where a
copy of another one is silence.

What is done is decided by whole seconds of the file, so that it does not depend on blocks, nor on where reading began.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]

_CANCELLED = 0.25
"""A mix that is so much weaker (in power) than its channels would be together if they had nothing in common."""
_AUDIBLE_POWER = 1e-8
"""-80 dBFS: what cancels below is no sound that anybody misses."""
_LOUDEST = 0.5
"""The first channel within 3 dB of the loudest is taken, so that equal ones do not take turns."""
_COPY = 0.01
"""A channel is a copy of another if this share of its power, or less, is its own."""
_COPY_GAIN = (0.5, 2.0)
_LOOKS_PER_S = 8_000


@functools.cache
def mix_weights(channels: int, layout: str | None) -> Samples:
    """Shape (channels,), their sum 1: what libswresample mixes a layout to mono with; the mean where the places of the
    channels are not known."""
    equal = np.full(channels, 1 / channels, dtype=np.float32)
    if channels <= 2 or layout is None or layout.endswith("channels"):
        return equal
    import av

    try:
        frame = av.AudioFrame(format="fltp", layout=layout, samples=max(channels, 64))
        for index, plane in enumerate(frame.planes[:channels]):
            one = np.zeros(plane.buffer_size // 4, dtype=np.float32)
            one[index] = 1
            plane.update(one.tobytes())
        frame.sample_rate = 48_000
        (mixed,) = av.AudioResampler(format="fltp", layout="mono", rate=48_000).resample(frame)
    except (av.FFmpegError, ValueError, IndexError):
        return equal
    weights = mixed.to_ndarray()[0, :channels]
    return (weights / weights.sum()).astype(np.float32) if weights.sum() > 0 else equal


class Mixer:
    """(samples, channels) float32 in, (samples, 1) out, or with `split` (samples, channels)."""

    def __init__(self, rate_hz: int, channels: int, layout: str | None, *, split: bool) -> None:
        self._rate_hz, self._split = rate_hz, split
        self._weights = mix_weights(channels, layout)
        self._step = max(1, rate_hz // _LOOKS_PER_S) | 1
        self._rest = np.zeros((0, channels), dtype=np.float32)
        self.cancelled = False
        """True once the mix of an audible second had cancelled."""

    def push(self, block: Samples) -> Samples:
        """What is whole seconds of it, together with what was left over."""
        if block.shape[1] == 1:
            return block
        block = np.concatenate([self._rest, block]) if len(self._rest) else block
        whole = len(block) // self._rate_hz * self._rate_hz
        self._rest = block[whole:].copy()
        return self._made(block[:whole], self._rate_hz)

    def finish(self) -> Samples:
        rest, self._rest = self._rest, self._rest[:0]
        return self._made(rest, len(rest))

    def _made(self, block: Samples, second: int) -> Samples:
        if not len(block):
            return block if self._split else block[:, :1]
        seconds = block.reshape(-1, second, block.shape[1])
        looks = seconds[:, :: self._step]
        # (seconds, channels, channels): powers on the diagonal, what they have in common beside it.
        common = np.matmul(looks.transpose(0, 2, 1), looks) / looks.shape[1]
        return self._apart(block, seconds, common) if self._split else self._mixed(block, seconds, common)

    def _mixed(self, block: Samples, seconds: Samples, common: Samples) -> Samples:
        mixed = block @ self._weights[:, None]
        powers = np.diagonal(common, axis1=1, axis2=2)
        together = np.einsum("i,nij,j->n", self._weights, common, self._weights)
        cancelled = (together < _CANCELLED * (powers @ self._weights**2)) & (powers.max(axis=1) > _AUDIBLE_POWER)
        for index in np.flatnonzero(cancelled):
            self.cancelled = True
            heard = np.where(self._weights > 0, powers[index], 0)
            loudest = int(np.argmax(heard >= _LOUDEST * heard.max()))
            mixed[index * seconds.shape[1] : (index + 1) * seconds.shape[1], 0] = seconds[index, :, loudest]
        return mixed

    def _apart(self, block: Samples, seconds: Samples, common: Samples) -> Samples:
        apart = block
        channels = block.shape[1]
        for index, one in enumerate(common):
            for copy in range(1, channels):
                if any(_is_copy(one, copy, other) for other in range(copy)):
                    apart = block.copy() if apart is block else apart
                    apart[index * seconds.shape[1] : (index + 1) * seconds.shape[1], copy] = 0
        return apart


def _is_copy(common: Samples, copy: int, other: int) -> bool:
    """True where `copy` holds nothing but `other`, about as loud, be it inverted."""
    power, other_power = float(common[copy, copy]), float(common[other, other])
    if power <= 0 or other_power <= 0:
        return False
    gain = float(common[copy, other]) / other_power
    low, high = _COPY_GAIN
    return low <= abs(gain) <= high and power - gain * gain * other_power <= _COPY * power
