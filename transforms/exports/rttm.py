"""RTTM, NIST's list of who speaks when, as pyannote and dscore read it.

Format: the RT-09 Meeting Recognition Evaluation Plan, appendix A.
"""

from __future__ import annotations

from schemas.config import Config
from transforms.exports.recording import UNKNOWN_SPEAKER, Recording, Segment

_JOINED_PAUSE_MS = 300
"""NIST's evaluations count a shorter pause as speech."""


def rttm(recording: Recording, _: Config) -> str:
    """One line for each stretch of a speaker's speech, sorted by start; a speaker that is not known is called
    'unknown'. Channels count from 1."""
    by_voice: dict[tuple[str, int], list[tuple[int, int]]] = {}
    for segment in sorted(recording.segments, key=lambda segment: segment.start_ms):
        stretches = by_voice.setdefault(_voice(segment), [])
        if stretches and segment.start_ms - stretches[-1][1] < _JOINED_PAUSE_MS:
            stretches[-1] = (stretches[-1][0], max(stretches[-1][1], segment.end_ms))
        else:
            stretches.append((segment.start_ms, segment.end_ms))
    lines = sorted(
        (start_ms, channel, end_ms - start_ms, speaker)
        for (speaker, channel), stretches in by_voice.items()
        for start_ms, end_ms in stretches
    )
    return "".join(
        f"SPEAKER {recording.name} {channel} {start_ms / 1000:.3f} {length_ms / 1000:.3f} "
        f"<NA> <NA> {speaker} <NA> <NA>\n"
        for start_ms, channel, length_ms, speaker in lines
    )


def _voice(segment: Segment) -> tuple[str, int]:
    """Speaker, as a name without spaces, and channel."""
    speaker = "_".join((segment.speaker or "").split()) or UNKNOWN_SPEAKER
    return speaker, 1 if segment.channel is None else segment.channel + 1
