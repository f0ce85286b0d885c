"""Recordings that were joined into one Ogg file."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from tests.kit.sounds import Samples, click_times_ms, clicks, muxed, noise, written
from tests.kit.works import decoded, heard, work
from transforms.audio.ogg import unlike_links

_CLICKS_MS = [500, 1200, 2345, 3000, 4400]


def _opus(samples: Samples) -> bytes:
    return muxed(samples, 48_000, "ogg", "libopus")


def _link(kind: str, channels: int, rate_hz: int) -> bytes:
    sound = np.repeat(clicks(rate_hz, _CLICKS_MS, 5000)[:, None], channels, axis=1)
    if kind == "vorbis":
        return written(sound, rate_hz, "OGG")
    return muxed(sound, rate_hz, "ogg", kind)


@pytest.mark.parametrize(
    "links",
    [
        [("libopus", 1, 48_000), ("libopus", 2, 48_000)],
        [("libopus", 2, 48_000), ("libopus", 1, 48_000), ("libopus", 2, 48_000)],
        [("vorbis", 1, 44_100), ("vorbis", 1, 22_050)],
        [("vorbis", 1, 16_000), ("vorbis", 2, 48_000)],
        [("flac", 1, 48_000), ("flac", 1, 16_000)],
        [("vorbis", 1, 44_100), ("libopus", 1, 48_000), ("flac", 2, 16_000)],
    ],
    ids=str,
)
def test_recordings_of_another_rate_or_other_channels_are_read_on(
    links: list[tuple[str, int, int]], tmp_path: Path
) -> None:
    content = b"".join(_link(*link) for link in links)
    path = tmp_path / "joined.ogg"
    path.write_bytes(content)
    at_ms = [5000 * index + ms for index in range(len(links)) for ms in _CLICKS_MS]
    samples, report = decoded(content)
    assert click_times_ms(samples[0]) == pytest.approx(at_ms, abs=30)
    assert report.damage is None
    assert np.array_equal(decoded(path, block_s=0.7)[0], samples)
    assert np.array_equal(decoded(path, start_ms=6_500)[0], samples[:, 6_500 * 16 :])
    _, closing = heard(work(content))
    assert closing.duration_ms == pytest.approx(5000 * len(links), abs=60)
    assert closing.flags == []


def test_recordings_after_the_first_are_as_loud() -> None:
    one = noise(3, 48_000)
    both = np.stack([one, one], axis=1)
    for content in (_opus(one) + _opus(both), _opus(both) + _opus(one)):
        samples, _ = decoded(content)
        assert np.std(samples[0, 50_000:]) == pytest.approx(np.std(samples[0, :46_000]), rel=0.05)


def test_a_later_recording_that_breaks_off_is_noted() -> None:
    first, second = _link("libopus", 1, 48_000), _link("vorbis", 2, 44_100)
    samples, report = decoded(first + second[:200])
    assert click_times_ms(samples[0]) == pytest.approx(_CLICKS_MS, abs=30)
    assert report.damage is not None


def test_what_ffmpeg_reads_by_itself_is_left_to_it() -> None:
    one = _link("libopus", 1, 48_000)
    for content in (one, one + one, one[:20], b"", written(noise(1), 16_000)):
        assert unlike_links(io.BytesIO(content)) == []
