"""A stretch far into a file that FFmpeg decodes is the one that decoding from the start gives."""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soxr

from schemas.config import Config
from tests.kit.lake import cut
from tests.kit.sounds import Samples, muxed, written
from tests.kit.works import decoded, heard, work
from transforms.audio import decoders, marks
from transforms.audio import entry as entering
from transforms.audio.entry import Entry, entry
from transforms.audio.marks import Face

_START_MS = 21_345
_LENGTH_S = 50


@pytest.fixture
def entries(monkeypatch: pytest.MonkeyPatch) -> list[Entry | None]:
    """What came of each try to enter a file."""
    tried: list[Entry | None] = []

    def noted(*place: Any) -> Entry | None:
        tried.append(entry(*place))
        return tried[-1]

    monkeypatch.setattr(decoders, "entry", noted)
    return tried


def speech(rate_hz: int) -> Samples:
    return soxr.resample(cut(0, _LENGTH_S), 16_000, rate_hz)


_FORMATS = [
    ("mp3", "libmp3lame", 44_100, 1e-5),
    ("mp3", "libmp3lame", 16_000, 1e-5),
    ("ogg", "libopus", 48_000, 1e-5),
    ("matroska", "libopus", 48_000, 1e-5),
    ("matroska", "flac", 44_100, 1e-5),
    ("mov", "alac", 44_100, 1e-5),
    ("amr", "libopencore_amrnb", 8_000, 1e-5),
    ("mp2", "mp2", 44_100, 1e-4),  # its decoder rounds with a dither
    ("mp4", "aac", 44_100, 0.05),  # noise that AAC makes up, 40 dB below the voice
    ("adts", "aac", 44_100, 0.05),
    ("matroska", "aac", 44_100, 0.05),
    ("mpegts", "aac", 48_000, 0.05),
    ("matroska", "ac3", 48_000, 0.05),
    ("matroska", "eac3", 48_000, 0.05),
]
"""Container, codec, rate in Hz, and by how much samples of a decoder that began elsewhere may differ."""


@pytest.mark.parametrize(("container", "codec", "rate_hz", "differs"), _FORMATS)
def test_a_file_is_entered_to_the_sample(
    entries: list[Entry | None], container: str, codec: str, rate_hz: int, differs: float
) -> None:
    content = muxed(speech(rate_hz), rate_hz, container, codec)
    whole, _ = decoded(content)
    stretch, report = decoded(content, start_ms=_START_MS)
    (tried,) = entries
    assert tried is not None
    assert report.read_samples == whole.shape[1]
    assert (stretch.shape[1], report.damage) == (whole.shape[1] - _START_MS * 16, None)
    expected = whole[:, _START_MS * 16 :]
    assert np.abs(stretch - expected).max() < differs
    assert np.square(stretch - expected).mean() < 1e-3 * np.square(expected).mean()


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> list[Face]:
    """The packets from which ways went on."""
    gone: list[Face] = []
    after = entering._after
    monkeypatch.setattr(entering, "_after", lambda met, *place: gone.append(met) or after(met, *place))
    monkeypatch.setattr(marks, "_EVERY_S", 3)
    monkeypatch.setattr(marks, "_files", OrderedDict())
    return gone


@pytest.mark.parametrize(("container", "codec", "rate_hz", "_"), _FORMATS)
def test_a_way_that_goes_on_from_a_packet_that_was_met_gives_the_same(
    ways: list[Face], tmp_path: Path, container: str, codec: str, rate_hz: int, _: float
) -> None:
    path = tmp_path / "talk"
    path.write_bytes(muxed(speech(rate_hz), rate_hz, container, codec))
    places_ms = (40_123, 21_345, 33_000, 45_678)
    fresh = []
    for place_ms in places_ms:
        marks._files.clear()
        fresh.append(decoded(path, start_ms=place_ms))
    assert not ways
    marks._files.clear()
    for place_ms, (expected, expected_report) in zip(places_ms, fresh, strict=True):
        found, report = decoded(path, start_ms=place_ms)
        assert np.array_equal(found, expected)
        assert report == expected_report
    assert len(ways) == 3
    assert len({met.position_bytes for met in ways}) == 3


def test_in_a_file_whose_packet_is_not_found_again_each_way_begins_at_the_start(
    ways: list[Face], tmp_path: Path
) -> None:
    path = tmp_path / "talk.mp3"
    path.write_bytes(muxed(speech(44_100), 44_100, "mp3", "libmp3lame"))
    expected, _ = decoded(path, start_ms=30_000)
    (kept,) = marks._files.values()
    kept._by_minute = {k: m._replace(packet=m.packet._replace(size_bytes=1)) for k, m in kept._by_minute.items()}
    for _ in range(2):
        found, report = decoded(path, start_ms=30_000)
        assert np.array_equal(found, expected)
        assert report.damage is None
    assert [met.size_bytes for met in ways] == [1]


def test_only_files_that_are_entered_are_remembered(ways: list[Face], tmp_path: Path) -> None:
    """Else short ones would push a long one out."""
    path = tmp_path / "talk.mp3"
    path.write_bytes(muxed(speech(44_100), 44_100, "mp3", "libmp3lame"))
    decoded(path)
    assert not marks._files
    decoded(path, start_ms=30_000)
    assert len(marks._files) == 1


