"""All of a recording's channels → one, as FFmpeg mixes them; the loudest, where they cancel. Or each by itself, where a
copy of another one is silence.

What is done is decided by stretches of the file, a whole number of them to the second, so that it does not depend on
blocks, nor on where reading began.
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
_MIX_STRETCHES_PER_S = (5, 4, 3, 2, 1)
"""The first that divides the rate: a mix that cancels for less than a fifth of a second costs no word. Copies are told
by whole seconds, so that no sentence falls to pieces."""
_LOOKS_PER_S = 6_000
_STEPS = (15, 7, 5, 3, 1)
"""Every so many samples one is looked at: odd, since round tones would meet an even step always at the same points."""


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
        self._split = split
        self._weights = mix_weights(channels, layout)
        self._stretch = rate_hz if split else rate_hz // next(n for n in _MIX_STRETCHES_PER_S if rate_hz % n == 0)
        self._step = next(
            step for step in _STEPS if (self._stretch % step == 0 and rate_hz // step >= _LOOKS_PER_S) or step == 1
        )
        self._rest = np.zeros((0, channels), dtype=np.float32)
        self.cancelled = False
        """True once the mix of an audible stretch had cancelled."""

    def push(self, block: Samples) -> Samples:
        """What is whole stretches of it, together with what was left over."""
        if block.shape[1] == 1:
            return block
        head = min(len(block), self._stretch - len(self._rest))
        first = np.concatenate([self._rest, block[:head]])
        if len(first) < self._stretch:
            self._rest = first
            return self._made(first[:0], 1)
        whole = head + (len(block) - head) // self._stretch * self._stretch
        self._rest = block[whole:].copy()
        # Not joined before: blocks of different decoders lie differently in memory, and are quickest as they are.
        return np.concatenate([self._made(part, self._stretch) for part in (first, block[head:whole])])

    def finish(self) -> Samples:
        rest, self._rest = self._rest, self._rest[:0]
        return self._made(rest, len(rest))

    def _made(self, block: Samples, stretch: int) -> Samples:
        if not len(block):
            return block if self._split else block[:, :1]
        return self._apart(block, stretch) if self._split else self._mixed(block, stretch)

    def _looks(self, samples: Samples, stretch: int) -> Samples:
        """Shape (channels, stretches, samples of each)."""
        step = self._step if stretch == self._stretch else 1
        return np.ascontiguousarray(samples[::step].T).reshape(samples.shape[1], -1, stretch // step)

    def _mixed(self, block: Samples, stretch: int) -> Samples:
        mixed: Samples = np.einsum("ij,j->i", block, self._weights)[:, None]  # BLAS would wake all cores
        powers, mix_powers = _powers(self._looks(block, stretch)), _powers(self._looks(mixed, stretch))[0]
        apart = self._weights**2 @ powers
        cancelled = (mix_powers < _CANCELLED * apart) & (powers.max(axis=0) > _AUDIBLE_POWER)
        for index in np.flatnonzero(cancelled):
            self.cancelled = True
            heard = np.where(self._weights > 0, powers[:, index], 0)
            loudest = int(np.argmax(heard >= _LOUDEST * heard.max()))
            there = slice(index * stretch, (index + 1) * stretch)
            mixed[there, 0] = block[there, loudest]
        return mixed

    def _apart(self, block: Samples, stretch: int) -> Samples:
        looks = self._looks(block, stretch)
        powers = _powers(looks)
        apart = block
        for copy in range(1, len(looks)):
            for other in range(copy):
                shared = np.einsum("ni,ni->n", looks[copy], looks[other]) / looks.shape[2]
                for index in np.flatnonzero(_copied(powers[copy], powers[other], shared)):
                    apart = block.copy() if apart is block else apart
                    apart[index * stretch : (index + 1) * stretch, copy] = 0
        return apart


def _powers(looks: Samples) -> Samples:
    """Shape (channels, stretches)."""
    powers: Samples = np.einsum("cni,cni->cn", looks, looks) / looks.shape[2]
    return powers


def _copied(power: Samples, other_power: Samples, shared: Samples) -> NDArray[np.bool_]:
    """For each stretch, True where the channel of `power` holds nothing but the other, about as loud, be it inverted;
    `shared` is the mean of their product."""
    low, high = _COPY_GAIN
    there = np.minimum(power, other_power) > 0
    gain = np.abs(shared) / np.where(there, other_power, 1)
    own = power - gain * gain * other_power
    return there & (low <= gain) & (gain <= high) & (own <= _COPY * power)
