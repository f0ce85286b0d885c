"""Utterances as a voice-activity detector cuts them, noise to lay over them, and sounds without speech."""

from dataclasses import dataclass, field
from random import Random

import numpy as np
from grammar import punctuated, sentence
from scipy.fft import next_fast_len
from voices import ACCENTS, RATE_HZ, TRAINED_VARIANTS, UNHEARD_VARIANTS, Speaker

HOP = 160  # samples of a feature frame, 10 ms
SHORTEST = RATE_HZ // 2


@dataclass
class Utterance:
    """Samples (float32, 16 kHz), what is said in them, and each word's start and end in seconds."""

    samples: np.ndarray
    language: str = "None"
    words: list[str] = field(default_factory=list)
    times_s: list[tuple[float, float]] = field(default_factory=list)

    @property
    def text(self) -> str:
        return " ".join(self.words)

    @property
    def seconds(self) -> float:
        return len(self.samples) / RATE_HZ


def speech(
    speaker: Speaker,
    rng: Random,
    *,
    language: str,
    longest: int = 12,
    words: list[str] | None = None,
    heard: bool = True,
) -> Utterance:
    """One or two sentences of together at most `longest` words, or the given words, in one voice.

    heard: a voice and a speed of the training set; otherwise of those kept for scores.
    """
    spoken = words or sentence(rng, language, longest)
    if words is None and len(spoken) <= longest - 3 and rng.random() < 0.2:
        spoken = spoken + sentence(rng, language, longest - len(spoken))
    variant = rng.choice(TRAINED_VARIANTS if heard else UNHEARD_VARIANTS)
    samples, times_s = speaker.say(
        " ".join(spoken),
        f"{rng.choice(ACCENTS[language])}+{variant}",
        words_per_minute=rng.randrange(100 if heard else 102, 201, 4),
        pitch=rng.randint(30, 70),
        gap_10ms=rng.choice([0, 0, 0, 1, 2, 4]),
    )
    if times_s is None:
        again = None if words is None else punctuated(rng.sample([w.strip(".,?") for w in words], len(words)))
        return speech(speaker, rng, language=language, longest=longest, words=again, heard=heard)
    samples = samples[: np.flatnonzero(np.abs(samples) > 1e-3)[-1] + 1]
    return in_silence(Utterance(samples, language, spoken, times_s), *_margins_s(rng))


def _margins_s(rng: Random) -> tuple[float, float]:
    """Silence before and after: mostly a detector's padding, sometimes a long wait, sometimes hardly any."""
    kind = rng.random()
    if kind < 0.12:
        return rng.uniform(0.3, 1.0), rng.uniform(0.3, 1.0)
    if kind < 0.25:
        return rng.uniform(0.0, 0.05), rng.uniform(0.0, 0.05)
    return rng.uniform(0.05, 0.6), rng.uniform(0.05, 0.6)


def in_silence(spoken: Utterance, before_s: float, after_s: float) -> Utterance:
    """The utterance between two silences, padded to whole frames and to half a second."""
    before, after = int(before_s * RATE_HZ), int(after_s * RATE_HZ)
    times_s = [(start + before / RATE_HZ, end + before / RATE_HZ) for start, end in spoken.times_s]
    samples = _whole_frames(np.pad(spoken.samples, (before, after)))
    return Utterance(samples, spoken.language, spoken.words, times_s)


def joined(parts: list[Utterance]) -> Utterance:
    """Utterances of one language in a row."""
    whole = Utterance(np.concatenate([part.samples for part in parts]), parts[0].language)
    at = 0.0
    for part in parts:
        whole.words += part.words
        whole.times_s += [(start + at, end + at) for start, end in part.times_s]
        at += part.seconds
    return whole


def with_noise(spoken: Utterance, rng: Random, noise_rng: np.random.Generator) -> Utterance:
    """A random level, and in 60 % of cases coloured noise 10 to 45 dB below the speech."""
    samples = spoken.samples / (np.abs(spoken.samples).max() + 1e-6) * 10 ** rng.uniform(-1.2, -0.02)
    if rng.random() < 0.6:
        noise = coloured_noise(noise_rng, len(samples), rng.uniform(0, 0.8))
        level = np.sqrt(np.mean(samples**2)) * 10 ** (-rng.uniform(10, 45) / 20)
        samples = samples + noise / (np.sqrt(np.mean(noise**2)) + 1e-9) * level
    return Utterance(np.clip(samples, -1, 1).astype(np.float32), spoken.language, spoken.words, spoken.times_s)


def no_speech(rng: Random, noise_rng: np.random.Generator) -> Utterance:
    """Half a second to eight of silence, hiss, hum or clicks."""
    count = int(rng.uniform(0.5, 8) * RATE_HZ)
    kind = rng.random()
    samples = np.zeros(count)
    if kind > 0.2:
        samples = coloured_noise(noise_rng, count, rng.uniform(0, 1))
        samples = samples / np.abs(samples).max() * 10 ** rng.uniform(-3.5, -0.3)
    if kind > 0.6:
        seconds = np.arange(count) / RATE_HZ
        for _ in range(rng.randint(1, 4)):
            hum = np.sin(2 * np.pi * rng.uniform(50, 3000) * seconds)
            samples = samples + 10 ** rng.uniform(-3, -0.7) * hum
    if kind > 0.8:
        for _ in range(rng.randint(1, 10)):
            samples[rng.randrange(count)] += rng.uniform(-0.8, 0.8)
    return Utterance(_whole_frames(np.clip(samples, -1, 1).astype(np.float32)))


def coloured_noise(noise_rng: np.random.Generator, count: int, slope: float) -> np.ndarray:
    """`count` samples of noise whose spectrum falls with frequency to the power `slope`: 0 is white, 1 red."""
    size = next_fast_len(count, real=True)  # a prime length would cost more than the speech
    spectrum = np.fft.rfft(noise_rng.standard_normal(size))
    return np.fft.irfft(spectrum / (np.arange(len(spectrum)) + 1) ** slope, size)[:count]


def _whole_frames(samples: np.ndarray) -> np.ndarray:
    return np.pad(samples, (0, max(SHORTEST - len(samples), -len(samples) % HOP)))
