from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.kit.sounds import click_times_ms, clicks, muxed, tone, written
from tests.kit.works import decoded
from transforms.errors import RecordingError

_CLICKS_MS = [500, 1200, 2345, 3000, 4400]
_RATES_HZ = [8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000]


def test_hard_inputs_do_what_their_manifest_says(data: Path) -> None:
    """56 odd or damaged files; for a file that decodes, any of the named decoders' sample counts will do."""
    lines = (data / "manifest.tsv").read_text(encoding="utf-8").splitlines()
    rows = [line.split("\t") for line in lines if line.startswith("hard_inputs/")]
    assert len(rows) == 56
    wrong = {row[0]: outcome for row in rows if (outcome := _unexpected(data / row[0], row[12])) is not None}
    assert wrong == {}


def _unexpected(path: Path, expected: str) -> str | None:
    try:
        samples, _ = decoded(path)
    except RecordingError as error:
        if expected.startswith('EXPECT "no audio" verdict'):
            return None if error.kind == "no_audio" else error.message
        return None if expected.startswith("EXPECT clean error") else error.message
    named = [int(count) * 16_000 / int(rate) for count, rate in re.findall(r"=(\d+)@(\d+)", expected)]
    if any(abs(samples.shape[1] - count) <= 800 + count / 200 for count in named):
        return None
    return f"{samples.shape[1]} samples, expected one of {named}"


@pytest.mark.parametrize("rate_hz", _RATES_HZ)
def test_resampling_keeps_every_click_within_a_millisecond(rate_hz: int) -> None:
    samples, _ = decoded(written(clicks(rate_hz, _CLICKS_MS, 5000), rate_hz))
    assert click_times_ms(samples[0]) == pytest.approx(_CLICKS_MS, abs=1)
    assert samples.shape[1] == pytest.approx(80_000, abs=2)


@pytest.mark.parametrize(
    ("container", "codec", "rate_hz"),
    [
        ("mp4", "aac", 44_100),
        ("matroska", "libopus", 48_000),
        ("matroska", "pcm_s16le", 22_050),
        ("mov", "alac", 44_100),
    ],
)
def test_what_only_ffmpeg_reads_keeps_its_clicks_too(container: str, codec: str, rate_hz: int) -> None:
    samples, report = decoded(muxed(clicks(rate_hz, _CLICKS_MS, 5000), rate_hz, container, codec))
    assert click_times_ms(samples[0]) == pytest.approx(_CLICKS_MS, abs=2)
    assert (report.damage, report.header_duration_ms) == (None, pytest.approx(5000, abs=40))


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3"])
@pytest.mark.parametrize(("start_ms", "end_ms"), [(0, 2000), (1100, 2500), (2900, None), (4321, 4500), (3000, 90_000)])
def test_a_stretch_is_cut_to_the_sample(kind: str, start_ms: int, end_ms: int | None) -> None:
    """Whether the decoder could seek to it or not: times stay those of the file."""
    content = written(clicks(44_100, _CLICKS_MS, 5000), 44_100, kind)
    whole, _ = decoded(content)
    part, report = decoded(content, start_ms=start_ms, end_ms=end_ms)
    last = whole.shape[1] if end_ms is None else min(end_ms * 16, whole.shape[1])
    assert part.shape[1] == last - start_ms * 16
    assert np.abs(part - whole[:, start_ms * 16 : last]).max() < 1e-4
    assert report.read_samples == last


def test_a_stretch_beyond_the_end_is_empty_and_no_error() -> None:
    samples, report = decoded(written(tone(16_000, 2), 16_000), start_ms=5000)
    assert samples.shape[1] == 0
    assert report.read_samples == 32_000


@pytest.mark.parametrize(
    "name", ["long_talk.mp3", "radio_news.opus", "meeting_note.flac", "telephone_8khz.wav", "product_video.mp4"]
)
def test_the_size_of_blocks_changes_no_sample(examples: Path, name: str) -> None:
    whole, _ = decoded(examples / name, block_s=300.0)
    for block_s in (30.0, 0.37):
        samples, _ = decoded(examples / name, block_s=block_s)
        assert samples.shape == whole.shape
        assert np.abs(samples - whole).max() < 1e-5


