"""Sounds of which the answer is known, FFmpeg's own meter of EBU R128, and that neither blocks nor parts change it."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soxr

from schemas.config import SAMPLE_RATE_HZ, Config
from schemas.quality import QUALITY
from schemas.tables import CHUNKS, to_batch
from tests.kit.lake import talk
from tests.kit.sounds import Samples, noise, written
from tests.kit.works import heard, work
from transforms.audio.quality import Meter, k_weights
from transforms.publishing.figures import figures

Figures = dict[str, Any]


def measured(sound: Samples, rate_hz: int = 48_000, block: int | None = None) -> Figures:
    """`sound`: (samples,) or (samples, channels)."""
    sound = sound.reshape(len(sound), -1).astype(np.float32)
    meter = Meter(3600)
    meter.open(rate_hz, sound.shape[1], 0, None)
    for first in range(0, len(sound), block or len(sound)):
        meter.push(sound[first : first + (block or len(sound))])
    return figures([meter.finish(False, [])])


def sine(dbfs: float, seconds: float = 10, hertz: float = 1000, rate_hz: int = 48_000) -> Samples:
    """`dbfs` is its peak's level, as EBU Tech 3341 writes it."""
    times = np.arange(int(rate_hz * seconds)) / rate_hz
    return (10 ** (dbfs / 20) * np.sin(2 * np.pi * hertz * times)).astype(np.float32)


def stereo(*sounds: Samples) -> Samples:
    joined = np.concatenate(sounds)
    return np.stack([joined, joined], axis=1)


@pytest.mark.parametrize(
    ("sound", "lufs"),
    [
        (stereo(sine(-23, 20)), -23.0),  # EBU Tech 3341, case 1
        (stereo(sine(-33, 20)), -33.0),  # case 2
        (stereo(sine(-36), sine(-23, 60), sine(-36)), -23.0),  # case 3: the relative gate
        (stereo(sine(-72), sine(-36), sine(-23, 60), sine(-36), sine(-72)), -23.0),  # case 4: both gates
        (stereo(sine(-26, 20), sine(-20, 20.1), sine(-26, 20)), -23.0),  # case 5: the mean of powers
        (sine(0, hertz=997), -3.01),  # ITU-R BS.1770: one channel at full scale
    ],
    ids=["case 1", "case 2", "case 3", "case 4", "case 5", "full scale"],
)
def test_loudness_is_that_of_the_standards_test_signals(sound: Samples, lufs: float) -> None:
    assert measured(sound)["loudness_lufs"] == pytest.approx(lufs, abs=0.1)


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 44_100])
def test_loudness_is_the_same_at_every_rate(rate_hz: int) -> None:
    assert measured(sine(-23, rate_hz=rate_hz), rate_hz)["loudness_lufs"] == pytest.approx(-26.0, abs=0.1)


def test_low_sound_weighs_less_and_high_sound_more() -> None:
    gain_db = 10 * np.log10(k_weights(np.array([25.0, 100.0, 997.0, 10_000.0])))
    assert gain_db == pytest.approx([-10.4, -1.1, 0.69, 4.0], abs=0.3)


@pytest.mark.parametrize(("first_s", "seconds", "off_lu"), [(0, 60, 0.5), (100, 12, 1), (30, 6, 1)])
def test_loudness_of_speech_is_that_of_ffmpegs_meter(first_s: int, seconds: int, off_lu: float) -> None:
    part = talk()[first_s * SAMPLE_RATE_HZ :][: seconds * SAMPLE_RATE_HZ]
    sound = np.stack([soxr.resample(part, SAMPLE_RATE_HZ, 48_000)] * 2, axis=1) * np.array([1.0, 0.5])
    ours = measured(sound)["loudness_lufs"]
    assert ours == pytest.approx(by_ffmpeg(sound.astype(np.float32), 48_000), abs=off_lu)


