from __future__ import annotations

import hashlib
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from schemas.config import Config
from schemas.parts import CUT_WINDOW_S
from tests.kit.sounds import Samples, noise, tone, written
from tests.kit.works import heard, work
from transforms.audio.channel import Channel
from transforms.audio.decoders import DecodeReport
from transforms.audio.front import Chunk, Closing, StageClock, front
from transforms.audio.reading import read_audio

_HEARS_ALL = {"vad": {"threshold": 1e-9, "end_threshold": 1e-9, "min_speech_ms": 0, "pad_ms": 0}}
"""All audio is speech, so that chunks follow each other without a gap."""


def _config(**sections: Any) -> Config:
    return Config.model_validate(sections)


def _samples(path: Path, channels: str = "mix") -> Samples:
    return np.concatenate(list(read_audio(path, path.name, channels, DecodeReport(), block_s=30.0)), axis=1)


def _ranges(chunks: list[Chunk]) -> list[tuple[int | None, int, int, int]]:
    return [(chunk.channel, chunk.chunk_index, chunk.start_ms, chunk.end_ms) for chunk in chunks]


@pytest.mark.parametrize("name", ["interview_clip.wav", "long_talk.mp3", "voice_memo.m4a", "product_video.mp4"])
def test_a_chunk_holds_the_samples_of_its_times(examples: Path, name: str) -> None:
    whole = _samples(examples / name)[0]
    chunks, closing = heard(work(examples / name))
    assert chunks
    assert [chunk.chunk_index for chunk in chunks] == list(range(len(chunks)))
    for chunk in chunks:
        assert (chunk.samples.dtype, chunk.samples.ndim, chunk.channel) == (np.float32, 1, None)
        first = next(at for at in range(chunk.start_ms * 16, chunk.start_ms * 16 + 16) if whole[at] == chunk.samples[0])
        # A pause's hiss, below -80 dBFS, may be lifted.
        np.testing.assert_allclose(whole[first : first + len(chunk.samples)], chunk.samples, rtol=0, atol=1e-5)
        assert (first + len(chunk.samples)) // 16 == chunk.end_ms
    assert all(before.end_ms <= after.start_ms for before, after in pairwise(chunks))
    assert closing.duration_ms == len(whole) // 16
    assert (closing.chunk_count, closing.error, closing.flags, closing.continues) == (len(chunks), None, [], False)
    assert (
        0.5 * closing.duration_ms < (closing.speech_ms or 0) <= sum(chunk.end_ms - chunk.start_ms for chunk in chunks)
    )


@pytest.mark.parametrize("then", ["grows", "vanishes"])
def test_the_hash_of_a_file_is_that_of_what_was_opened(examples: Path, tmp_path: Path, then: str) -> None:
    """Not of what it has become while it was read."""
    path = tmp_path / "talk.mp3"
    before = (examples / "long_talk.mp3").read_bytes()
    path.write_bytes(before)
    events = front(work(path), _config(), StageClock())
    next(events)
    path.write_bytes(before + b"more") if then == "grows" else path.unlink()
    *_, closing = events
    assert isinstance(closing, Closing)
    assert (closing.error, closing.content_sha256) == (None, hashlib.sha256(before).hexdigest())


def test_channels_are_heard_apart_or_mixed(examples: Path) -> None:
    call = examples / "support_call_stereo.flac"
    apart, closing = heard(work(call, channels="split"))
    assert {chunk.channel for chunk in apart} == {0, 1}
    assert closing.chunk_count == len(apart)
    sound = _samples(call, "split")
    for channel in (0, 1):
        own = [chunk for chunk in apart if chunk.channel == channel]
        assert [chunk.chunk_index for chunk in own] == list(range(len(own)))
        for chunk in own:
            piece = sound[:, chunk.start_ms * 16 : chunk.end_ms * 16]
            assert np.square(piece[channel]).sum() > 5 * np.square(piece[1 - channel]).sum()
    mixed, _ = heard(work(call))
    assert {chunk.channel for chunk in mixed} == {None}


@pytest.mark.parametrize(("name", "channels"), [("long_talk.mp3", "mix"), ("support_call_stereo.flac", "split")])
def test_the_size_of_blocks_changes_no_chunk(examples: Path, name: str, channels: str) -> None:
    job = work(examples / name, channels=channels, end_ms=60_000)
    expected, closing = heard(job)
    for block_s in (1.7, 300.0):
        chunks, same_closing = heard(job, _config(audio={"block_s": block_s}))
        assert sorted(_ranges(chunks), key=str) == sorted(_ranges(expected), key=str)
        assert replace(same_closing, quality=None) == replace(closing, quality=None)  # see test_quality.py


