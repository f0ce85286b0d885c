"""Quiet voices are lifted, nothing else is touched."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.config import Config
from tests.kit.sounds import Samples, noise, tone
from tests.kit.works import decoded
from transforms.audio.channel import Channel
from transforms.audio.level import Leveller, lifted_voices


def _levelled(samples: Samples, sizes: Sequence[int] = ()) -> Samples:
    """Pushed in blocks of `sizes`, then the rest in one."""
    leveller, at, found = Leveller(), 0, []
    for size in [*sizes, len(samples)]:
        found.append(leveller.push(samples[at : at + size]))
        at += size
    found.append(leveller.finish())
    levelled, recorded = (np.concatenate(parts) for parts in zip(*found, strict=True))
    assert np.array_equal(recorded, samples)
    return levelled


def _at(samples: Samples, decibels: float) -> Samples:
    return samples * np.float32(10 ** (decibels / 20))


def _speech_s(samples: Samples) -> float:
    channel = Channel(Config().vad, Config().packing)
    return sum(chunk.speech_ms for chunk in [*channel.push(samples), *channel.finish()]) / 1000


@pytest.fixture
def talk(examples: Path) -> Samples:
    (sound,), _ = decoded(examples / "meeting_note.flac")
    return sound[: 16_000 * 10 + 77]


@settings(max_examples=20, deadline=None)
@given(sizes=st.lists(st.integers(0, 30_000), max_size=12), length=st.integers(0, 100_000))
def test_levels_do_not_depend_on_blocks(sizes: list[int], length: int) -> None:
    sound = np.concatenate([_at(noise(2), -40), _at(tone(16_000, 1.3), -25), noise(2), _at(noise(2, seed=1), -70)])
    sound = sound[:length]
    assert np.array_equal(_levelled(sound, sizes), _levelled(sound))


@pytest.mark.parametrize("gain_db", [-12, -6, 0])
def test_what_has_a_usual_level_passes_bit_for_bit(talk: Samples, gain_db: float) -> None:
    sound = _at(talk, gain_db)
    assert np.mean(_levelled(sound) == sound) > 0.99


@pytest.mark.parametrize("decibels", [0, -20, -40, -60])
def test_steady_noise_and_silence_are_never_lifted(decibels: float) -> None:
    for sound in (noise(30), tone(16_000, 10), np.zeros(50_000, np.float32)):
        assert np.array_equal(_levelled(_at(sound, decibels)), _at(sound, decibels))


@pytest.mark.parametrize("gain_db", [-30, -40, -50])
def test_as_much_is_heard_of_a_quiet_voice(talk: Samples, gain_db: float) -> None:
    """-50 dB makes it -73 dBFS in the mean, where VAD hears nothing at all."""
    assert _speech_s(_at(talk, gain_db)) > 0.95 * _speech_s(talk)


def test_a_voice_30_db_below_the_other_is_heard_too(talk: Samples) -> None:
    turn = talk[: 16_000 * 5]
    quiet = np.concatenate([turn, _at(turn, -30), turn])
    assert _speech_s(quiet) > 0.9 * _speech_s(np.concatenate([turn] * 3))


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(-75, 0), min_size=1, max_size=8), st.integers(0, 2000))
def test_nothing_clips_however_suddenly_it_gets_loud(levels: list[float], click: int) -> None:
    """Bursts of a click in a frame, the peakiest sound there is, between quiet ones."""
    sound = np.zeros(len(levels) * 8_000, np.float32)
    for index, level in enumerate(levels):
        sound[index * 8_000 + click] = 10 ** (level / 20)
    sound += _at(noise(len(sound) / 16_000), -80)
    assert np.abs(_levelled(np.clip(sound, -1, 1))).max() <= 1.0


def test_quiet_speech_in_24_bits_is_found(data: Path) -> None:
    (sound,), _ = decoded(data / "odd_inputs" / "quiet50.wav")
    assert _speech_s(sound) > 2


def test_engines_hear_a_loud_voice_as_recorded_and_what_is_lifted_where_it_speaks() -> None:
    """A breath at -45 dBFS between words of -20 dBFS is lifted for VAD alone, a word at -45 dBFS for all."""
    breath = _at(noise(0.3), -45)
    pauses = _at(noise(2.4), -70)
    recorded = np.concatenate([_at(tone(16_000, 1.0), -20), pauses, breath, pauses, breath, pauses])
    levelled = _levelled(recorded)
    first, second = (16_000 + at for at in (int(2.4 * 16_000), int(5.1 * 16_000)))
    assert all(np.abs(levelled[at : at + 4_800] / recorded[at : at + 4_800]).mean() > 2 for at in (first, second))
    heard = lifted_voices(levelled, recorded, [(0, 16_000), (second, second + 4_800)])
    assert np.array_equal(heard[: second - 16_000], recorded[: second - 16_000])
    assert np.array_equal(heard[second : second + 4_800], levelled[second : second + 4_800])


@pytest.mark.parametrize("folder", ["librispeech_test_other", "ljspeech_coqui"])
def test_engines_hear_read_speech_as_recorded(data: Path, folder: str) -> None:
    """All but the ends of two words of the first folder, where the leveller lifts breaths in 19 of 50 clips."""
    heard = equal = 0
    for path in sorted((data / folder).glob("*.flac")):
        (sound,), _ = decoded(path)
        channel = Channel(Config().vad, Config().packing)
        for chunk in [*channel.push(sound), *channel.finish()]:
            recorded = sound[chunk.start_ms * 16 :][: len(chunk.samples)]
            heard, equal = heard + len(recorded), equal + np.count_nonzero(chunk.samples == recorded)
    assert equal > 0.998 * heard
