"""CTM, NIST's list of timed words, as sclite and Kaldi read it: file, channel, start, duration, word, confidence.

Format: the manual of SCTK, "infmts".
"""

from __future__ import annotations

from schemas.config import Config
from transforms.exports.recording import Recording, filled_times


def ctm(recording: Recording, _: Config) -> str:
    """One line a word, sorted by channel and start. Channels count from 1; words without a time have the one between
    their neighbours; the last column is left out where no confidence is known."""
    rows = []
    for segment in recording.segments:
        channel = 1 if segment.channel is None else segment.channel + 1
        for word, (start_ms, end_ms) in zip(segment.words, filled_times(segment), strict=True):
            rows.append((channel, start_ms, end_ms - start_ms, "".join(word.word.split()), word.confidence))
    rows.sort(key=lambda row: row[:2])
    return "".join(
        f"{recording.name} {channel} {start_ms / 1000:.3f} {length_ms / 1000:.3f} {word}"
        + ("\n" if confidence is None else f" {confidence:.3f}\n")
        for channel, start_ms, length_ms, word, confidence in rows
    )
