"""Sound lies where a player has it: gaps of the time stamps are silence, and so is a picture before the first sound."""

from __future__ import annotations

import io
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from tests.kit.sounds import Samples, click_times_ms, clicks, muxed
from tests.kit.works import decoded, heard, work
from transforms.audio.timeline import TimeLine

_CLICKS_MS = [500, 1200, 2345, 3000, 4400]
_WRAPS_MS = 2**33 // 90
"""The clock of a transport stream begins anew then."""


def film(
    sound: Samples,
    rate_hz: int,
    container: str,
    codec: str,
    late_ms: int = 0,
    gap_ms: Callable[[int], int] = lambda ms: 0,
    start_ms: int = 0,
) -> bytes:
    """Pictures from `start_ms` on, and sound that begins `late_ms` after them, later by `gap_ms` of its own time."""
    target = io.BytesIO()
    layout = "mono"
    with av.open(target, "w", format=container) as file:
        pictures = file.add_stream("mpeg2video" if container == "mpegts" else "mpeg4", rate=25)
        pictures.width, pictures.height, pictures.pix_fmt = 64, 48, "yuv420p"
        stream = file.add_stream(codec, rate=rate_hz, layout=layout)
        packets = []
        for index in range(25 * 3):
            image = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
            image.pts, image.time_base = index + start_ms * 25 // 1000, Fraction(1, 25)
            packets += pictures.encode(image)
        packets += pictures.encode(None)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound[None]), format="fltp", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = rate_hz, 0, Fraction(1, rate_hz)
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            own_ms = round(packet.pts * packet.time_base * 1000)
            shift_ms = start_ms + late_ms + gap_ms(own_ms)
            packet.pts = packet.dts = packet.pts + round(shift_ms / 1000 / packet.time_base)
            packets.append(packet)
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            file.mux(packet)
    return target.getvalue()


_CONTAINERS = [
    ("matroska", "libopus", 48_000),
    ("webm", "libopus", 48_000),
    ("mp4", "aac", 44_100),
    ("mov", "aac", 48_000),
    ("mpegts", "aac", 48_000),
    ("mpegts", "mp2", 48_000),
]


@pytest.mark.parametrize(("container", "codec", "rate_hz"), [case for case in _CONTAINERS if case[0] != "webm"])
@pytest.mark.parametrize("start_ms", [0, 7_200_000, _WRAPS_MS - 3_400])
def test_sound_that_begins_after_the_picture_is_silent_before(
    container: str, codec: str, rate_hz: int, start_ms: int
) -> None:
    if start_ms and container != "mpegts":
        pytest.skip("the other containers' muxers begin at 0")
    content = film(clicks(rate_hz, _CLICKS_MS, 5000), rate_hz, container, codec, 3000, start_ms=start_ms)
    samples, report = decoded(content)
    assert click_times_ms(samples[0]) == pytest.approx([ms + 3000 for ms in _CLICKS_MS], abs=60)
    assert report.damage is None
    _, closing = heard(work(content))
    assert closing.duration_ms == pytest.approx(8000, abs=80)
    assert closing.flags == []


@pytest.mark.parametrize(("container", "codec", "rate_hz"), _CONTAINERS[2:])
def test_a_gap_in_the_time_stamps_is_silence(container: str, codec: str, rate_hz: int) -> None:
    content = film(clicks(rate_hz, _CLICKS_MS, 5000), rate_hz, container, codec, 0, lambda ms: 2000 * (ms > 2600))
    samples, _ = decoded(content)
    assert click_times_ms(samples[0]) == pytest.approx([500, 1200, 2345, 5000, 6400], abs=60)
    whole, report = decoded(content, start_ms=4_000, end_ms=6_000)
    assert (whole.shape[1], report.read_samples) == (32_000, 96_000)
    assert click_times_ms(whole[0]) == pytest.approx([1000], abs=60)


def restamped(content: bytes, container: str, clock: Callable[[int], int | None], **options: str) -> bytes:
    """With time stamps by `clock`, of ms; packets of which it says None are left out."""
    target = io.BytesIO()
    with av.open(io.BytesIO(content)) as source, av.open(target, "w", format=container, options=options) as file:
        stream = file.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux():
            ms = None if packet.pts is None else clock(round(packet.pts * packet.time_base * 1000))
            if ms is None:
                continue
            packet.stream, packet.time_base = stream, Fraction(1, 1000)
            packet.pts = packet.dts = ms
            file.mux(packet)
    return target.getvalue()


def _shifted(by_ms: int) -> Callable[[int], int | None]:
    return lambda ms: ms + by_ms * (ms > 2600)


