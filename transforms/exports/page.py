"""One HTML page a recording: player, words that light up as they are said, search. It needs nothing from outside but
the recording itself.

page.html has the structure with `{{holes}}`, page.css the looks, page.js the behaviour; all three travel in the page.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import re
from html import escape
from importlib.resources import files
from pathlib import PurePosixPath

from schemas.config import Config
from transforms.exports.recording import Piece, Recording, Turn, joined_pieces, turns
from transforms.exports.text import paragraphs
from transforms.text.clock import clock

_HOLE = re.compile(r"\{\{(\w+)\}\}")
_DOUBTFUL, _VERY_DOUBTFUL = 0.7, 0.4
_COLOURS = 6


def page(recording: Recording, _: Config) -> str:
    style, script = _resource("page.css"), _resource("page.js")
    shown: list[Piece] = []
    values = {
        "title": escape(_title(recording)),
        "uri": escape(recording.uri or recording.audio_id),
        "facts": _facts(recording),
        "source": _source(recording),
        "language": escape(recording.language or "und"),
        "turns": _turns(recording, shown),
        "times": json.dumps([ms for piece in shown for ms in (piece.start_ms, piece.end_ms)], separators=(",", ":")),
        "doubtful": f"{_DOUBTFUL:.0%}".rstrip("%"),
        "very_doubtful": f"{_VERY_DOUBTFUL:.0%}".rstrip("%"),
        "style": style,
        "style_hash": _hash(style),
        "script": script,
        "script_hash": _hash(script),
    }
    return _HOLE.sub(lambda hole: values[hole[1]], _resource("page.html"))


@functools.cache
def _resource(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


@functools.cache
def _hash(text: str) -> str:
    """As a Content-Security-Policy names the one style and the one script that may run."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _title(recording: Recording) -> str:
    return PurePosixPath(recording.uri).name if recording.uri else recording.audio_id


def _source(recording: Recording) -> str:
    if recording.audio_src is None:
        return ""
    return f' src="{escape(recording.audio_src)}" data-uri="{escape(recording.uri or "")}"'


def _facts(recording: Recording) -> str:
    word_count = sum(len(segment.words) for segment in recording.segments)
    facts = [f"<b>{word_count:,}</b> words"]
    if recording.duration_ms is not None:
        facts.insert(0, f"Length <b>{clock(recording.duration_ms)}</b>")
    if recording.language:
        code = escape(recording.language)
        facts.append(f'<b data-language="{code}">{code}</b>')
    if recording.confidence is not None:
        facts.append(f"Confidence <b>{recording.confidence:.0%}</b>")
    items = [f"<li>{fact}</li>" for fact in facts]
    items += [f'<li class="flag">{escape(flag.replace("_", " "))}</li>' for flag in recording.flags]
    return "".join(items)


def _turns(recording: Recording, shown: list[Piece]) -> str:
    """The transcript; `shown` gets its words in the order of the page."""
    if not recording.segments:
        return '<p class="silent">No speech was found in this recording.</p>'
    speakers = list(dict.fromkeys(segment.speaker for segment in recording.segments if segment.speaker))
    blocks = []
    for turn in turns(recording):
        if turn.speaker is None:
            opening = '<section class="turn">'
        else:
            colour = speakers.index(turn.speaker) % _COLOURS
            opening = f'<section class="turn s{colour}"><h2>{escape(turn.speaker)}</h2>'
        blocks.append(opening + "".join(_paragraph(part, shown) for part in paragraphs(turn)) + "</section>")
    return "\n".join(blocks)


def _paragraph(part: Turn, shown: list[Piece]) -> str:
    said = joined_pieces(part.segments)
    shown += said
    start_ms = said[0].start_ms
    words = "".join(_word(piece) + piece.space for piece in said)
    at = clock(start_ms)
    link = f'<a class="time" href="#t={start_ms / 1000:.2f}" data-ms="{start_ms}" aria-label="Play from {at}">{at}</a>'
    return f'<div class="said">{link}<p dir="auto">{words}</p></div>'


def _word(piece: Piece) -> str:
    text = escape(piece.text)
    if piece.confidence is None or piece.confidence >= _DOUBTFUL:
        return f"<span>{text}</span>"
    grade = "d2" if piece.confidence < _VERY_DOUBTFUL else "d1"
    return f'<span class="{grade}" title="{piece.confidence:.0%} sure">{text}</span>'
