"""Rows of the plan for tests, and what decoder and front end make of a recording."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, Literal

import numpy as np

from schemas.config import Config
from tests.kit.sounds import Samples
from transforms.audio.decoders import DecodeReport
from transforms.audio.front import Chunk, Closing, StageClock, Work, front
from transforms.audio.reading import read_audio

_BLANK: dict[str, Any] = {
    "audio_id": "a",
    "run_key": "r",
    "source_key": "s",
    "uri": None,
    "content": None,
    "language": None,
    "language_source": None,
    "context": None,
    "channels": "mix",
    "start_ms": 0,
    "end_ms": None,
    "metadata": {},
    "part_index": 0,
}


def work_row(recording: Path | str | bytes, **changes: Any) -> dict[str, Any]:
    """A row of WORK."""
    source = {"content": recording} if isinstance(recording, bytes) else {"uri": str(recording)}
    return _BLANK | source | changes


def work(recording: Path | str | bytes, **changes: Any) -> Work:
    return Work(**work_row(recording, **changes))


def heard(work: Work, config: Config | None = None) -> tuple[list[Chunk], Closing]:
    """The chunks and the closing of `work`, which comes last."""
    *chunks, closing = front(work, config or Config(), StageClock())
    assert isinstance(closing, Closing)
    assert all(isinstance(chunk, Chunk) for chunk in chunks)
    return chunks, closing  # type: ignore[return-value]


def decoded(
    content: bytes | Path, channels: Literal["mix", "split"] = "mix", block_s: float = 30.0, **stretch: Any
) -> tuple[Samples, DecodeReport]:
    """Shape (channels, samples), after a look at each block's own shape and range."""
    source, report = io.BytesIO(content) if isinstance(content, bytes) else content, DecodeReport()
    blocks = list(read_audio(source, "a file", channels, report, block_s=block_s, **stretch))
    for block in blocks:
        assert block.dtype == np.float32
        assert block.flags.c_contiguous
        assert block.ndim == 2
        assert np.abs(block).max() <= 1.0
    return np.concatenate(blocks, axis=1) if blocks else np.zeros((1, 0), np.float32), report
