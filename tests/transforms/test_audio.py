from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import soundfile

from tests.sounds import Samples, click_times_ms, clicks, muxed, noise, silent_film, tone, written
from transforms.audio import DecodeReport, read_audio
from transforms.errors import RecordingError

_CLICKS_MS = [500, 1200, 2345, 3000, 4400]
_RATES_HZ = [8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000]


def _decoded(
    content: bytes | Path, channels: Literal["mix", "split"] = "mix", block_s: float = 30.0, **stretch: Any
) -> tuple[Samples, DecodeReport]:
    source, report = io.BytesIO(content) if isinstance(content, bytes) else content, DecodeReport()
    blocks = list(read_audio(source, "a file", channels, report, block_s=block_s, **stretch))
    for block in blocks:
        assert block.dtype == np.float32
        assert block.flags.c_contiguous
        assert block.ndim == 2
        assert np.abs(block).max() <= 1.0
    return np.concatenate(blocks, axis=1) if blocks else np.zeros((1, 0), np.float32), report


def test_hard_inputs_do_what_their_manifest_says(data: Path) -> None:
    """56 odd or damaged files; for a file that decodes, any of the named decoders' sample counts will do."""
    lines = (data / "manifest.tsv").read_text(encoding="utf-8").splitlines()
    rows = [line.split("\t") for line in lines if line.startswith("hard_inputs/")]
    assert len(rows) == 56
    wrong = {row[0]: outcome for row in rows if (outcome := _unexpected(data / row[0], row[12])) is not None}
    assert wrong == {}


def _unexpected(path: Path, expected: str) -> str | None:
    try:
        samples, _ = _decoded(path)
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
    samples, _ = _decoded(written(clicks(rate_hz, _CLICKS_MS, 5000), rate_hz))
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
    samples, report = _decoded(muxed(clicks(rate_hz, _CLICKS_MS, 5000), rate_hz, container, codec))
    assert click_times_ms(samples[0]) == pytest.approx(_CLICKS_MS, abs=2)
    assert (report.damage, report.header_duration_ms) == (None, pytest.approx(5000, abs=40))


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3"])
@pytest.mark.parametrize(("start_ms", "end_ms"), [(0, 2000), (1100, 2500), (2900, None), (4321, 4500), (3000, 90_000)])
def test_a_stretch_is_cut_to_the_sample(kind: str, start_ms: int, end_ms: int | None) -> None:
    """Whether the decoder could seek to it or not: times stay those of the file."""
    content = written(clicks(44_100, _CLICKS_MS, 5000), 44_100, kind)
    whole, _ = _decoded(content)
    part, report = _decoded(content, start_ms=start_ms, end_ms=end_ms)
    last = whole.shape[1] if end_ms is None else min(end_ms * 16, whole.shape[1])
    assert part.shape[1] == last - start_ms * 16
    assert np.abs(part - whole[:, start_ms * 16 : last]).max() < 1e-4
    assert report.read_samples == last


def test_a_stretch_beyond_the_end_is_empty_and_no_error() -> None:
    samples, report = _decoded(written(tone(16_000, 2), 16_000), start_ms=5000)
    assert samples.shape[1] == 0
    assert report.read_samples == 32_000


@pytest.mark.parametrize(
    "name", ["long_talk.mp3", "radio_news.opus", "meeting_note.flac", "telephone_8khz.wav", "product_video.mp4"]
)
def test_the_size_of_blocks_changes_no_sample(examples: Path, name: str) -> None:
    whole, _ = _decoded(examples / name, block_s=300.0)
    for block_s in (30.0, 0.37):
        samples, _ = _decoded(examples / name, block_s=block_s)
        assert samples.shape == whole.shape
        assert np.abs(samples - whole).max() < 1e-5


@pytest.mark.parametrize("kind", ["MP3", "OGG", "FLAC", "WAV"])
def test_a_file_is_decoded_as_in_one_piece(examples: Path, kind: str) -> None:
    """A seek, even to where the decoder is, spoils the samples of an MP3 around it."""
    talk, _ = _decoded(examples / "interview_clip.wav")
    content = written(talk[0], 16_000, kind)
    in_one_piece = soundfile.read(io.BytesIO(content), dtype="float32")[0]
    assert np.abs(_decoded(content)[0][0] - in_one_piece).max() < 1e-5


