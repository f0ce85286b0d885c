"""Blocks of audio → spans of speech, streamed: Silero VAD, then a hysteresis over its probabilities.

Spans do not depend on how the audio was cut into blocks. Sample positions count from the first sample given.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.config import SAMPLE_RATE_HZ, VadConfig
from transforms.audio.quality import VoicePower
from transforms.audio.silero import CONTEXT_SAMPLES, FRAME_SAMPLES, STATE_SHAPE, listen
from transforms.audio.unheard import Whispers

_QUIET_FRAMES = 5
"""A forced cut looks for the quietest stretch of this many frames (160 ms, the length of a short pause between
words)."""
_SILENCE_FLOOR = 1e-10
_LOOK_FRAMES = 31
"""About every second of the stream VAD looks whether it heard anything in it, and forgets all if not: in silence
the cells of its state grow without end (to 487 in ten minutes of zeros), and what is said then goes unheard."""
_HISS = (10 ** (-80 / 20) * np.random.default_rng(0).standard_normal(FRAME_SAMPLES)).astype(np.float32)
"""VAD hears no digital silence, which it never learned and after which it misses words, but a room at -80 dBFS."""
_NOISE_PROBABILITY = 0.05
"""Below, a frame is the room's alone: the last of a word fades above it."""


class Span(NamedTuple):
    """Speech in samples [start, end)."""

    start: int
    end: int


