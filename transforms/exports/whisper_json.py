"""JSON in the shape that Whisper's users know: text, language, segments, words, with times in seconds. A value that is
not known is null."""

from __future__ import annotations

import json
from typing import Any

from schemas.config import Config
from transforms.exports.recording import Recording
from transforms.text.clock import seconds


def document(recording: Recording, _: Config) -> str:
    """One JSON object, indented."""
    return json.dumps(as_dict(recording), ensure_ascii=False, indent=1) + "\n"


def line(recording: Recording, _: Config) -> str:
    """The same object on one line, for JSON Lines."""
    return json.dumps(as_dict(recording), ensure_ascii=False, separators=(",", ":")) + "\n"


def as_dict(recording: Recording) -> dict[str, Any]:
    words = [(segment, word) for segment in recording.segments for word in segment.words]
    return {
        "text": recording.text or "",
        "language": recording.language,
        "confidence": recording.confidence,
        "duration": seconds(recording.duration_ms),
        "words": [
            {
                "word": word.word,
                "start": seconds(word.start_ms),
                "end": seconds(word.end_ms),
                "confidence": word.confidence,
                "speaker": segment.speaker,
            }
            for segment, word in words
        ],
        "segments": [
            {
                "id": index,
                "start": seconds(segment.start_ms),
                "end": seconds(segment.end_ms),
                "text": segment.text,
                "language": segment.language,
                "confidence": segment.confidence,
                "speaker": segment.speaker,
            }
            for index, segment in enumerate(recording.segments)
        ],
        "audio_id": recording.audio_id,
        "uri": recording.uri,
        "status": recording.status,
        "flags": list(recording.flags),
    }