@pytest.mark.parametrize("kind", ["MP3", "OGG", "FLAC", "WAV"])
def test_a_file_is_decoded_as_in_one_piece(examples: Path, kind: str) -> None:
    """A seek, even to where the decoder is, spoils the samples of an MP3 around it."""
    talk, _ = decoded(examples / "interview_clip.wav")
    content = written(talk[0], 16_000, kind)
    in_one_piece = soundfile.read(io.BytesIO(content), dtype="float32")[0]
    assert np.abs(decoded(content)[0][0] - in_one_piece).max() < 1e-5


@pytest.mark.parametrize("name", ["long_talk.mp3", "voice_memo.m4a", "support_call_stereo.flac"])
def test_bytes_decode_as_the_file_does(examples: Path, name: str) -> None:
    from_file, report = decoded(examples / name, "split")
    from_bytes, same_report = decoded((examples / name).read_bytes(), "split")
    assert np.array_equal(from_file, from_bytes)
    assert report == same_report


@pytest.mark.parametrize(
    "subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW", "MS_ADPCM"]
)
def test_every_sample_format_has_the_same_level(subtype: str) -> None:
    expected = tone(16_000, 1)
    samples, _ = decoded(written(expected, 16_000, subtype=subtype))
    assert samples.shape[1] >= 16_000
    assert np.abs(samples[0, :16_000] - expected).max() < 0.05


@pytest.mark.parametrize("count", [1, 2, 6])
def test_split_keeps_the_channels_apart_and_mix_is_their_mean(count: int) -> None:
    channels = np.stack([tone(48_000, 1, 200.0 * (index + 1)) for index in range(count)], axis=1)
    content = written(channels, 48_000, subtype="FLOAT")
    apart, _ = decoded(content, "split")
    assert apart.shape[0] == count
    for index, channel in enumerate(apart):
        assert np.argmax(np.abs(np.fft.rfft(channel[:16_000]))) == 200 * (index + 1)
    mixed, _ = decoded(content, "mix")
    assert mixed.shape == (1, apart.shape[1])
    assert np.abs(mixed[0] - apart.mean(axis=0)).max() < 1e-5


def test_samples_that_are_no_numbers_become_silence() -> None:
    samples = tone(44_100, 1)
    samples[1000:1100] = np.nan
    samples[2000], samples[3000] = np.inf, -np.inf
    mended, _ = decoded(written(samples, 44_100, subtype="FLOAT"))
    assert np.isfinite(mended).all()
    assert np.abs(mended[0, 8000:] - tone(16_000, 1)[8000 : mended.shape[1]]).max() < 0.01


def test_too_loud_samples_are_clipped_before_and_after_resampling() -> None:
    square = 40 * np.sign(tone(48_000, 1, 300.0))
    samples, _ = decoded(written(square, 48_000, subtype="FLOAT"))
    assert samples.max() == 1.0
    assert samples.min() == -1.0


def test_a_broadcast_that_changes_rate_and_channels_on_the_way_is_read_to_its_end() -> None:
    stereo = np.stack([tone(44_100, 3), tone(44_100, 3)], axis=1)
    pieces = [muxed(tone(16_000, 3), 16_000, "adts", "aac"), muxed(stereo, 44_100, "adts", "aac")]
    for content in (pieces[0] + pieces[1], pieces[1] + pieces[0]):
        samples, _ = decoded(content)
        assert samples.shape[1] == pytest.approx(6 * 16_000, abs=4000)
        for second in (1, 4):
            heard = np.abs(np.fft.rfft(samples[0, second * 16_000 : (second + 1) * 16_000]))
            assert np.argmax(heard) == pytest.approx(440, abs=1)