def test_what_was_met_in_a_file_does_not_count_in_the_one_that_replaced_it(ways: list[Face], tmp_path: Path) -> None:
    path = tmp_path / "talk.mp3"
    path.write_bytes(muxed(speech(44_100), 44_100, "mp3", "libmp3lame"))
    decoded(path, start_ms=30_000)
    path.write_bytes(muxed(speech(44_100)[44_100:], 44_100, "mp3", "libmp3lame"))
    decoded(path, start_ms=30_000)
    assert not ways
    decoded(path, start_ms=20_000)
    assert len(ways) == 1


def test_what_cannot_be_entered_is_decoded_from_the_start(entries: list[Entry | None]) -> None:
    content = written(speech(44_100), 44_100, "OGG")
    whole, _ = decoded(content)
    stretch, _ = decoded(content, start_ms=_START_MS)
    assert entries == [None]
    assert np.array_equal(stretch, whole[:, _START_MS * 16 :])


def test_a_place_after_time_stamps_that_leap_or_drift_is_the_same_to_the_sample(entries: list[Entry | None]) -> None:
    """Silence stands in where they run ahead, and counts."""
    for clock in (lambda ms: ms + 700 * (ms > 10_000), lambda ms: round(ms * 1.01)):
        content = _remuxed(muxed(speech(48_000), 48_000, "matroska", "libopus"), clock)
        whole, _ = decoded(content)
        stretch, _ = decoded(content, start_ms=_START_MS)
        assert entries
        assert whole.shape[1] > (_LENGTH_S + 0.4) * 16_000
        assert stretch.shape == whole[:, _START_MS * 16 :].shape
        assert np.abs(stretch - whole[:, _START_MS * 16 :]).max() < 1e-4


def test_a_decoder_begins_only_where_the_container_lets_it(entries: list[Entry | None]) -> None:
    aac = muxed(speech(44_100), 44_100, "mp4", "aac")
    for key in (lambda ms: ms < 10_000, lambda ms: ms < 10_000 or ms % 1000 < 20):
        decoded(_remuxed(aac, lambda ms: ms, key), start_ms=_START_MS)
    assert [tried is not None for tried in entries] == [False, True]


def _remuxed(content: bytes, clock: Callable[[int], int], key: Callable[[int], bool] = lambda ms: True) -> bytes:
    """In Matroska, with time stamps by `clock`, and packets that can be entered where `key` says so; both of ms."""
    target = io.BytesIO()
    with av.open(io.BytesIO(content)) as source, av.open(target, "w", format="matroska") as file:
        stream = file.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux():
            if packet.pts is None:
                continue
            ms = round(packet.pts * packet.time_base * 1000)
            packet.stream, packet.time_base = stream, Fraction(1, 1000)
            packet.pts = packet.dts = clock(ms)
            packet.is_keyframe = key(ms)
            file.mux(packet)
    return target.getvalue()


@pytest.mark.parametrize("second", [5, 20])
def test_damage_on_the_way_moves_no_sound(entries: list[Entry | None], second: int) -> None:
    """In packets that are only counted, and where the decoder is to settle; only then it is met, and noted."""
    content = bytearray(muxed(speech(44_100), 44_100, "mp4", "aac"))
    clean, _ = decoded(bytes(content))
    place = len(content) * second // _LENGTH_S
    content[place - 2_000 : place + 2_000] = b"\xff" * 4_000
    stretch, report = decoded(bytes(content), start_ms=_START_MS)
    assert all(entries)
    assert (report.damage is not None) == (second == 20)
    expected = clean[:, _START_MS * 16 + 16_000 :]
    shift = clean.shape[1] - report.read_samples
    assert abs(shift) <= 1_600
    assert np.square(stretch[:, 16_000 - shift :] - expected).mean() < 1e-2 * np.square(expected).mean()


@pytest.mark.parametrize(
    ("container", "codec", "rate_hz"),
    [("mp3", "libmp3lame", 44_100), ("mp4", "aac", 44_100), ("ogg", "libopus", 48_000)],
)
def test_parts_of_a_file_that_is_entered_meet_without_gap_or_overlap(
    entries: list[Entry | None], container: str, codec: str, rate_hz: int
) -> None:
    """Also where a fresh decoder makes up other noise than one that goes on, and a cut could lie elsewhere."""
    everything = {"threshold": 1e-9, "end_threshold": 1e-9, "min_speech_ms": 0, "pad_ms": 0}
    config = Config.model_validate({"packing": {"part_minutes": 0.5}, "vad": everything})
    content = muxed(speech(rate_hz)[: 45 * rate_hz], rate_hz, container, codec)
    content = content if codec != "aac" else muxed(np.tile(speech(rate_hz), 2), rate_hz, container, codec)
    chunks, parts, more = [], 0, True
    while more:
        found, closing = heard(work(content, part_index=parts), config)
        chunks, parts, more = chunks + found, parts + 1, closing.continues
    assert parts > 1
    assert all(entries)
    assert all(before.end_ms == after.start_ms for before, after in pairwise(chunks))
    assert sum(len(chunk.samples) for chunk in chunks) == decoded(content)[0].shape[1]
