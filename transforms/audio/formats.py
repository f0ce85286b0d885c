"""What FFmpeg may open: audio and video in one file. Lists that name other files (playlists, concat scripts, sessions,
numbered images) are not among them, whatever a file is called."""

from __future__ import annotations

from typing import Any

from transforms.audio.splicing import opened
from transforms.stores.ranged import Source

_STATING = (
    "mov mp4 m4a 3gp 3g2 mj2 matroska webm asf avi flv live_flv wav w64 aiff caf au flac tta ape wv mpc mpc8 tak mxf "
    "nut voc ircam sox nistsphere oma dsf dsdiff iff rm dss wtv"
)
"""Containers whose headers say how long they are."""
_OTHERS = (
    "ogg mp3 aac loas latm ac3 ac4 eac3 dts dtshd truehd mlp amr amrnb amrwb mpeg mpegts mpegvideo mpegtsraw gsm g722 "
    "g723_1 g729 qcp sbc aptx aptx_hd spdif adts dv gxf lxf nsv pva vivo swf ivf ivr oss osq shn sln codec2 rl2 roq "
    "smk bink ea film_cpk 4xm adx aa aax ast brstm genh hca hcom kvag lc3 lvf mca mmf msf mtaf mtv paf pvf qoa rka rso "
    "rsd sds siff smjpeg svs tmv tty vag vpk vqf wsaud wsvqa wve xa xwma xvag yop ty dhav kux luodat argo_asf "
    "bonk laf apac dfpwm vividas xmv acm act adp aea aix alp anm apc apm aqtitle avr dsicin daud dcstr epaf iss jv"
)
OPTIONS = {"format_whitelist": ",".join((_STATING + " " + _OTHERS).split()), "protocol_whitelist": "file"}
"""For av.open, as container_options."""
_MP3_LENGTHS = (b"Xing", b"Info", b"VBRI")
_HEAD_BYTES = 4096


_RAW = frozenset("aac loas ac3 eac3 dts dtshd mp3 amr amrnb amrwb truehd mlp".split())


def has_stamps(container: Any) -> bool:
    """False for a codec's bare stream, whose time stamps are FFmpeg's own count."""
    return container.format.name not in _RAW


def states_length(container: Any, stream: Any, source: Source) -> bool:
    """True if the file's header says how long the track is: FFmpeg guesses it from bit rates and last time stamps
    elsewhere."""
    names = set(container.format.name.split(","))
    if names == {"mp3"}:
        return any(tag in _head(source) for tag in _MP3_LENGTHS)
    if stream.duration is None and len(container.streams) > 1:  # that of the longest track
        return False
    return not names.isdisjoint(_STATING.split())


def _head(source: Source) -> bytes:
    """The first bytes after an ID3 tag."""
    with opened(source) as file:
        head = file.read(10)
        if head[:3] == b"ID3" and len(head) == 10:
            size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
            file.seek(10 + size)
        else:
            file.seek(0)
        return file.read(_HEAD_BYTES)


def lacks_index(source: Source) -> bool:
    """True for an MP4 or MOV that holds samples, but neither a 'moov' box nor fragments that say where each lies."""
    names: set[bytes] = set()
    with opened(source) as file:
        at, size = 0, file.seek(0, 2)
        while at + 8 <= size:
            file.seek(at)
            head = file.read(16)
            length = int.from_bytes(head[8:16] if head[:4] == b"\0\0\0\1" else head[:4], "big")
            names.add(head[4:8])
            at += length if length >= 8 else size
    return b"mdat" in names and names.isdisjoint({b"moov", b"moof"})