@pytest.mark.parametrize("container", ["matroska", "webm"])
@pytest.mark.parametrize(
    ("clock", "at_ms"),
    [
        (_shifted(5000), [500, 1200, 2345, 8000, 9400]),
        (lambda ms: None if 2600 < ms < 2900 or 3200 < ms < 4200 else ms, _CLICKS_MS),
        (lambda ms: ms + (7 if ms // 20 % 2 else 0), _CLICKS_MS),
        (_shifted(200_000_000), _CLICKS_MS),
    ],
    ids=["leap", "left out", "jitter", "absurd"],
)
def test_time_stamps_are_believed_where_they_agree(
    container: str, clock: Callable[[int], int | None], at_ms: list[int]
) -> None:
    content = muxed(clicks(48_000, _CLICKS_MS, 5000), 48_000, "webm", "libopus")
    samples, report = decoded(restamped(content, container, clock))
    assert click_times_ms(samples[0]) == pytest.approx(at_ms, abs=60)
    assert (report.damage is not None) == (clock(3000) == 200_003_000)


def test_a_stamp_that_no_other_bears_out_is_not_believed() -> None:
    """A jump counts as far as the next stamp has it, too."""
    line = TimeLine(1000, Fraction(1, 1000))
    stamps = [0, 20, 900_040, 60, 80, 600, 620]
    assert [line.place(stamp, 20, following) for stamp, following in pairwise(stamps)] == [0, 0, 0, 0, 0, 500]


def test_time_stamps_that_run_slow_lose_no_sound_and_later_gaps_are_shorter_by_that() -> None:
    line = TimeLine(1000, Fraction(1, 1000))
    stamps = [*range(0, 950, 19), 1400, 1419]
    placed = [line.place(stamp, 20, following) for stamp, following in pairwise(stamps)]
    assert placed == [0] * 50 + [399]


def test_transport_streams_that_were_joined_lose_nothing_and_wait_for_nothing() -> None:
    one = muxed(clicks(48_000, _CLICKS_MS, 5000), 48_000, "mpegts", "aac")
    samples, _ = decoded(one + one)
    assert samples.shape[1] == pytest.approx(160_000, abs=8_000)
    assert len(click_times_ms(samples[0])) == 2 * len(_CLICKS_MS)
    early, late = (
        film(clicks(48_000, _CLICKS_MS, 5000), 48_000, "mpegts", "aac", start_ms=ms) for ms in (0, 7_200_000)
    )
    for joined in (early + late, late + early):
        samples, _ = decoded(joined)
        assert samples.shape[1] == pytest.approx(160_000, abs=8_000)
        assert len(click_times_ms(samples[0])) == 2 * len(_CLICKS_MS)


def test_a_gap_in_an_ogg_file_is_silence() -> None:
    content = restamped(
        muxed(clicks(48_000, _CLICKS_MS, 5000), 48_000, "webm", "libopus"), "ogg", _shifted(5000), page_duration="20000"
    )
    samples, report = decoded(content)
    assert click_times_ms(samples[0]) == pytest.approx([500, 1200, 2345, 8000, 9400], abs=60)
    assert report.damage is None
    assert np.array_equal(decoded(content, start_ms=6_000)[0], samples[:, 96_000:])


def test_ordinary_files_get_no_silence() -> None:
    for container, codec, rate_hz in (
        ("asf", "libmp3lame", 44_100),
        ("avi", "libmp3lame", 44_100),
        ("flv", "aac", 44_100),
        ("mpeg", "mp2", 48_000),
        ("mp4", "aac", 22_050),
        ("matroska", "ac3", 48_000),
    ):
        content = muxed(clicks(rate_hz, _CLICKS_MS, 5000), rate_hz, container, codec)
        samples, _ = decoded(content)
        assert samples.shape[1] == pytest.approx(80_000, abs=3_000), container
        spaces = np.diff(click_times_ms(samples[0]))
        assert spaces == pytest.approx(np.diff(_CLICKS_MS), abs=4), (container, codec)


@pytest.mark.parametrize(
    ("name", "duration_ms"), [("gap5.webm", 16_000), ("dtx.webm", 11_000), ("offset3.mp4", 14_000)]
)
def test_odd_inputs_are_as_long_as_a_player_shows(data: Path, name: str, duration_ms: int) -> None:
    _, closing = heard(work(data / "odd_inputs" / name))
    assert closing.duration_ms == pytest.approx(duration_ms, abs=20)
    assert closing.flags == []


@pytest.mark.parametrize("name", ["chained.opus", "vbr_nohead.mp3"])
def test_a_length_that_no_header_states_is_not_missed(data: Path, name: str) -> None:
    _, closing = heard(work(data / "odd_inputs" / name))
    assert closing.flags == []
