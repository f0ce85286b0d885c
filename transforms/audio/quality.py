"""How well a recording was recorded: loudness, clipping, bandwidth, offset and digital silence of the decoded blocks as
they pass, at their own rate and with all their channels; signal to noise comes from VAD.

A part keeps sums and counts (schemas.quality.QUALITY), which add up to the recording's. To cost little, powers are
taken from single samples, 4,000 values a second, and spectra of what is loudest in every 5 seconds.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.quality import LEVEL_STEP_DB, added, lists_added

Block = NDArray[np.float32]

_PIECES_PER_S = 10
"""The standard's gating blocks of 400 ms move on by such a piece."""
_GATE_PIECES = 4
_PIECE_VALUES = 400
"""Of the first half of each piece about so many values are taken, all channels together, evenly."""
_LOOKS_PER_S = 40
"""A spectrum is of the first 25 ms of a piece."""
_LOOK_PIECES = 50
_STRETCH_PIECES = 2 * _LOOK_PIECES
_FULL_SCALE = 0.98
"""At or beyond, a sample counts as clipped: telephone codes end at 32124/32768 (G.711, µ-law)."""
_SILENT_POWER = 1e-12
"""-120 dBFS: no recorder is that quiet."""
_POWER_UNIT = 2.0**-38
"""-114 dBFS: sums of its multiples are exact, so they do not depend on how the audio was cut into blocks."""
_BAND_HZ = 200
_BAND_SHARE = 1e-7
"""A band that is 70 dB below the strongest holds nothing, nor does one at the level of 16-bit rounding."""
_ROUNDING_POWER = 10 ** (-118 / 10)
_K_FILTERS = (
    ((1.53512485958697, -2.69169618940638, 1.19839281085285), (1.0, -1.69065929318241, 0.73248077421585)),
    ((1.0, -2.0, 1.0), (1.0, -1.99004745483398, 0.99007225036621)),
)
"""ITU-R BS.1770-5, tables 1 and 2: the K-weighting as digital filters (b, a) at 48 kHz."""


@dataclass
class VoicePower:
    """Mean square of frames of 16 kHz audio, summed: those that VAD takes for speech, and those that it does not; and
    how many windows may hold a voice that it does not hear (unheard.Whispers)."""

    speech_power: float = 0.0
    speech_frames: int = 0
    noise_power: float = 0.0
    noise_frames: int = 0
    whispered_windows: int = 0

    def add(self, powers: NDArray[np.float32], speech: NDArray[np.bool_], noise: NDArray[np.bool_]) -> None:
        """Shapes (frames,). Digital silence is no noise: it says nothing of the room."""
        noise = noise & (powers > _SILENT_POWER)
        exact = np.round(powers.astype(np.float64) / _POWER_UNIT) * _POWER_UNIT
        self.speech_power += float(exact @ speech)
        self.speech_frames += int(np.count_nonzero(speech))
        self.noise_power += float(exact @ noise)
        self.noise_frames += int(np.count_nonzero(noise))


@dataclass
class _Sums:
    samples: int = 0
    clipped: int = 0
    pieces: int = 0
    silent_pieces: int = 0
    channel_means: list[float] = field(default_factory=list)
    levels: Counter[int] = field(default_factory=Counter)
    plain_power: float = 0.0
    weighted_power: float = 0.0
    bandwidths: Counter[int] = field(default_factory=Counter)


