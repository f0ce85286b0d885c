from __future__ import annotations

import functools
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from schemas.config import PackingConfig, VadConfig
from tests.kit.sounds import Samples, noise
from tests.kit.works import decoded
from transforms.audio.channel import Channel
from transforms.audio.decoders import DecodeReport
from transforms.audio.reading import read_audio
from transforms.audio.vad import FRAME_SAMPLES, Span, SpeechFinder, quietest, quietest_sample

_NEVER_CUT = 16_000 * 600
_HEARS_ALL = VadConfig(threshold=1e-9, end_threshold=1e-9, min_speech_ms=0)
"""Takes everything for speech, so that only the forced cuts are left."""


@functools.cache
def _talk(name: str = "interview_clip.wav") -> Samples:
    path = Path(__file__).parents[2] / "examples" / "audio" / name
    return np.concatenate(list(read_audio(path, name, "mix", DecodeReport(), block_s=30.0)), axis=1)[0]


def _spans(
    samples: Samples, config: VadConfig | None = None, max_span: int = _NEVER_CUT, sizes: Sequence[int] = ()
) -> list[Span]:
    """Pushed in blocks of `sizes`, then the rest in one."""
    finder, found, at, settled = SpeechFinder(config or VadConfig(), max_span), [], 0, 0
    for size in [*sizes, len(samples)]:
        new = finder.push(samples[at : at + size])
        at += size
        assert all(span.start >= settled for span in new), "speech appeared before what was said to be settled"
        found += new
        assert settled <= finder.settled <= at
        settled = finder.settled
    new = finder.finish()
    assert all(span.start >= settled for span in new)
    return found + new


def _seconds(spans: Sequence[Span]) -> float:
    return sum(span.end - span.start for span in spans) / 16_000


@settings(max_examples=12)
@example(sizes=[FRAME_SAMPLES] * 300, max_span_s=3.0)
@given(sizes=st.lists(st.integers(0, 40_000), max_size=12), max_span_s=st.sampled_from([0.7, 3.0, 30.0]))
def test_spans_do_not_depend_on_how_the_audio_is_cut_into_blocks(sizes: list[int], max_span_s: float) -> None:
    talk = _talk()[: 16_000 * 8 + 123]
    max_span = int(max_span_s * 16_000)
    whole = _spans(talk, max_span=max_span)
    assert whole
    assert _spans(talk, max_span=max_span, sizes=sizes) == whole


@settings(max_examples=12)
@given(max_span=st.integers(8_000, 100_000), end=st.integers(1, 16_000 * 8))
def test_spans_come_in_order_inside_the_audio_and_are_never_too_long(max_span: int, end: int) -> None:
    spans = _spans(_talk()[:end], max_span=max_span)
    assert all(0 <= span.start < span.end <= end for span in spans)
    assert all(span.end - span.start <= max_span for span in spans)
    assert all(before.end <= after.start for before, after in pairwise(spans))


@settings(max_examples=8)
@example(max_span=19_072)
@given(max_span=st.integers(16_000, 200_000))
def test_a_forced_cut_loses_no_speech(max_span: int) -> None:
    """It may fall into a silence that has just begun, and so keep a little of that."""
    uncut, cut = (_mask(_spans(_talk(), max_span=span)) for span in (_NEVER_CUT, max_span))
    assert not np.any(uncut & ~cut)
    added = np.flatnonzero(np.diff(np.concatenate([[False], cut & ~uncut, [False]])))
    assert all(after - before <= 5 * FRAME_SAMPLES for before, after in added.reshape(-1, 2))


def _mask(spans: Sequence[Span]) -> NDArray[np.bool_]:
    mask = np.zeros(len(_talk()), dtype=bool)
    for span in spans:
        mask[span.start : span.end] = True
    return mask