def by_ffmpeg(sound: Samples, rate_hz: int) -> float:
    """Integrated loudness after EBU R128 of stereo."""
    import av

    graph = av.filter.Graph()
    source: Any = graph.add_abuffer(sample_rate=rate_hz, format="flt", layout="stereo", time_base=Fraction(1, rate_hz))
    meter, sink = graph.add("ebur128", "metadata=1"), graph.add("abuffersink")
    source.link_to(meter)
    meter.link_to(sink)
    graph.configure()
    found = None
    for first in range(0, len(sound), rate_hz):
        piece = np.ascontiguousarray(sound[first : first + rate_hz]).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(piece, format="flt", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = rate_hz, first, Fraction(1, rate_hz)
        graph.push(frame)
        for metered in _pulled(graph):
            found = metered.metadata.get("lavfi.r128.I", found)
    assert found is not None
    return float(found)


def _pulled(graph: Any) -> Iterator[Any]:
    import av

    while True:
        try:
            yield graph.pull()
        except (av.BlockingIOError, av.EOFError):
            return


def test_a_clipped_sine_is_clipped_where_it_was_beyond_full_scale() -> None:
    loud = np.clip(sine(20 * np.log10(2), hertz=997), -1, 1)
    # |2 sin| >= 0.98 for 1 - 2/π asin(0.49) of the time.
    assert measured(loud)["clipped_share"] == pytest.approx(1 - 2 / np.pi * np.arcsin(0.49), abs=0.005)
    assert measured(sine(-0.3))["clipped_share"] == 0
    one_side = np.maximum(loud, -0.9)
    assert measured(one_side)["clipped_share"] == pytest.approx(0.5 - np.arcsin(0.49) / np.pi, abs=0.005)
    shorter = np.concatenate([loud, 0.1 * loud, 0.1 * loud, 0.1 * loud])
    assert measured(stereo(shorter))["clipped_share"] == pytest.approx(measured(loud)["clipped_share"] / 4, abs=0.002)


@pytest.mark.parametrize(
    ("band_hz", "rate_hz", "channels"), [(8_000, 48_000, 1), (4_000, 48_000, 2), (8_000, 16_000, 1), (3_400, 8_000, 1)]
)
def test_bandwidth_is_where_the_energy_ends_whatever_the_rate(band_hz: int, rate_hz: int, channels: int) -> None:
    spectrum = np.fft.rfft(noise(60, rate_hz))
    spectrum[np.fft.rfftfreq(60 * rate_hz, 1 / rate_hz) > band_hz] = 0
    sound = np.fft.irfft(spectrum).astype(np.float32)
    sound = np.round(sound * 2**15) / 2**15  # the rounding of 16 bits is no sound
    sound[rate_hz // 100] = 0.9  # a click reaches everywhere
    assert measured(np.stack([sound] * channels, axis=1), rate_hz)["bandwidth_hz"] == pytest.approx(band_hz, abs=400)


def test_an_offset_is_measured_in_the_channel_that_has_it_and_is_no_loudness() -> None:
    tone = sine(-23, hertz=997)
    sound = np.stack([tone, tone + 0.05], axis=1)
    found = measured(sound)
    assert found["dc_offset"] == pytest.approx(0.05, abs=5e-4)
    assert found["loudness_lufs"] == pytest.approx(-23, abs=0.1)
    assert measured(tone - 0.1)["dc_offset"] == pytest.approx(-0.1, abs=5e-4)


def test_zeros_are_digital_silence_and_have_no_loudness() -> None:
    silent = measured(np.zeros(48_000 * 3, np.float32))
    assert silent == {
        "loudness_lufs": None,
        "clipped_share": 0,
        "bandwidth_hz": None,
        "snr_db": None,
        "dc_offset": 0,
        "digital_silence_share": 1,
    }
    gaps = np.concatenate([sine(-23, 6), np.zeros(48_000 * 2, np.float32), 1e-4 * noise(2, 48_000)])
    assert measured(gaps)["digital_silence_share"] == pytest.approx(0.2)


@pytest.mark.parametrize("snr_db", [5, 15, 30])
def test_noise_added_at_a_known_ratio_is_the_one_found(snr_db: float) -> None:
    clean = talk()[: 40 * SAMPLE_RATE_HZ]
    voice = (heard(work(written(clean, SAMPLE_RATE_HZ, "FLAC", "PCM_16")))[1]).quality
    assert voice is not None
    assert figures([voice])["snr_db"] > 40
    speech = voice["speech_power"] / voice["speech_frames"]
    mixed = clean + np.sqrt(speech / 10 ** (snr_db / 10)) * 10 * noise(40)
    content = written(np.clip(mixed, -1, 1), SAMPLE_RATE_HZ)
    assert figures([heard(work(content))[1].quality])["snr_db"] == pytest.approx(snr_db, abs=1)


@pytest.mark.parametrize(("rate_hz", "channels"), [(16_000, 1), (44_100, 2), (11_025, 3)])
def test_the_size_of_blocks_changes_nothing(rate_hz: int, channels: int) -> None:
    sound = np.stack([noise(17.3, rate_hz, seed) for seed in range(channels)], axis=1)
    whole = measured(sound, rate_hz)
    assert [measured(sound, rate_hz, block) for block in (997, rate_hz, 7 * rate_hz + 1)] == [whole] * 3


@pytest.mark.parametrize("name", ["long_talk.mp3", "support_call_stereo.flac"])
def test_the_front_end_hears_the_same_whatever_its_blocks(examples: Path, name: str) -> None:
    job = work(examples / name, start_ms=1_500, end_ms=33_300)
    rows = [heard(job, Config.model_validate({"audio": {"block_s": s}}))[1].quality or {} for s in (1.7, 30.0)]
    for name, value in rows[0].items():
        # The resampler before VAD, and VAD's network, differ in their last bits.
        assert rows[1][name] == (pytest.approx(value, rel=1e-3) if "power" in name else value), name
    assert rows[0]["pieces"] == 318


def test_parts_add_up_to_the_whole() -> None:
    sound = np.tile(talk()[: 50 * SAMPLE_RATE_HZ], 2)
    content = written(sound + 0.03 * noise(100), SAMPLE_RATE_HZ)
    whole = heard(work(content))[1].quality
    config = Config.model_validate({"packing": {"part_minutes": 0.7}})
    parts, more = [], True
    while more:
        closing = heard(work(content, part_index=len(parts)), config)[1]
        parts.append(closing.quality)
        more = closing.continues
    assert len(parts) == 3
    assert whole is not None
    for exact in ("samples", "pieces", "clipped", "silent_pieces", "bandwidths"):
        assert figures_sum(parts, exact) == figures_sum([whole], exact), exact
    assert sum(figures_sum(parts, "levels").values()) == whole["pieces"] - 3 * len(parts)
    together, alone = figures(parts), figures([whole])
    assert together == pytest.approx(alone, rel=0.02)
    beyond = heard(work(content, part_index=3), config)[1]
    assert beyond.quality is None


def figures_sum(parts: list[Any], name: str) -> Any:
    values = [part[name] for part in parts]
    return sum(values[1:], values[0])


def test_what_is_counted_survives_the_table_and_null_counts_as_nothing() -> None:
    _, closing = heard(work(written(talk()[: 10 * SAMPLE_RATE_HZ], SAMPLE_RATE_HZ)))
    row = {"audio_id": "a", "closing": {"quality": closing.quality}}
    (back,) = to_batch([row], CHUNKS.arrow).to_pylist(maps_as_pydicts="lossy")
    assert set(back["closing"]["quality"]) == {field.name for field in QUALITY}
    assert figures([back["closing"]["quality"], None]) == figures([closing.quality])
    assert figures([None]) == {}