class SpeechFinder:
    """Finds speech in one channel. A span is at most `max_span_samples` long: longer speech is cut at its quietest
    point.

    `push` and `finish` return the spans that have ended; `settled` is a position before which nothing new will appear.
    `voice` tells how loud the speech was, and what is heard between.
    """

    def __init__(self, config: VadConfig, max_span_samples: int) -> None:
        self._config = config
        self._min_silence = _frames(config.min_silence_ms)
        self._min_speech = _frames(config.min_speech_ms)
        self._max_frames = max(2 * _QUIET_FRAMES, max_span_samples // FRAME_SAMPLES)
        self._state = np.zeros(STATE_SHAPE, dtype=np.float32)
        self._context = np.zeros(CONTEXT_SAMPLES, dtype=np.float32)
        self._heard = 0.0
        """The highest probability since the last look."""
        self._rest = np.zeros((2, 0), dtype=np.float32)
        self._frame = 0
        self._start: int | None = None
        self._cut_before = False
        self._silent_since: int | None = None
        self._powers: list[float] = []
        self.voice = VoicePower()
        self._whispers = Whispers()

    @property
    def settled(self) -> int:
        return (self._frame if self._start is None else self._start) * FRAME_SAMPLES

    @property
    def speech(self) -> Span | None:
        """What is said now, and has not ended as far as is heard."""
        return None if self._start is None else Span(self._start * FRAME_SAMPLES, self._frame * FRAME_SAMPLES)

    def push(self, samples: NDArray[np.float32], recorded: NDArray[np.float32] | None = None) -> list[Span]:
        """`samples`: 16 kHz float32, 1-D, of any length; `recorded`: the same as they were before their level was
        changed, for `voice`."""
        pair = np.stack([samples, samples if recorded is None else recorded])
        audio = np.concatenate([self._rest, pair], axis=1)
        whole = audio.shape[1] // FRAME_SAMPLES * FRAME_SAMPLES
        self._rest = audio[:, whole:]
        return self._advance(*audio[:, :whole].reshape(2, -1, FRAME_SAMPLES)) if whole else []

    def flush(self) -> list[Span]:
        """Ends the span that is open, as if a pause had come; less than a frame may be unheard yet."""
        return [] if self._start is None else self._close(self._frame)

    def finish(self) -> list[Span]:
        """Ends the stream; the last frame is filled with silence, and no span reaches beyond the last sample."""
        left = self._rest.shape[1]
        total = self._frame * FRAME_SAMPLES + left
        spans = self.push(*np.zeros((2, FRAME_SAMPLES - left), dtype=np.float32)) if left else []
        if self._start is not None:
            spans += self._close(self._frame if self._silent_since is None else self._silent_since)
        return [Span(span.start, min(span.end, total)) for span in spans]

    def _advance(self, frames: NDArray[np.float32], recorded: NDArray[np.float32]) -> list[Span]:
        spans: list[Span] = []
        powers = np.square(recorded).mean(axis=1)
        probabilities = self._probabilities(frames)
        speech = probabilities >= self._config.threshold
        self.voice.add(powers, speech, probabilities < _NOISE_PROBABILITY)
        self._whispers.push(recorded, powers, speech)
        self.voice.whispered_windows = self._whispers.windows
        for probability, power in zip(probabilities, powers, strict=True):
            spans += self._step(float(probability), float(power))
        return spans

    def _probabilities(self, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        frames = frames + _HISS
        contexts = np.concatenate([self._context[None], frames[:-1, -CONTEXT_SAMPLES:]])
        self._context = frames[-1, -CONTEXT_SAMPLES:].copy()
        inputs = np.concatenate([contexts, frames], axis=1)
        found, done = [], 0
        while done < len(inputs):
            # Looks are at fixed places of the stream, so that blocks make no difference.
            ahead = _LOOK_FRAMES - (self._frame + done) % _LOOK_FRAMES
            heard, self._state = listen(inputs[done : done + ahead], self._state)
            found.append(heard)
            done += len(found[-1])
            self._heard = max(self._heard, float(found[-1].max()))
            if (self._frame + done) % _LOOK_FRAMES == 0:
                if self._heard < _NOISE_PROBABILITY:
                    self._state = np.zeros_like(self._state)
                self._heard = 0.0
        return np.concatenate(found)

    def _step(self, probability: float, power: float) -> list[Span]:
        frame, self._frame = self._frame, self._frame + 1
        if self._start is None:
            if probability >= self._config.threshold:
                self._start, self._cut_before, self._silent_since, self._powers = frame, False, None, [power]
            return []
        self._powers.append(power)
        if probability >= self._config.threshold:
            self._silent_since = None
        elif probability < self._config.end_threshold:
            self._silent_since = frame if self._silent_since is None else self._silent_since
            if self._frame - self._silent_since >= self._min_silence:
                return self._close(self._silent_since)
        return self._cut() if self._frame - self._start >= self._max_frames else []

    def _close(self, end: int) -> list[Span]:
        start, self._start = self._start, None
        assert start is not None
        long_enough = end - start >= self._min_speech or self._cut_before
        return [Span(start * FRAME_SAMPLES, end * FRAME_SAMPLES)] if long_enough and end > start else []

    def _cut(self) -> list[Span]:
        """Splits speech that is too long at the quietest point of its second half; what follows stays open."""
        assert self._start is not None
        start, cut = self._start, self._start + quietest(np.array(self._powers), self._max_frames // 2)
        self._powers = self._powers[cut - start :]
        self._start, self._cut_before = cut, True
        return [Span(start * FRAME_SAMPLES, cut * FRAME_SAMPLES)]


def quietest(powers: NDArray[np.floating[Any]], first: int = 0) -> int:
    """The middle of the quietest _QUIET_FRAMES values of mean power (linear) from index `first` on; the first of
    equals.

    Shape (frames,), at least first + _QUIET_FRAMES long.
    """
    decibels = np.round(10 * np.log10(np.maximum(powers[first:], _SILENCE_FLOOR)), 1)
    smooth = np.convolve(decibels, np.ones(_QUIET_FRAMES), mode="valid")
    return first + int(np.argmin(np.round(smooth, 1))) + _QUIET_FRAMES // 2


def quietest_sample(samples: NDArray[np.float32], first: int = 0, last: int | None = None) -> int:
    """`quietest` in samples [first, last) of 16 kHz audio, for cuts where VAD is not asked. Shape (samples,), or
    (channels, samples) for a cut through all of them. At least half a second must lie between `first` and `last`.
    """
    power = np.square(np.atleast_2d(samples[..., first:last])).mean(axis=0)
    frames = power[: len(power) // FRAME_SAMPLES * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)
    return first + quietest(frames.mean(axis=1)) * FRAME_SAMPLES


def _frames(duration_ms: int) -> int:
    return -(-duration_ms * SAMPLE_RATE_HZ // (1000 * FRAME_SAMPLES))
