"""Plain text: a paragraph for each speaker's turn, and one more wherever nobody speaks for a while."""

from __future__ import annotations

from itertools import pairwise

from schemas.config import Config
from transforms.exports.recording import Recording, Segment, Turn, plain, turns
from transforms.text.sentences import ends_sentence
from transforms.text.words import separator

_PARAGRAPH_PAUSE_MS = 2_000
_PARAGRAPH_CHARS = 500


def text(recording: Recording, _: Config) -> str:
    """Paragraphs with an empty line between them; where speakers are known, each begins with its speaker's name."""
    return "\n\n".join(_paragraph(part) for turn in turns(recording) for part in paragraphs(turn)) + "\n"


def paragraphs(turn: Turn) -> list[Turn]:
    """The turn cut at long pauses, and where it gets long after a sentence."""
    parts: list[list[Segment]] = [turn.segments[:1]]
    for before, after in pairwise(turn.segments):
        long = sum(len(segment.text) for segment in parts[-1]) >= _PARAGRAPH_CHARS
        ends = long and ends_sentence(before.text, after.text, before.language)
        if ends or after.start_ms - before.end_ms >= _PARAGRAPH_PAUSE_MS:
            parts.append([])
        parts[-1].append(after)
    return [Turn(turn.speaker, part) for part in parts]


def _paragraph(turn: Turn) -> str:
    said = ""
    for segment in turn.segments:
        said += separator(said, segment.text) + plain(segment.text)
    return said if turn.speaker is None else f"{plain(turn.speaker)}: {said}"