@pytest.mark.parametrize("name", ["long_talk.mp3", "voice_memo.m4a", "support_call_stereo.flac"])
def test_bytes_decode_as_the_file_does(examples: Path, name: str) -> None:
    from_file, report = _decoded(examples / name, "split")
    from_bytes, same_report = _decoded((examples / name).read_bytes(), "split")
    assert np.array_equal(from_file, from_bytes)
    assert report == same_report


@pytest.mark.parametrize(
    "subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW", "MS_ADPCM"]
)
def test_every_sample_format_has_the_same_level(subtype: str) -> None:
    expected = tone(16_000, 1)
    samples, _ = _decoded(written(expected, 16_000, subtype=subtype))
    assert samples.shape[1] >= 16_000
    assert np.abs(samples[0, :16_000] - expected).max() < 0.05


@pytest.mark.parametrize("count", [1, 2, 6])
def test_split_keeps_the_channels_apart_and_mix_is_their_mean(count: int) -> None:
    channels = np.stack([tone(48_000, 1, 200.0 * (index + 1)) for index in range(count)], axis=1)
    content = written(channels, 48_000, subtype="FLOAT")
    apart, _ = _decoded(content, "split")
    assert apart.shape[0] == count
    for index, channel in enumerate(apart):
        assert np.argmax(np.abs(np.fft.rfft(channel[:16_000]))) == 200 * (index + 1)
    mixed, _ = _decoded(content, "mix")
    assert mixed.shape == (1, apart.shape[1])
    assert np.abs(mixed[0] - apart.mean(axis=0)).max() < 1e-5


def test_samples_that_are_no_numbers_become_silence() -> None:
    samples = tone(44_100, 1)
    samples[1000:1100] = np.nan
    samples[2000], samples[3000] = np.inf, -np.inf
    decoded, _ = _decoded(written(samples, 44_100, subtype="FLOAT"))
    assert np.isfinite(decoded).all()
    assert np.abs(decoded[0, 8000:] - tone(16_000, 1)[8000 : decoded.shape[1]]).max() < 0.01


def test_too_loud_samples_are_clipped_before_and_after_resampling() -> None:
    square = 40 * np.sign(tone(48_000, 1, 300.0))
    samples, _ = _decoded(written(square, 48_000, subtype="FLOAT"))
    assert samples.max() == 1.0
    assert samples.min() == -1.0


def test_a_rate_that_no_recorder_uses_is_a_bad_header() -> None:
    content = bytearray(written(tone(16_000, 1), 16_000))
    content[24:28] = (1_092_676).to_bytes(4, "little")
    with pytest.raises(RecordingError, match="1,092,676 Hz") as failed:
        _decoded(bytes(content))
    assert (failed.value.stage, failed.value.kind) == ("decode", "bad_header")


@pytest.mark.parametrize(("claimed_s", "believed_ms"), [(139, 2000), (1, 1000)])
def test_the_length_that_a_header_claims_is_not_believed(claimed_s: int, believed_ms: int) -> None:
    """Too long a claim ends with the file; data behind a claimed end is no sample."""
    content = bytearray(written(tone(16_000, 2), 16_000))
    at = content.index(b"data") + 4
    content[at : at + 4] = (claimed_s * 32_000).to_bytes(4, "little")
    samples, report = _decoded(bytes(content))
    assert samples.shape[1] == report.read_samples == believed_ms * 16


def test_a_header_that_decoders_believe_is_reported_beside_what_was_decoded() -> None:
    """FLAC's header counts the samples; here it claims twice as many as there are."""
    content = bytearray(written(tone(16_000, 3), 16_000, "FLAC"))
    content[22:26] = (2 * 48_000).to_bytes(4, "big")
    _, report = _decoded(bytes(content))
    assert (report.header_duration_ms, report.read_samples) == (6000, 48_000)


