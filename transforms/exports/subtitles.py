"""Subtitles as SubRip (SRT) and WebVTT: the same cues in two spellings."""

from __future__ import annotations

import re

from schemas.config import Config
from transforms.exports.cues import cues
from transforms.exports.recording import Recording, plain
from transforms.text.clock import exact_clock

_BEFORE_TAG = re.compile(r"<(?=\S)")
_WORD_JOINER = "\u2060"
_PLAIN = str.maketrans("{}", "()")


def srt(recording: Recording, config: Config) -> str:
    """Format: as VLC, FFmpeg and YouTube read it. It has no way to escape what players take for tags: '{' and '}'
    become round, '-->' loses a dash, and an invisible word joiner keeps '<b>' what it is."""
    blocks = []
    for number, cue in enumerate(cues(recording, config.subtitles), start=1):
        lines = [_BEFORE_TAG.sub(f"<{_WORD_JOINER}", line.replace("-->", "->").translate(_PLAIN)) for line in cue.lines]
        blocks.append(
            "\n".join([str(number), f"{exact_clock(cue.start_ms, ',')} --> {exact_clock(cue.end_ms, ',')}", *lines])
        )
    return "".join(f"{block}\n\n" for block in blocks)


def vtt(recording: Recording, config: Config) -> str:
    """Format: W3C WebVTT; the speaker is the cue's voice."""
    blocks = ["WEBVTT"]
    for cue in cues(recording, config.subtitles):
        voice = "" if cue.speaker is None else f"<v {_escaped(plain(cue.speaker))}>"
        text = "\n".join(_escaped(line) for line in cue.lines)
        blocks.append(f"{exact_clock(cue.start_ms, '.')} --> {exact_clock(cue.end_ms, '.')}\n{voice}{text}")
    return "\n\n".join(blocks) + "\n"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