def test_speech_is_found_where_it_is() -> None:
    talk, quiet = _talk(), np.zeros(32_000, dtype=np.float32)
    spans = _spans(np.concatenate([quiet, talk, quiet]))
    assert spans[0].start == pytest.approx(32_000 + _spans(talk)[0].start, abs=1600)
    speech = np.concatenate([np.concatenate([quiet, talk, quiet])[start:end] for start, end in spans])
    assert len(speech) < 0.9 * len(talk)
    assert np.sum(np.square(speech)) > 0.99 * np.sum(np.square(talk))


@pytest.mark.parametrize("samples", [np.zeros(80_000, np.float32), noise(5) / 100, np.zeros(0, np.float32)])
def test_silence_is_no_speech(samples: Samples) -> None:
    assert _spans(samples) == []


def test_recordings_without_speech_have_next_to_none(data: Path) -> None:
    """Silence, noise, alarms, music; what is found here the engine has to refuse."""
    for name in (
        "aeneas_vad_zero.wav",
        "noise2.wav",
        "noise3.wav",
        "pyannote_empty.wav",
        "mutagen_8k_3.5s_silence.aif",
    ):
        path = data / "no_speech" / name
        samples = np.concatenate(list(read_audio(path, name, "mix", DecodeReport(), block_s=30.0)), axis=1)[0]
        assert _seconds(_spans(samples)) < 0.05 * soundfile.info(path).duration, name


def test_a_shorter_silence_than_configured_does_not_end_a_span() -> None:
    talk = _talk()
    assert len(_spans(talk, VadConfig(min_silence_ms=2000))) < len(_spans(talk, VadConfig(min_silence_ms=160)))
    assert len(_spans(talk, VadConfig(min_silence_ms=60_000))) == 1