class Meter:
    """Measures the native blocks of one part. `part_s` is the part's nominal length, a multiple of 10 s as those of
    schemas.parts: what lies beyond is the next part's, if there is one.

    Nothing depends on how the audio was cut into blocks.
    """

    def __init__(self, part_s: float) -> None:
        self._part_s = part_s
        self._own, self._beyond = _Sums(), _Sums()
        self._points: list[Block] = []
        self._heads: list[Block] = []

    def open(self, rate_hz: int, channels: int, start_ms: int, end_ms: int | None) -> None:
        """Before the first block: only [start_ms, end_ms) of what comes counts."""
        self._first = start_ms * rate_hz // 1000
        self._last = None if end_ms is None else end_ms * rate_hz // 1000
        self._piece = max(1, rate_hz // _PIECES_PER_S)
        self._heard = -(-self._piece // 2)
        # Odd, since round tones would meet an even step always at the same points of their wave.
        self._step = self._heard * channels // _PIECE_VALUES // 2 * 2 + 1
        self._head = max(1, rate_hz // _LOOKS_PER_S)
        self._lens = _lens(rate_hz, self._head)
        self._own_pieces = int(self._part_s * _PIECES_PER_S)
        self._position = self._measured = 0
        self._rest = np.zeros((0, channels), dtype=np.float32)
        self._before = np.zeros(0)

    def push(self, block: Block) -> None:
        """`block`: (samples, channels), finite, in [-1, 1]."""
        begin, self._position = self._position, self._position + len(block)
        block = block[max(0, self._first - begin) : None if self._last is None else max(0, self._last - begin)]
        head = self._piece - len(self._rest)
        if len(block) < head:
            self._rest = np.concatenate([self._rest, block])
            return
        channels = block.shape[1]
        whole = head + (len(block) - head) // self._piece * self._piece
        for samples in (np.concatenate([self._rest, block[:head]]), block[head:whole]):
            pieces = samples.reshape(-1, self._piece, channels)
            # Along the samples of a channel: so they are taken quickest.
            self._points.append(pieces.transpose(2, 0, 1)[:, :, : self._heard : self._step].copy())
            self._heads.extend(pieces[:, : self._head])
        self._rest = block[whole:].copy()
        if len(self._heads) >= _STRETCH_PIECES:
            self._measure_waiting(_STRETCH_PIECES)

    def finish(self, continues: bool, voices: Iterable[VoicePower]) -> dict[str, Any]:
        """The part's row of schemas.quality.QUALITY. `continues`: another part follows. `voices`: of each channel."""
        self._measure_waiting(1)
        parts = [self._own] if continues else [self._own, self._beyond]
        return added([*map(vars, parts), *map(vars, voices)])

    def _measure_waiting(self, least: int) -> None:
        """In stretches of fixed length, so that sums do not depend on blocks; fewer than `least` pieces wait on."""
        if not self._points:
            return
        points = np.concatenate(self._points, axis=1)
        done = 0
        while points.shape[1] - done >= least:
            stretch = slice(done, done + _STRETCH_PIECES)
            self._measure(points[:, stretch], self._heads[stretch])
            done = min(points.shape[1], stretch.stop)
        self._points, self._heads = [points[:, done:].copy()], self._heads[done:]

    def _measure(self, pieces: Block, heads: list[Block]) -> None:
        """`pieces`: (channels, tenths of a second, samples of each); `heads`: (samples, channels) of each."""
        sums = self._own if self._measured < self._own_pieces else self._beyond
        _, count, samples = pieces.shape
        self._measured += count
        sums.samples += pieces.size
        if pieces.max() >= _FULL_SCALE or pieces.min() <= -_FULL_SCALE:
            sums.clipped += int(np.count_nonzero(np.abs(pieces) >= _FULL_SCALE))
        powers = np.einsum("cij,cij->ci", pieces, pieces).sum(axis=0, dtype=np.float64) / samples
        means = (pieces @ np.ones(samples, np.float32)).astype(np.float64) / samples
        sums.pieces += count
        sums.silent_pieces += int(np.count_nonzero(powers <= _SILENT_POWER))
        sums.channel_means = lists_added(sums.channel_means, means.sum(axis=1).tolist())
        varying = np.maximum(powers - np.square(means).sum(axis=0), 0)
        self._gate(varying, sums)
        for first in range(0, count, _LOOK_PIECES):
            loudest = first + int(np.argmax(varying[first : first + _LOOK_PIECES]))
            if varying[loudest] > _SILENT_POWER:
                self._look(heads[loudest], sums)

    def _gate(self, powers: NDArray[np.float64], sums: _Sums) -> None:
        """Counts the gating blocks that end here by their level in dB, before K-weighting."""
        powers = np.concatenate([self._before, powers])
        self._before = powers[1 - _GATE_PIECES :]
        if len(powers) >= _GATE_PIECES:
            blocks = np.convolve(powers, np.full(_GATE_PIECES, 1 / _GATE_PIECES), mode="valid")
            decibels = 10 * np.log10(np.maximum(blocks, _SILENT_POWER))
            sums.levels.update(np.rint(decibels / LEVEL_STEP_DB).astype(int).tolist())

    def _look(self, samples: Block, sums: _Sums) -> None:
        """The spectrum of the louder channel: what K-weighting makes of it, and how far up it reaches."""
        channel = max(range(samples.shape[1]), key=lambda at: samples[:, at] @ samples[:, at])
        spectrum = np.fft.rfft(samples[:, channel] * self._lens.window)
        power = np.square(spectrum.real) + np.square(spectrum.imag)
        power[:2] = 0  # the offset, as wide as the window makes it
        sums.plain_power += float(power.sum())
        sums.weighted_power += float(power @ self._lens.weights)
        bands = np.add.reduceat(power, self._lens.band_starts) * self._lens.scale
        (filled,) = np.nonzero(bands > max(float(bands.max()) * _BAND_SHARE, _ROUNDING_POWER))
        if len(filled):
            sums.bandwidths[int(self._lens.band_tops_hz[filled[-1]])] += 1


class _Lens(NamedTuple):
    """What a spectrum is looked at with: `weights` are K's by bin, `scale` makes powers mean squares."""

    window: NDArray[np.float32]
    weights: NDArray[np.float32]
    band_starts: NDArray[np.int64]
    band_tops_hz: NDArray[np.float64]
    scale: float


@functools.cache
def _lens(rate_hz: int, length: int) -> _Lens:
    window = np.hanning(length + 1)[:-1]
    hertz = np.fft.rfftfreq(length, 1 / rate_hz)
    tops_hz = np.minimum(_BAND_HZ * np.maximum(1, np.ceil(hertz / _BAND_HZ)), rate_hz // 2)
    starts = np.flatnonzero(np.diff(tops_hz, prepend=-1))
    scale = 2 / (length * np.square(window).sum())
    return _Lens(window.astype(np.float32), k_weights(hertz).astype(np.float32), starts, tops_hz[starts], scale)


def k_weights(hertz: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """The K-weighting's gain in power by frequency; from 24 kHz up it is that of 24 kHz."""
    delay = np.exp(-2j * np.pi * np.minimum(hertz, 24_000) / 48_000)
    gain: NDArray[np.float64] = np.ones(len(hertz))
    for numerator, denominator in _K_FILTERS:
        gain *= np.abs(np.polyval(numerator[::-1], delay) / np.polyval(denominator[::-1], delay)) ** 2
    return gain
