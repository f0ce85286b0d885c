"""Subtitles as SubRip (SRT) and WebVTT: the same cues in two spellings."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

from schemas.config import Config
from transforms.exports.cues import Cue, cues
from transforms.exports.recording import Recording, plain
from transforms.text.clock import exact_clock

_BEFORE_TAG = re.compile(r"<(?=\S)")
_WORD_JOINER = "\u2060"
_NO_BREAK_SPACE = "\u00a0"
_RIGHT_TO_LEFT, _END = "\u202b", "\u202c"
_RIGHT_TO_LEFT_MARK = "\u200f"
_PLAIN = str.maketrans("{}", "()")


def srt(recording: Recording, config: Config) -> str:
    """Format: as VLC, FFmpeg and YouTube read it. It has no way to escape what players take for tags: '{' and '}'
    become round, '-->' loses a dash, and an invisible word joiner keeps '<b>' what it is.

    Lines that run from right to left are embedded as such, since players take a line to run from left to right, and its
    full stop to stand at the right. Where nobody speaks, one cue shows a blank: an empty file is refused.
    """
    shown = cues(recording, config.subtitles) or [Cue(0, 1_000, (_NO_BREAK_SPACE,), None)]
    blocks = []
    for number, cue in enumerate(shown, start=1):
        lines = [_BEFORE_TAG.sub(f"<{_WORD_JOINER}", line.replace("-->", "->").translate(_PLAIN)) for line in cue.lines]
        if _runs_leftwards(cue):
            lines = [f"{_RIGHT_TO_LEFT}{line}{_END}" for line in lines]
        blocks.append(
            "\n".join([str(number), f"{exact_clock(cue.start_ms, ',')} --> {exact_clock(cue.end_ms, ',')}", *lines])
        )
    return "".join(f"{block}\n\n" for block in blocks)


def vtt(recording: Recording, config: Config) -> str:
    """Format: W3C WebVTT; the speaker is the cue's voice. A line runs as its first letter does, so a mark goes before
    those that run from right to left, and may begin with a Latin name."""
    blocks = ["WEBVTT"]
    for cue in cues(recording, config.subtitles):
        voice = "" if cue.speaker is None else f"<v {_escaped(plain(cue.speaker))}>"
        mark = _RIGHT_TO_LEFT_MARK if _runs_leftwards(cue) else ""
        text = "\n".join(mark + _escaped(line) for line in cue.lines)
        blocks.append(f"{exact_clock(cue.start_ms, '.')} --> {exact_clock(cue.end_ms, '.')}\n{voice}{text}")
    return "\n\n".join(blocks) + "\n"


def _runs_leftwards(cue: Cue) -> bool:
    """Whether most of its letters are of a script that runs from right to left."""
    classes = Counter(map(unicodedata.bidirectional, "".join(cue.lines)))
    return classes["R"] + classes["AL"] > classes["L"]


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
