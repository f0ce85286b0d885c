"""Channels to one: as FFmpeg mixes them, and not to silence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.kit.lake import cut
from tests.kit.sounds import Samples, noise, tone, written
from tests.kit.works import decoded, heard, work
from transforms.audio.mixing import mix_weights

_SECONDS = 6


def speech() -> Samples:
    return cut(0, _SECONDS)


def _power(samples: Samples) -> float:
    return float(np.square(samples, dtype=np.float64).mean())


@pytest.mark.parametrize(
    "other",
    [lambda one: -one, lambda one: -0.8 * one, lambda one: -np.roll(one, 2), lambda one: -one + noise(_SECONDS) / 100],
    ids=["inverted", "attenuated", "delayed", "with noise"],
)
@pytest.mark.parametrize("kind", ["FLAC", "WAV"])
def test_channels_that_cancel_are_not_mixed_to_silence(other: object, kind: str) -> None:
    one = speech()
    content = written(np.stack([one, other(one)], axis=1), 16_000, kind)  # type: ignore[operator]
    for block_s in (0.37, 30.0):
        samples, report = decoded(content, block_s=block_s)
        assert report.phase_cancelled
        assert _power(samples[0] - one) < 0.05 * _power(one)
    _, closing = heard(work(content))
    assert closing.flags == ["phase_cancelled"]


def test_channels_that_cancel_for_a_while_or_of_three() -> None:
    one = speech()
    other = one.copy()
    other[2 * 16_000 : 4 * 16_000] *= -1
    samples, report = decoded(written(np.stack([one, other], axis=1), 16_000))
    assert report.phase_cancelled
    assert np.abs(samples[0] - one).max() < 1e-3
    samples, report = decoded(written(np.stack([one, -one / 2, -one / 2], axis=1), 16_000))
    assert report.phase_cancelled
    assert np.abs(samples[0] - one).max() < 1e-3
    late, _ = decoded(written(np.stack([one, other], axis=1), 16_000), start_ms=3_100)
    assert np.abs(late[0] - one[3_100 * 16 :]).max() < 1e-3


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 16_000, 44_100, 48_000, 11_127])
def test_channels_that_cancel_between_any_two_points_are_heard(rate_hz: int) -> None:
    one = noise(6, rate_hz)
    other = one.copy()
    other[int(1.35 * rate_hz) : int(2.75 * rate_hz)] *= -1
    content = written(np.stack([one, other], axis=1), rate_hz)
    samples, report = decoded(content)
    assert report.phase_cancelled
    tenths = np.square(samples[0, : 5 * 16_000].reshape(-1, 1_600)).mean(axis=1)
    assert np.sum(tenths < tenths.max() / 10) <= 2
    for stretch in ({"start_ms": 2_100}, {"start_ms": 2_100, "block_s": 0.13}):
        assert np.abs(decoded(content, **stretch)[0][0] - samples[0, 2_100 * 16 :]).max() < 1e-3


@pytest.mark.parametrize("gain", [1.0, 0.5, 0.0])
def test_ordinary_stereo_is_its_mean(gain: float) -> None:
    one = speech()
    for other in (gain * one, noise(_SECONDS)):
        samples, report = decoded(written(np.stack([one, other], axis=1), 16_000, subtype="FLOAT"))
        assert not report.phase_cancelled
        assert np.abs(samples[0] - (one + other) / 2).max() < 1e-6


def test_surround_is_mixed_as_ffmpeg_does() -> None:
    assert mix_weights(2, "stereo").tolist() == [0.5, 0.5]
    assert mix_weights(6, "5.1") * 3.4142 == pytest.approx([0.7071, 0.7071, 1, 0, 0.5, 0.5], abs=1e-3)
    assert mix_weights(6, "6 channels") == pytest.approx(np.full(6, 1 / 6))
    assert mix_weights(8, "7.1")[3] == 0
    voice = speech()
    rumble = 0.5 * tone(16_000, _SECONDS, 40.0)
    quiet = np.zeros_like(voice)
    for kind in ("WAVEX", "FLAC"):
        content = written(np.stack([quiet, quiet, voice, rumble, quiet, quiet], axis=1), 16_000, kind)
        samples, _ = decoded(content)
        assert _power(samples[0] * 3.4142 - voice) < 1e-3 * _power(voice)


def test_channels_that_are_equal_say_it_once() -> None:
    one = speech()
    for other in (one, -one, 0.7 * one, one + noise(_SECONDS) / 1000):
        content = written(np.stack([one, other], axis=1), 16_000)
        chunks, _ = heard(work(content, channels="split"))
        assert {chunk.channel for chunk in chunks} == {0}
        assert np.abs(decoded(content, "split")[0][1]).max() == 0
    call, _ = decoded(written(np.stack([one, np.roll(one, 4_000)], axis=1), 16_000), "split")
    assert np.abs(call[1]).max() > 0.1


@pytest.mark.parametrize("name", ["antiphase.flac", "film_c.ac3"])
def test_odd_inputs_are_heard(data: Path, name: str) -> None:
    samples, report = decoded(data / "odd_inputs" / name)
    assert report.phase_cancelled == (name == "antiphase.flac")
    assert 10 * np.log10(_power(samples)) > -40