@pytest.mark.parametrize("name", ["meeting_note.flac", "podcast_intro.mp3"])
def test_times_are_those_of_the_file_when_only_a_stretch_is_wanted(examples: Path, name: str) -> None:
    whole = _samples(examples / name)[0]
    chunks, closing = heard(work(examples / name, start_ms=5_250, end_ms=9_000))
    assert chunks
    assert closing.duration_ms == 9_000
    for chunk in chunks:
        assert 5_250 <= chunk.start_ms < chunk.end_ms <= 9_000
        piece = whole[chunk.start_ms * 16 : chunk.start_ms * 16 + len(chunk.samples) + 16]
        shifts = [np.abs(piece[at : at + len(chunk.samples)] - chunk.samples).max() for at in range(16)]
        assert min(shifts) < 1e-4


@pytest.mark.parametrize(
    ("content", "stage", "kind"),
    [(b"", "fetch", "empty"), (b"no sound at all", "decode", "corrupt"), (None, "fetch", "no_folder")],
)
def test_what_is_wrong_with_a_recording_is_told_by_its_closing(content: bytes | None, stage: str, kind: str) -> None:
    chunks, closing = heard(work(content) if content is not None else work(Path("/no/such/file.wav")))
    assert chunks == []
    assert closing.error is not None
    assert (closing.error.stage, closing.error.kind) == (stage, kind)
    assert (closing.duration_ms, closing.speech_ms, closing.continues) == (None, None, False)


def test_a_header_that_claims_another_length_is_flagged() -> None:
    content = bytearray(written(tone(16_000, 3), 16_000, "FLAC"))
    content[22:26] = (2 * 48_000).to_bytes(4, "big")
    _, closing = heard(work(bytes(content)))
    assert (closing.duration_ms, closing.header_duration_ms) == (3000, 6000)
    assert closing.flags == ["duration_mismatch"]
    _, closing = heard(work(bytes(content), end_ms=2000))
    assert closing.flags == []  # the rest was not looked at


