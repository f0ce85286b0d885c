"""The channel's VAD and packing as a live server calls them: samples in, chunks out, no recording."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from schemas.config import Config
from tests.kit.works import decoded, heard, work
from transforms.audio.channel import Channel

_CONFIG = Config.model_validate({"packing": {"max_chunk_s": 6}})


@pytest.mark.parametrize("block_ms", [20, 1_700, 1_000_000])
def test_a_stream_in_blocks_of_any_length_gives_the_chunks_of_the_file(examples: Path, block_ms: int) -> None:
    (sound,), _ = decoded(examples / "meeting_note.flac")
    channel = Channel(_CONFIG.vad, _CONFIG.packing, start=32_000)
    blocks = [sound[at : at + block_ms * 16] for at in range(0, len(sound), block_ms * 16)]
    found = [chunk for block in blocks for chunk in channel.push(block)] + channel.finish()
    expected, closing = heard(work(examples / "meeting_note.flac"), _CONFIG)
    assert len(found) == channel.count == len(expected) > 2
    for chunk, other in zip(found, expected, strict=True):
        assert (chunk.index, chunk.start_ms, chunk.end_ms) == (
            other.chunk_index,
            other.start_ms + 2000,
            other.end_ms + 2000,
        )
        assert np.array_equal(chunk.samples, other.samples)
        assert 0 < chunk.speech_ms <= chunk.end_ms - chunk.start_ms
    assert sum(chunk.speech_samples for chunk in found) // 16 == closing.speech_ms


def test_a_chunk_comes_out_before_the_stream_has_ended(examples: Path) -> None:
    (sound,), _ = decoded(examples / "meeting_note.flac")
    channel = Channel(_CONFIG.vad, _CONFIG.packing)
    early = [chunk for at in range(0, len(sound), 1600) for chunk in channel.push(sound[at : at + 1600])]
    assert early
    assert early[0].end_ms < len(sound) // 16 / 2


def test_what_is_said_so_far_begins_as_its_chunk_will_and_grows(examples: Path) -> None:
    (sound,), _ = decoded(examples / "meeting_note.flac")
    channel = Channel(_CONFIG.vad, _CONFIG.packing)
    begun: dict[int, list[tuple[int, int]]] = {}
    chunks = []
    for at in range(0, len(sound), 1600):
        chunks += channel.push(sound[at : at + 1600])
        assert (channel.so_far() is not None) == channel.begun
        if (chunk := channel.so_far()) is not None:
            begun.setdefault(chunk.index, []).append((chunk.start_ms, chunk.end_ms))
    assert len(chunks) > 2
    for chunk in chunks:
        starts, ends = zip(*begun[chunk.index], strict=True)
        assert set(starts) == {chunk.start_ms}
        assert list(ends) == sorted(ends)


def test_a_flush_ends_the_chunk_at_once_and_the_clock_goes_on(examples: Path) -> None:
    (sound,), _ = decoded(examples / "meeting_note.flac")
    usual = Channel(_CONFIG.vad, _CONFIG.packing)
    speech = [span for chunk in [*usual.push(sound), *usual.finish()] for span in chunk.speech]
    channel, half = Channel(_CONFIG.vad, _CONFIG.packing), len(sound) // 2
    before = [*channel.push(sound[:half]), *channel.flush()]
    assert not channel.begun
    assert before[-1].end_ms <= half // 16
    assert channel.flush() == []
    after = [*channel.push(sound[half:]), *channel.finish()]
    found = [*before, *after]
    assert [chunk.index for chunk in found] == list(range(len(found)))
    assert all(one.end_ms <= other.start_ms for one, other in pairwise(found))
    assert after[0].start_ms >= half // 16 - 32
    heard_ms = sum(chunk.speech_ms for chunk in found)
    assert heard_ms == pytest.approx(sum(span.end - span.start for span in speech) // 16, abs=600)


@pytest.mark.parametrize("step", [7_001, 12_345, 16_000])
def test_a_voice_that_goes_on_through_flushes_is_heard_on(examples: Path, step: int) -> None:
    """Wherever they fall: inside of a frame, too."""
    (sound,), _ = decoded(examples / "meeting_note.flac")
    channel = Channel(_CONFIG.vad, _CONFIG.packing)
    found = []
    for at in range(0, len(sound), step):
        found += [*channel.push(sound[at : at + step]), *channel.flush()]
    found += channel.finish()
    assert len(found) > 5
    assert all(one.end_ms <= other.start_ms for one, other in pairwise(found))
    assert all(chunk.end_ms - chunk.start_ms == pytest.approx(len(chunk.samples) / 16, abs=1) for chunk in found)