@pytest.mark.parametrize("kind", ["FLAC", "MP3", "OGG", "WAV"])
@pytest.mark.parametrize("block_s", [30.0, 0.5])
def test_a_file_that_breaks_off_is_kept_as_far_as_it_goes(kind: str, block_s: float) -> None:
    """Not a block less: a short recording is one block."""
    original = noise(20)
    content = written(original, 16_000, kind)
    samples, report = _decoded(content[: len(content) * 6 // 10], block_s=block_s)
    assert 10.5 < samples.shape[1] / 16_000 <= 12.1
    if kind in ("WAV", "FLAC"):
        assert np.abs(samples[0] - original[: samples.shape[1]]).max() < 1e-3
    if kind == "FLAC":
        assert report.damage
        assert report.header_duration_ms == 20_000


@pytest.mark.parametrize("block_s", [30.0, 1.0])
def test_damage_in_the_middle_of_a_flac_leaves_what_was_before_it(block_s: float) -> None:
    content = bytearray(written(noise(20), 16_000, "FLAC"))
    middle = len(content) // 2
    content[middle : middle + 3000] = np.random.default_rng(1).bytes(3000)
    samples, report = _decoded(bytes(content), block_s=block_s)
    assert samples.shape[1] / 16_000 > 9.5
    assert report.damage


@pytest.mark.parametrize("start_ms", [5000, 15_000])
def test_a_stretch_of_a_broken_flac_is_what_there_is_of_it(start_ms: int) -> None:
    """A seek beyond the damage fails in the decoder; that is no error of the recording's whole."""
    content = written(noise(20), 16_000, "FLAC")
    samples, report = _decoded(content[: len(content) * 6 // 10], start_ms=start_ms)
    assert report.damage
    assert report.read_samples / 16_000 > 11
    assert samples.shape[1] == max(0, report.read_samples - start_ms * 16)


def test_a_broken_m4a_with_its_index_in_front_is_kept_as_far_as_it_goes() -> None:
    content = muxed(noise(20, 44_100), 44_100, "mp4", "aac", movflags="faststart")
    samples, report = _decoded(content[: len(content) * 6 // 10])
    assert 10 < samples.shape[1] / 16_000 < 13
    assert report.header_duration_ms == pytest.approx(20_000, abs=50)


def test_a_packet_that_cannot_be_decoded_is_skipped_and_noted() -> None:
    content = bytearray(muxed(tone(44_100, 10), 44_100, "mp4", "aac"))
    middle = len(content) // 3
    content[middle : middle + 600] = np.random.default_rng(3).bytes(600)
    samples, report = _decoded(bytes(content))
    assert report.damage
    assert samples.shape[1] / 16_000 == pytest.approx(10, abs=0.3)
    assert np.argmax(np.abs(np.fft.rfft(samples[0, 8 * 16_000 : 9 * 16_000]))) == 440


def test_a_broken_m4a_with_its_index_behind_is_a_clean_error() -> None:
    content = muxed(noise(5, 44_100), 44_100, "mp4", "aac")
    with pytest.raises(RecordingError, match="check that the copy is complete") as failed:
        _decoded(content[: len(content) * 6 // 10])
    assert failed.value.kind == "corrupt"


def test_a_broadcast_that_changes_rate_and_channels_on_the_way_is_read_to_its_end() -> None:
    stereo = np.stack([tone(44_100, 3), tone(44_100, 3)], axis=1)
    pieces = [muxed(tone(16_000, 3), 16_000, "adts", "aac"), muxed(stereo, 44_100, "adts", "aac")]
    for content in (pieces[0] + pieces[1], pieces[1] + pieces[0]):
        samples, _ = _decoded(content)
        assert samples.shape[1] == pytest.approx(6 * 16_000, abs=4000)
        for second in (1, 4):
            heard = np.abs(np.fft.rfft(samples[0, second * 16_000 : (second + 1) * 16_000]))
            assert np.argmax(heard) == pytest.approx(440, abs=1)


@pytest.mark.parametrize(
    "content", [b"\0", b"RIFF", b"To whom it may concern\n" * 40, bytes(5000), b"ID3\x04" + bytes(60)]
)
def test_what_is_no_recording_is_a_clean_error(content: bytes) -> None:
    with pytest.raises(RecordingError, match="a file") as failed:
        _decoded(content)
    assert failed.value.stage == "decode"
    assert not failed.value.transient


def test_a_film_without_sound_and_a_file_without_samples_have_no_audio() -> None:
    for content in (silent_film(), written(np.zeros(0, np.float32), 16_000)):
        with pytest.raises(RecordingError) as failed:
            _decoded(content)
        assert failed.value.kind == "no_audio"
