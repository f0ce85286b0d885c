"""Headers that lie, files that break off, and what is no recording at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.kit.sounds import muxed, noise, silent_film, tone, written
from tests.kit.works import decoded
from transforms.errors import RecordingError


def test_a_rate_that_no_recorder_uses_is_a_bad_header() -> None:
    content = bytearray(written(tone(16_000, 1), 16_000))
    content[24:28] = (1_092_676).to_bytes(4, "little")
    with pytest.raises(RecordingError, match="1,092,676 Hz") as failed:
        decoded(bytes(content))
    assert (failed.value.stage, failed.value.kind) == ("decode", "bad_header")


@pytest.mark.parametrize(
    ("claimed_bytes", "header_ms", "decoded_ms"),
    [(139 * 32_000, 139_000, 2000), (1 * 32_000, 1000, 2000), (0xFFFF_FFFF, None, 2000), (0x7FFF_F000, None, 2000)],
)
def test_the_length_that_a_wav_claims_is_reported_and_not_believed(
    claimed_bytes: int, header_ms: int | None, decoded_ms: int
) -> None:
    """Too long a claim ends with the file; samples behind a claimed end are heard; a pipe's writer knew no length."""
    content = bytearray(written(tone(16_000, 2), 16_000))
    at = content.index(b"data") + 4
    content[at : at + 4] = claimed_bytes.to_bytes(4, "little")
    samples, report = decoded(bytes(content))
    assert samples.shape[1] == report.read_samples == decoded_ms * 16
    assert report.header_duration_ms == header_ms


def test_a_header_that_decoders_believe_is_reported_beside_what_wasdecoded() -> None:
    """FLAC's header counts the samples; here it claims twice as many as there are."""
    content = bytearray(written(tone(16_000, 3), 16_000, "FLAC"))
    content[22:26] = (2 * 48_000).to_bytes(4, "big")
    _, report = decoded(bytes(content))
    assert (report.header_duration_ms, report.read_samples) == (6000, 48_000)


@pytest.mark.parametrize("kind", ["FLAC", "MP3", "OGG", "WAV"])
@pytest.mark.parametrize("block_s", [30.0, 0.5])
def test_a_file_that_breaks_off_is_kept_as_far_as_it_goes(kind: str, block_s: float) -> None:
    """Not a block less: a short recording is one block."""
    original = noise(20)
    content = written(original, 16_000, kind)
    samples, report = decoded(content[: len(content) * 6 // 10], block_s=block_s)
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
    samples, report = decoded(bytes(content), block_s=block_s)
    assert samples.shape[1] / 16_000 > 9.5
    assert report.damage


@pytest.mark.parametrize("start_ms", [5000, 15_000])
def test_a_stretch_of_a_broken_flac_is_what_there_is_of_it(start_ms: int) -> None:
    """A seek beyond the damage fails in the decoder; that is no error of the recording's whole."""
    content = written(noise(20), 16_000, "FLAC")
    samples, report = decoded(content[: len(content) * 6 // 10], start_ms=start_ms)
    assert report.damage
    assert report.read_samples / 16_000 > 11
    assert samples.shape[1] == max(0, report.read_samples - start_ms * 16)


def test_a_broken_m4a_with_its_index_in_front_is_kept_as_far_as_it_goes() -> None:
    content = muxed(noise(20, 44_100), 44_100, "mp4", "aac", movflags="faststart")
    samples, report = decoded(content[: len(content) * 6 // 10])
    assert 10 < samples.shape[1] / 16_000 < 13
    assert report.header_duration_ms == pytest.approx(20_000, abs=50)


def test_a_packet_that_cannot_be_decoded_is_skipped_and_noted() -> None:
    content = bytearray(muxed(tone(44_100, 10), 44_100, "mp4", "aac"))
    middle = len(content) // 3
    content[middle : middle + 600] = np.random.default_rng(3).bytes(600)
    samples, report = decoded(bytes(content))
    assert report.damage
    assert samples.shape[1] / 16_000 == pytest.approx(10, abs=0.3)
    assert np.argmax(np.abs(np.fft.rfft(samples[0, 8 * 16_000 : 9 * 16_000]))) == 440


def test_a_broken_m4a_with_its_index_behind_is_a_clean_error() -> None:
    content = muxed(noise(5, 44_100), 44_100, "mp4", "aac")
    with pytest.raises(RecordingError, match=r"lacks the index.* fetch it again") as failed:
        decoded(content[: len(content) * 6 // 10])
    assert failed.value.kind == "corrupt"


@pytest.mark.parametrize(
    "content", [b"\0", b"RIFF", b"To whom it may concern\n" * 40, bytes(5000), b"ID3\x04" + bytes(60)]
)
def test_what_is_no_recording_is_a_clean_error(content: bytes) -> None:
    with pytest.raises(RecordingError, match="a file") as failed:
        decoded(content)
    assert failed.value.stage == "decode"
    assert not failed.value.transient


def test_a_film_without_sound_and_a_file_without_samples_have_no_audio() -> None:
    for content in (silent_film(), written(np.zeros(0, np.float32), 16_000)):
        with pytest.raises(RecordingError) as failed:
            decoded(content)
        assert failed.value.kind == "no_audio"


def test_recordings_joined_into_one_mp3_are_read_to_the_end() -> None:
    one = written(tone(16_000, 3), 16_000, "MP3")
    _, report = decoded(one + one)
    assert abs(report.read_samples - 2 * 48_000) < 4_000


def test_what_cannot_be_decoded_leaves_later_sound_at_its_time(examples: Path) -> None:
    """A second of packets in the middle is overwritten; the sound after it must not come a second too early."""
    whole = (examples / "voice_memo.m4a").read_bytes()
    clean, _ = decoded(whole)
    middle = len(whole) // 2
    broken, report = decoded(whole[:middle] + b"\xff" * 6_000 + whole[middle + 6_000 :])
    assert report.damage is not None
    # The same second near the end, looked for up to half a second around its place.
    place = clean.shape[1] - 48_000
    around = clean[0, place - 8_000 : place + 24_000].astype(np.float64)
    shift = int(np.argmax(np.correlate(around, broken[0, place : place + 16_000], mode="valid"))) - 8_000
    assert abs(shift) <= 800, f"{shift / 16:.0f} ms"