def test_what_came_before_the_damage_is_kept_and_flagged(examples: Path) -> None:
    content = (examples / "meeting_note.flac").read_bytes()
    chunks, closing = heard(work(content[: len(content) // 2]))
    assert chunks
    assert closing.error is None
    assert set(closing.flags) == {"damaged", "duration_mismatch"}
    chunks, closing = heard(work(content[: len(content) // 2], start_ms=12_000))
    assert (chunks, closing.error) == ([], None)
    assert "damaged" in closing.flags


def test_silence_is_a_recording_without_chunks(examples: Path) -> None:
    chunks, closing = heard(work(examples / "silence.wav"))
    assert (chunks, closing.error, closing.speech_ms) == ([], None, 0)
    assert closing.duration_ms == 3000


def _parts(content: bytes, config: Config, **changes: Any) -> tuple[list[Chunk], list[int]]:
    """All parts' chunks, and how many chunks each part has; asks for one part more than there are."""
    found, counts, more, audio_ms = [], [], True, 0
    while more:
        chunks, closing = heard(work(content, part_index=len(counts), **changes), config)
        assert closing.error is None
        found += chunks
        counts.append(len(chunks))
        audio_ms += closing.audio_ms
        more = closing.continues
    assert closing.duration_ms is not None
    assert audio_ms == pytest.approx(closing.duration_ms - changes.get("start_ms", 0), abs=len(counts))
    beyond, closing = heard(work(content, part_index=len(counts), **changes), config)
    assert (beyond, closing.chunk_count, closing.continues, closing.error) == ([], 0, False, None)
    return found, counts


@pytest.mark.parametrize(("kind", "rate_hz"), [("WAV", 16_000), ("FLAC", 44_100), ("MP3", 16_000)])
@pytest.mark.parametrize(("start_ms", "end_ms", "parts"), [(0, None, 5), (10_500, 140_000, 4)])
def test_parts_meet_without_gap_or_overlap(
    kind: str, rate_hz: int, start_ms: int, end_ms: int | None, parts: int
) -> None:
    """Each decodes for itself, from where it starts, and finds the same cuts."""
    sound = noise(149, rate_hz)
    sound[rate_hz * 47 : rate_hz * 47 + rate_hz // 4] *= 0.01
    content = written(sound, rate_hz, kind)
    config = _config(packing={"part_minutes": 0.5}, **_HEARS_ALL)
    whole = np.concatenate(
        [c.samples for c in heard(work(content, start_ms=start_ms, end_ms=end_ms), _config(**_HEARS_ALL))[0]]
    )
    chunks, counts = _parts(content, config, start_ms=start_ms, end_ms=end_ms)
    assert len(counts) == parts
    joined = np.concatenate([chunk.samples for chunk in chunks])
    assert len(joined) == len(whole)
    assert np.abs(joined - whole).max() < 1e-4
    assert chunks[0].start_ms == start_ms
    assert all(before.end_ms == after.start_ms for before, after in pairwise(chunks))
    if start_ms == 0:
        assert 47_000 <= chunks[sum(counts[:2])].start_ms <= 47_250  # the second cut


def test_parts_of_speech_hold_the_same_speech_as_the_whole(examples: Path) -> None:
    talk = _samples(examples / "long_talk.mp3")[0]
    content = written(talk, 16_000, "FLAC", "PCM_16")
    whole, _ = heard(work(content))
    chunks, counts = _parts(content, _config(packing={"part_minutes": 0.7}))
    assert len(counts) == 4
    assert all(before.end_ms <= after.start_ms for before, after in pairwise(chunks))
    covered, expected = (_mask(found, len(talk)) for found in (chunks, whole))
    energy = np.square(talk)
    assert energy[expected & ~covered].sum() < 0.001 * energy.sum()
    for index, nominal_ms in enumerate((20_000, 60_000, 100_000)):
        cut_ms = chunks[sum(counts[: index + 1])].start_ms
        assert nominal_ms - 400 <= cut_ms <= nominal_ms + CUT_WINDOW_S * 1000


def _mask(chunks: list[Chunk], length: int) -> np.ndarray:
    mask = np.zeros(length, dtype=bool)
    for chunk in chunks:
        mask[chunk.start_ms * 16 : chunk.end_ms * 16] = True
    return mask


@pytest.mark.parametrize(("seconds", "parts"), [(9.0, 1), (10.0, 1), (39.9, 1), (40.0, 2), (69.9, 2), (70.0, 3)])
def test_a_recording_that_ends_within_the_window_of_a_cut_is_not_cut(seconds: float, parts: int) -> None:
    config = _config(packing={"part_minutes": 0.5}, **_HEARS_ALL)
    chunks, counts = _parts(written(noise(seconds), 16_000), config)
    assert len(counts) == parts
    assert sum(len(chunk.samples) for chunk in chunks) == int(seconds * 16_000)


@pytest.mark.parametrize("channels", ["mix", "split"])
def test_channels_are_cut_into_parts_at_the_same_point(channels: str) -> None:
    sound = np.stack([noise(70, seed=1), noise(70, seed=2)], axis=1)
    sound[16_000 * 20 : 16_000 * 21, 0] = 0
    sound[16_000 * 30 : 16_000 * 31] *= 0.001
    config = _config(packing={"part_minutes": 0.5}, **_HEARS_ALL)
    second, _ = heard(work(written(sound, 16_000), channels=channels, part_index=1), config)
    starts = {min(c.start_ms for c in second if c.channel == channel) for channel in {c.channel for c in second}}
    assert len(starts) == 1
    assert 30_000 <= starts.pop() <= 31_000


@pytest.mark.parametrize(
    ("sound", "vad"),
    [(np.zeros(16_000 * 10, np.float32), {}), (noise(10), {}), (noise(10), _HEARS_ALL["vad"])],
    ids=["silence", "noise", "speech without end"],
)
def test_memory_does_not_grow_with_the_recording(sound: Samples, vad: dict[str, float]) -> None:
    config = _config(vad=vad)
    channel = Channel(config.vad, config.packing)
    most = 0
    for _ in range(24):
        channel.push(sound)
        most = max(most, len(channel._held))
    # A full chunk that waits for its end, the speech that may join it, and the block.
    assert most <= (2 * config.packing.max_chunk_s + config.packing.max_gap_s) * 16_000 + len(sound)


def test_seconds_are_counted_by_stage(examples: Path) -> None:
    clock = StageClock()
    list(front(work(examples / "interview_clip.wav"), Config(), clock))
    assert set(clock.seconds) == {"fetch", "decode", "vad"}
    assert all(0 < seconds < 30 for seconds in clock.seconds.values())