def test_shorter_speech_than_configured_is_dropped() -> None:
    spans = _spans(_talk())
    shortest = min(span.end - span.start for span in spans)
    kept = _spans(_talk(), VadConfig(min_speech_ms=shortest // 16 + 33))
    assert kept == [span for span in spans if span.end - span.start > shortest + 512]


def test_speech_up_to_the_last_sample_ends_there() -> None:
    """The last frame is half full: it counts, and nothing reaches beyond it."""
    talk = _talk()[: 16_000 * 3 + 100]
    assert _spans(talk, _HEARS_ALL)[-1].end == len(talk)


@pytest.mark.parametrize("pause_s", [3.1, 4.0, 5.6])
def test_speech_that_is_too_long_is_cut_in_a_real_pause(pause_s: float) -> None:
    """Noise for 10 s with a dip of 100 ms; a cut at most 6 s in, and not before half of that."""
    sound = noise(10)
    dip = slice(int(pause_s * 16_000), int((pause_s + 0.1) * 16_000))
    sound[dip] *= 0.05
    first = _spans(sound, _HEARS_ALL, max_span=6 * 16_000)[0]
    assert dip.start <= first.end <= dip.stop


def test_every_one_of_several_forced_cuts_finds_its_pause() -> None:
    sound, pauses_s = noise(20), [4.0, 8.5, 13.2, 17.0]
    for pause_s in pauses_s:
        sound[int(pause_s * 16_000) : int((pause_s + 0.1) * 16_000)] *= 0.05
    ends = [span.end / 16_000 for span in _spans(sound, _HEARS_ALL, max_span=6 * 16_000)[:-1]]
    assert ends == [pytest.approx(pause_s + 0.05, abs=0.05) for pause_s in pauses_s]


@given(st.lists(st.floats(1e-9, 1.0), min_size=5, max_size=60), st.data())
def test_the_quietest_point_lies_in_the_quietest_stretch(powers: list[float], data: st.DataObject) -> None:
    first = data.draw(st.integers(0, len(powers) - 5))
    found = quietest(np.array(powers), first)
    assert first + 2 <= found <= len(powers) - 3

    def loudness(middle: int) -> float:
        return float(np.sum(10 * np.log10(powers[middle - 2 : middle + 3])))

    assert loudness(found) <= min(loudness(middle) for middle in range(first + 2, len(powers) - 2)) + 1.0


def test_float_noise_does_not_move_a_cut() -> None:
    """Both neighbours of a cut compute it from their own decoding."""
    for seed in range(20):
        sound = noise(30, seed=seed)
        trembling = sound + np.float32(1e-7) * noise(30, seed=seed + 100)
        assert quietest_sample(sound) == quietest_sample(trembling)
    flat = np.zeros(16_000, dtype=np.float32)
    assert quietest_sample(flat) == quietest_sample(flat + np.float32(1e-6)) == 2 * FRAME_SAMPLES


def test_a_cut_through_several_channels_is_quiet_in_all_of_them() -> None:
    sound = np.stack([noise(10, seed=1), noise(10, seed=2)])
    sound[0, 16_000 * 2 : 16_000 * 3] = 0
    sound[:, 16_000 * 6 : 16_000 * 7] *= 0.01
    assert 6 < quietest_sample(sound) / 16_000 < 7
    assert 2 < quietest_sample(sound[:1]) / 16_000 < 3
    assert 6 < quietest_sample(sound[:1], 16_000 * 4, 16_000 * 8) / 16_000 < 7


@pytest.mark.parametrize("noise_dbfs", [None, -70, -50])
@pytest.mark.parametrize("pause_s", [1, 3, 20])
def test_one_word_answers_are_heard_after_any_silence(data: Path, noise_dbfs: float | None, pause_s: int) -> None:
    """Thirty digits of six speakers, of which VAD found ten after 20 s of zeros when its state was never set back."""
    paths = sorted((data / "fsdd").glob("*_4.wav"))[::2]
    assert len(paths) == 30
    sounds, places, at = [], [], 0
    for path in paths:
        digit = decoded(path)[0][0]
        sounds += [np.zeros(pause_s * 16_000 + 37, np.float32), digit]
        at += len(sounds[-2]) + len(digit)
        places.append((at - len(digit), at))
    sound = np.concatenate([*sounds, np.zeros(8_000, np.float32)])
    if noise_dbfs is not None:
        sound += np.float32(10 * 10 ** (noise_dbfs / 20)) * noise(len(sound) / 16_000)[: len(sound)]
    spans = _channel_spans(sound)
    heard = [any(span.start < end and span.end > start for span in spans) for start, end in places]
    assert sum(heard) == 30, [path.name for path, found in zip(paths, heard, strict=True) if not found]
    assert all(any(span.start < end + 8_000 and span.end > start - 8_000 for start, end in places) for span in spans)


@pytest.mark.parametrize("noise_dbfs", [None, -70, -50])
@pytest.mark.parametrize("silence_s", [60, 600])
def test_ten_minutes_without_speech_leave_no_trace(silence_s: int, noise_dbfs: float | None) -> None:
    talk = _talk()[: 16_000 * 8]
    sound = np.concatenate([np.zeros(silence_s * 16_000, np.float32), talk])
    if noise_dbfs is not None:
        sound += np.float32(10 * 10 ** (noise_dbfs / 20)) * noise(len(sound) / 16_000)
    late = _spans(sound)
    assert _seconds(late) == pytest.approx(_seconds(_spans(talk)), rel=0.05)


def _channel_spans(sound: Samples) -> list[Span]:
    channel = Channel(VadConfig(), PackingConfig())
    return [
        Span(chunk.start_ms * 16 + start, chunk.start_ms * 16 + end)
        for chunk in [*channel.push(sound), *channel.finish()]
        for start, end in chunk.speech
    ]


@pytest.mark.parametrize(("name", "least_s"), [("z60_jfk.flac", 6.5), ("late.flac", 0.4)])
def test_a_sentence_after_a_minute_of_silence_is_heard_as_it_is_without(data: Path, name: str, least_s: float) -> None:
    (sound,), _ = decoded(data / "odd_inputs" / name)
    begins = int(np.flatnonzero(np.abs(sound) > 0.01)[0])
    assert begins > 55 * 16_000
    assert _seconds(_spans(sound)) >= max(least_s, 0.95 * _seconds(_spans(sound[begins:])))
