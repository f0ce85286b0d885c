"""A voice that VAD does not hear is counted; noise, music, tones and alarms are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from schemas.config import Config
from tests.kit.sounds import Samples, noise, tone
from tests.kit.works import decoded
from transforms.audio.channel import Channel
from transforms.publishing.figures import unheard

_BAND_CENTRES_HZ = np.geomspace(300, 5_000, 4)


def whispered(speech: Samples) -> Samples:
    """Speech in which noise has taken the place of the voice, in four bands that keep their levels: what a noise
    vocoder does (Shannon et al. 1995, Speech recognition with primarily temporal cues)."""
    hertz = np.fft.rfftfreq(len(speech), 1 / 16_000)
    smoothing = np.exp(-0.5 * (hertz / 20) ** 2)
    voice, hiss = np.fft.rfft(speech), np.fft.rfft(noise(len(speech) / 16_000 + 1)[: len(speech)])
    out = np.zeros(len(speech))
    for centre_hz in _BAND_CENTRES_HZ:
        band = np.exp(-0.5 * (np.log2(np.maximum(hertz, 1) / centre_hz) / 0.6) ** 2)
        power = np.fft.irfft(np.fft.rfft(np.square(np.fft.irfft(voice * band, len(speech)))) * smoothing, len(speech))
        carrier = np.fft.irfft(hiss * band, len(speech))
        out += np.sqrt(np.maximum(power, 0)) * carrier / np.sqrt(np.mean(np.square(carrier)))
    return (0.1 * out / np.sqrt(np.mean(np.square(out)))).astype(np.float32)


def _unheard(samples: Samples, block: int = 480_000) -> bool:
    channel = Channel(Config().vad, Config().packing)
    for at in range(0, len(samples), block):
        channel.push(samples[at : at + block])
    channel.finish()
    return unheard([vars(channel.voice)])


@pytest.mark.parametrize("name", ["meeting_note.flac", "interview_clip.wav"])
def test_whispered_speech_is_told(examples: Path, name: str) -> None:
    (speech,), _ = decoded(examples / name)
    voice = whispered(speech[: 16_000 * 30])
    assert _unheard(voice)
    assert _unheard(np.concatenate([noise(20) / 30, voice]))
    assert _unheard(voice, 1_600)


@pytest.mark.parametrize("gain", [1.0, 0.1, 0.001])
def test_noise_tones_and_beats_are_no_voice(gain: float) -> None:
    hiss, beat = noise(20), np.where(np.arange(320_000) % 4_000 < 2_000, 1, 0.05)
    for sound in (hiss, tone(16_000, 20), hiss * beat, tone(16_000, 20) * beat, np.zeros(320_000, np.float32)):
        assert not _unheard((gain * sound).astype(np.float32))


def test_a_whisper_that_is_barely_there_is_nothing_to_look_for(examples: Path) -> None:
    (speech,), _ = decoded(examples / "meeting_note.flac")
    assert not _unheard(whispered(speech[: 16_000 * 20]) * np.float32(0.001))


def test_recordings_without_speech_are_not_told(data: Path) -> None:
    told = []
    for path in sorted((data / "no_speech").iterdir()):
        (sound,), _ = decoded(path)
        if _unheard(sound):
            told.append(path.name)
    assert told == []
