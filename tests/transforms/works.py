"""Rows of the plan for tests, and what the front end makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from schemas.config import Config
from transforms.front import Chunk, Closing, StageClock, Work, front

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


def work_row(recording: Path | bytes, **changes: Any) -> dict[str, Any]:
    """A row of plan.WORK."""
    source = {"content": recording} if isinstance(recording, bytes) else {"uri": str(recording)}
    return _BLANK | source | changes


def work(recording: Path | bytes, **changes: Any) -> Work:
    return Work(**work_row(recording, **changes))


def heard(work: Work, config: Config | None = None) -> tuple[list[Chunk], Closing]:
    """The chunks and the closing of `work`, which comes last."""
    *chunks, closing = front(work, config or Config(), StageClock())
    assert isinstance(closing, Closing)
    assert all(isinstance(chunk, Chunk) for chunk in chunks)
    return chunks, closing  # type: ignore[return-value]
