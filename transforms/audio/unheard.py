"""Whether what VAD hears nothing in may be a voice all the same: whispered speech has no pitch, but the rhythm of
syllables, in its level and in the change of vowels and hissing, and the spectrum of neither a tone nor an instrument.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.config import SAMPLE_RATE_HZ

Frames = NDArray[np.float32]

_FRAME_SAMPLES = 512
WINDOW_FRAMES = 62
"""Two seconds: some syllables."""
_SYLLABLES_HZ = (2.0, 8.0)
"""Where speech of all languages changes most in level (Ding et al. 2017, Temporal modulations in speech and music)."""
_LOUD_POWER = 10 ** (-45 / 10)
_LEAST_LEVEL_DB, _LEAST_TILT_DB = 4.5, 3.5
"""Standard deviation at syllable rate of the level and of the spectrum's tilt. Speech that is whispered (by LPC and by
noise vocoding) has 5.3 to 10 and 3.8 to 19 dB; noise, street and alarms 0 to 5 and 0 to 7."""
_MOST_PEAK_DB = 23.0
"""The highest line of a frame over its median, 100 to 4000 Hz, in the median: white noise has 9, whispers 13 to 22,
voices 24 to 38, music and alarms 40 and more."""
_LOUD_RANGE_DB, _LEAST_LOUD_SHARE = 25.0, 0.4
"""A voice is within 25 dB of its loudest frame for half of the time and more, drums for a third."""
_MOST_HEARD_SHARE = 0.25
_SILENT = 1e-9

_HERTZ = np.fft.rfftfreq(_FRAME_SAMPLES, 1 / SAMPLE_RATE_HZ)
_TONAL = (_HERTZ >= 100) & (_HERTZ < 4000)
_LOW, _HIGH = (_HERTZ >= 100) & (_HERTZ < 1000), (_HERTZ >= 2000) & (_HERTZ < 7800)
_FRAME_HANN = np.hanning(_FRAME_SAMPLES).astype(np.float32)
_RATE = np.fft.rfftfreq(WINDOW_FRAMES, _FRAME_SAMPLES / SAMPLE_RATE_HZ)
_AT_SYLLABLES = (_SYLLABLES_HZ[0] <= _RATE) & (_SYLLABLES_HZ[1] >= _RATE)
_WINDOW_HANN = np.hanning(WINDOW_FRAMES)


class Whispers:
    """Counts windows of two seconds in which VAD heard next to nothing and that may be a voice, at fixed places of the
    stream. Costs little where somebody speaks, or where nothing is loud and changing."""

    def __init__(self) -> None:
        self._frames: list[Frames] = []
        self._powers: list[NDArray[np.float32]] = []
        self._waiting = 0
        self._heard = 0
        self.windows = 0

    def push(self, frames: Frames, powers: NDArray[np.float32], speech: NDArray[np.bool_]) -> None:
        """`frames`: (frames, 512) at 16 kHz; `powers`, `speech`: (frames,), mean squares and what VAD took for it."""
        done = 0
        while done < len(frames):
            part = slice(done, done + WINDOW_FRAMES - self._waiting)
            self._frames.append(frames[part].copy())  # a view would hold the whole block
            self._powers.append(powers[part])
            self._heard += int(np.count_nonzero(speech[part]))
            self._waiting += len(frames[part])
            done = part.stop
            if self._waiting == WINDOW_FRAMES:
                if self._heard < _MOST_HEARD_SHARE * WINDOW_FRAMES:
                    self.windows += like_a_whisper(self._frames, np.concatenate(self._powers))
                self._frames, self._powers, self._waiting, self._heard = [], [], 0, 0


def like_a_whisper(frames: list[Frames], powers: NDArray[np.float32]) -> bool:
    """`frames`: a window's, in pieces (frames, 512); `powers`: their mean squares."""
    loudest = float(powers.max())
    if loudest < _LOUD_POWER:
        return False
    decibels = np.maximum(10 * np.log10(np.maximum(powers, _SILENT)), 10 * np.log10(loudest) - 40)
    loud = decibels >= decibels.max() - _LOUD_RANGE_DB
    if loud.mean() < _LEAST_LOUD_SHARE or _at_syllable_rate(decibels) < _LEAST_LEVEL_DB:
        return False
    spectra = np.square(np.abs(np.fft.rfft(np.concatenate(frames) * _FRAME_HANN))) + _SILENT
    tonal = spectra[:, _TONAL][loud]
    peak_db = float(np.median(10 * np.log10(tonal.max(axis=1) / np.median(tonal, axis=1))))
    tilt = 10 * np.log10(spectra[:, _HIGH].sum(axis=1) / spectra[:, _LOW].sum(axis=1))
    tilt_db = _at_syllable_rate(np.where(loud, tilt, tilt[loud].mean()))
    return peak_db <= _MOST_PEAK_DB and tilt_db >= _LEAST_TILT_DB


def _at_syllable_rate(values: NDArray[np.floating[Any]]) -> float:
    """Standard deviation of a window's values by changes of _SYLLABLES_HZ alone."""
    power = np.square(np.abs(np.fft.rfft((values - values.mean()) * _WINDOW_HANN)))
    return float(np.sqrt(2 * power[_AT_SYLLABLES].sum() / (np.square(_WINDOW_HANN).sum() * WINDOW_FRAMES)))
