"""A stream of samples → the same at a usual level: a voice that is too quiet for VAD and engines is lifted to where
they hear it. What has a usual level passes as it is, bit for bit, and so does steady noise. VAD hears the breaths
lifted, too, that lie in the pauses of a loud voice; engines hear them as they are.

What is lifted, and how far, depends on some seconds of the stream alone: on neither blocks nor where the stream began.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from schemas.config import SAMPLE_RATE_HZ

Samples = NDArray[np.float32]

_FRAME_SAMPLES = 512
_WINDOW_FRAMES = 8
WINDOW_SAMPLES = _FRAME_SAMPLES * _WINDOW_FRAMES
"""A gain is found every 256 ms, about a syllable."""
_AHEAD, _BEHIND = 1, 2
"""The loudest frame of so many windows around one is its level. What lies ahead makes a loud sound find its gain low
already, and costs a window of delay; less behind than VAD's padding is long, so that a quiet voice may answer a loud
one at once."""
_VOICE_WINDOWS = 3 * SAMPLE_RATE_HZ // WINDOW_SAMPLES
_SAME_VOICE_POWER = 10 ** (-15 / 10)
"""What is within 15 dB of the loudest frame of the last three seconds is of the same voice, and has its level: the end
of a sentence is not lifted beyond its beginning."""
_FLOOR_WINDOWS = 10 * SAMPLE_RATE_HZ // WINDOW_SAMPLES
"""The quietest frame of the last ten seconds is the room."""
_USUAL_POWER = 10 ** (-35 / 10)
"""-35 dBFS in the loudest frame, where speech at -23 LUFS has -14: from there down Silero begins to miss words, above
all after a louder voice, and at -60 finds none."""
_LIFTED_POWER = 10 ** (-28 / 10)
"""Where voices are lifted to, those near the usual level less. A sample is at most sqrt(512) times its frame's level
(27 dB), so nothing can clip."""
_LEAST_POWER = 10 ** (-80 / 10)
"""Below, there is nothing but the rounding of 16 bits and what the converter hisses."""
_OVER_FLOOR = 10 ** (10 / 10)
"""Speech stands so far above the room; frames of steady noise differ by less."""


_LEAST_VOICE_SAMPLES = SAMPLE_RATE_HZ // 10


class Leveller:
    """Lifts one channel of 16 kHz audio. `push` and `finish` return what is ready, (levelled, as recorded), of the same
    length and both 1-D float32; all that was pushed has come out after `finish`. Not for several threads at once."""

    def __init__(self) -> None:
        self._waiting = np.zeros(0, dtype=np.float32)
        self._loudest: deque[float] = deque(maxlen=_VOICE_WINDOWS)
        self._quietest: deque[float] = deque(maxlen=_FLOOR_WINDOWS)
        self._measured = 0
        """Windows of `_waiting` whose powers are known."""
        self._gain = 1.0

    def push(self, samples: Samples) -> tuple[Samples, Samples]:
        """`samples`: 1-D float32 of any length."""
        self._waiting = np.concatenate([self._waiting, samples])
        return self._ready(len(self._waiting) // WINDOW_SAMPLES, ended=False)

    def finish(self) -> tuple[Samples, Samples]:
        return self._ready(-(-len(self._waiting) // WINDOW_SAMPLES), ended=True)

    def _ready(self, windows: int, ended: bool) -> tuple[Samples, Samples]:
        """All but the last `_AHEAD` of the waiting windows."""
        gains: list[float] = []
        new = self._waiting[self._measured * WINDOW_SAMPLES : windows * WINDOW_SAMPLES]
        # The last window goes on as it is: silence would be taken for the room.
        whole = np.pad(new, (0, -len(new) % WINDOW_SAMPLES), mode="wrap") if ended and len(new) else new
        powers = np.square(whole.reshape(-1, _FRAME_SAMPLES)).mean(axis=1).reshape(-1, _WINDOW_FRAMES)
        for loudest, quietest in zip(powers.max(axis=1).tolist(), powers.min(axis=1).tolist(), strict=True):
            self._loudest.append(loudest)
            self._quietest.append(quietest)
            self._measured += 1
            if self._measured > _AHEAD + len(gains):
                gains.append(self._wanted())
        while ended and len(gains) < windows:
            self._loudest.append(0.0)
            gains.append(self._wanted())
        done = len(gains) * WINDOW_SAMPLES
        recorded, self._waiting = self._waiting[:done], self._waiting[done:].copy()
        self._measured -= len(gains)
        return self._lifted(recorded, gains), recorded

    def _wanted(self) -> float:
        recent, floor = list(self._loudest), min(self._quietest)
        level, voice = max(recent[-(_BEHIND + 1 + _AHEAD) :]), max(recent)
        level = voice if level >= voice * _SAME_VOICE_POWER else level
        if _LEAST_POWER <= level < _USUAL_POWER and level >= floor * _OVER_FLOOR:
            return float(min(_USUAL_POWER / level, (_LIFTED_POWER / level) ** 0.5))
        return 1.0

    def _lifted(self, recorded: Samples, gains: list[float]) -> Samples:
        before, self._gain = self._gain, gains[-1] if gains else self._gain
        if before == 1.0 and all(gain == 1.0 for gain in gains):
            return recorded
        lifted = recorded.copy()
        for index, gain in enumerate(gains):
            window = lifted[index * WINDOW_SAMPLES : (index + 1) * WINDOW_SAMPLES]
            if gain != before:  # over a frame, so that nothing clicks
                window[:_FRAME_SAMPLES] *= np.linspace(before, gain, _FRAME_SAMPLES, dtype=np.float32)[: len(window)]
                window[_FRAME_SAMPLES:] *= np.float32(gain)
            elif gain != 1.0:
                window *= np.float32(gain)
            before = gain
        return lifted


def lifted_voices(levelled: Samples, recorded: Samples, speech: Iterable[tuple[int, int]]) -> Samples:
    """`recorded`, and where something is lifted that holds 100 ms of `speech` (in samples [start, end)), `levelled`.
    All that one stretch of lifted sound holds is lifted or is not. A new array."""
    samples = recorded.copy()
    blocks = -(-len(samples) // WINDOW_SAMPLES)
    starts = np.arange(blocks) * WINDOW_SAMPLES
    # Blocks, since single samples may be equal: zeros.
    lifted = np.logical_or.reduceat(levelled != recorded, starts) if blocks else np.zeros(0, bool)
    edges = np.flatnonzero(np.diff(lifted, prepend=False, append=False)) * WINDOW_SAMPLES
    for first, last in edges.reshape(-1, 2).tolist():
        voiced = sum(max(0, min(end, last) - max(start, first)) for start, end in speech)
        if voiced >= _LEAST_VOICE_SAMPLES:
            samples[first:last] = levelled[first:last]
    return samples
