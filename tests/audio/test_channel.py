"""The channel's VAD and packing as a live server calls them: samples in, chunks out, no recording."""

from __future__ import annotations

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
