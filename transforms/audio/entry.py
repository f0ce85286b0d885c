"""Into the middle of a file that FFmpeg decodes: packets on the way there are counted, not decoded, which is some
fifteen times as quick. FFmpeg's own seek lands beside the place in many formats, and does not tell."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Any

from transforms.audio.marks import Face, Marks, Way, face
from transforms.audio.timeline import TimeLine

_ENTERABLE = {"aac", "ac3", "alac", "amr_nb", "eac3", "flac", "mp2", "mp3", "opus"}
"""Codecs whose decoders, begun anywhere, soon give the samples of one that was begun at the start, but for the noise
that those of AAC and AC-3 make up where the encoder asks for it. Not Vorbis: its packets are of two lengths, which
containers tell to some 10 ms."""
_HEAD_S = 1
"""Decoded at the start: what encoders put there to be left out does not count."""
_SETTLE_S = 2
"""Decoded before the place, and left out, so that the decoder has settled."""
_AGREE_S = Fraction(1, 100)
"""So near to each other must time stamps and the count of samples be; Matroska's time stamps are whole milliseconds."""


@dataclass(frozen=True)
class Entry:
    """`frames` come first, `spare_samples` of which lie before the place; then what `packets` hold. `line` is where the
    first of them is to be placed."""

    frames: list[Any]
    spare_samples: int
    packets: Iterator[Any]
    line: TimeLine


class Astray(Exception):
    """A packet that was met before is not where it was: the file is to be opened anew, and entered without marks."""


def entry(container: Any, stream: Any, start_s: int, line: TimeLine, marks: Marks) -> Entry | None:
    """The stream from `start_s` on, on the time line `line`, which is at its start. None if that place cannot be told
    to the sample: then the file is to be opened anew, and decoded from its start. `marks`: of this track; they shorten
    the way, and it adds to them.

    Raises Astray, and what PyAV raises where something on the way is damaged.
    """
    if stream.codec_context.codec.canonical_name not in _ENTERABLE or start_s <= _HEAD_S + _SETTLE_S:
        return None
    rate_hz, settle_from = stream.rate, (start_s - _SETTLE_S) * stream.rate
    packets = container.demux(stream)
    way = _begun(packets, stream, line)
    if way is None:
        return None
    mark = marks.before(settle_from)
    if mark is not None:
        after = _after(mark.packet, container, stream)
        if after is None:
            marks.give_up()
            raise Astray
        packets, way = after, mark.way.copied()
    line, packet = way.lines[0], next(packets, None)
    while packet is not None:
        stamp = line.stamp(packet)
        if stamp is None:  # the end
            return None
        for one, (before, samples) in zip(way.lines, way.waiting, strict=True):
            one.place(before, samples, stamp)
        passed = line.heard + line.ahead(stamp)
        frames = packet.decode() if passed >= settle_from and packet.is_keyframe else []
        if frames:
            return _begins(frames, packets, way, start_s * rate_hz, rate_hz)
        by_header = round((packet.duration or 0) * stream.time_base * rate_hz)
        way.waiting = (stamp, way.length), (stamp, by_header)
        next_mark = marks.note(passed, packet, way, rate_hz)
        if way.length and all(one.counts(packet, way.length) for one in way.lines):  # nearly all, of a long recording
            most = (min(settle_from, next_mark) - 1 - passed) // way.length
            alike, packet = _alike(packets, packet, most)
            for one in way.lines:
                one.follow(alike, way.length)
            way.waiting = ((stamp + alike * way.length, way.length),) * 2
        else:
            packet = next(packets, None)
    return None


def _begun(packets: Iterator[Any], stream: Any, line: TimeLine) -> Way | None:
    """After the file's head, which is decoded always: it takes from a decoder what it leaves out at its start."""
    head = [frame for packet in _until(packets, _HEAD_S, stream.time_base) for frame in packet.decode()]
    if not head or any(frame.pts is None or frame.sample_rate != stream.rate for frame in head):
        return None
    stream.codec_context.flush_buffers()
    placed = [(line.stamp(frame), frame.samples) for frame in head]
    for (stamp, samples), (following, _) in pairwise(placed):
        line.place(stamp, samples, following)
    # Of as many samples each as the last one, or as long as the container says: whichever fits the time stamps.
    lines, (stamp, length) = (line, copy.copy(line)), placed[-1]
    return Way(lines, (placed[-1], placed[-1]), length, line.ahead(stamp or 0))


def _after(met: Face, container: Any, stream: Any) -> Iterator[Any] | None:
    """The packets after one that was met before; None if it is not found again."""
    import av

    try:
        container.seek(met.pts, stream=stream)
    except av.FFmpegError:
        return None
    packets: Iterator[Any] = container.demux(stream)
    for packet in packets:
        if face(packet) == met:
            return packets
        if packet.pts is None or packet.pts >= (met.pts or 0):
            break
    return None


def _begins(frames: list[Any], packets: Iterator[Any], way: Way, place: int, rate_hz: int) -> Entry | None:
    """At `place`, in samples, with the first frames that the decoder gave."""
    first = way.lines[0].stamp(frames[0])
    if first is None:
        return None
    best = min(way.lines, key=lambda one: abs(one.ahead(first) - way.usual))
    spare = place - best.heard
    agreed = abs(best.ahead(first) - way.usual) <= _AGREE_S * rate_hz
    return Entry(frames, spare, packets, best) if spare >= 0 and agreed else None


def _alike(packets: Iterator[Any], before: Any, most: int) -> tuple[int, Any | None]:
    """How many packets, at most so many, follow `before` without a gap and are as long; and the one after them, None at
    the end."""
    pts, duration, count = before.pts, before.duration, 0
    for packet in packets:
        pts += duration
        if count >= most or packet.pts != pts or packet.duration != duration:
            return count, packet
        count += 1
    return count, None


def _until(packets: Iterator[Any], seconds: int, tick_s: Fraction) -> Iterator[Any]:
    """The packets of the first `seconds`; none if their time is not known."""
    first = None
    for packet in packets:
        if packet.pts is None:
            return
        yield packet
        first = packet.pts if first is None else first
        if (packet.pts - first) * tick_s >= seconds:
            return
