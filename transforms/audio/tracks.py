"""Which of a file's audio tracks is heard, and where the file's own time line begins."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

from transforms.errors import RecordingError

_ASIDE = re.compile(
    r"comm?ent|kommentar|коммент|解说|解說|コメンタリー|descri|descripci|hörfilm|тифло|audio ?vision", re.I
)
"""In the title of a track that speaks about the picture."""


def chosen_track(container: Any, name: str, language: str | None, wanted: int | None) -> tuple[int, Any]:
    """Its place among the audio tracks, and the stream: the `wanted` one, else the first of those in `language` (an ISO
    639 code), that are not commentary or description, that the file marks as default.

    Raises RecordingError, stage 'decode', kind 'no_audio', where there is none.
    """
    tracks = container.streams.audio
    if not tracks:
        raise RecordingError("decode", "no_audio", f"{name} has no audio track; take it out of the manifest")
    if wanted is not None:
        check_track(name, len(tracks), wanted)
        return wanted, tracks[wanted]

    def rank(place: int) -> tuple[bool, ...]:
        track = tracks[place]
        usable = track.codec_context is not None and bool(track.rate)
        return (
            not usable,
            not same_language(track.metadata.get("language"), language),
            _speaks_about(track),
            not track.disposition & type(track.disposition).default,
        )

    place = min(range(len(tracks)), key=rank)
    return place, tracks[place]


def check_track(name: str, tracks: int, wanted: int) -> None:
    """Raises RecordingError where the manifest asks for a track that is not there."""
    if not 0 <= wanted < tracks:
        raise RecordingError(
            "decode",
            "no_audio",
            f"{name} has {tracks} audio track{'s' * (tracks > 1)}, counted from 0, and the manifest's column "
            f"audio_track asks for {wanted}; correct that",
        )


def same_language(tag: str | None, language: str | None) -> bool:
    """True where both are codes of ISO 639 (in two letters or three, with or without a region) for one language."""
    return bool(tag and language) and _plain(tag) == _plain(language) not in (None, "und")


def _plain(tag: str | None) -> str | None:
    import langcodes

    try:
        return langcodes.standardize_tag(tag or "", macro=True).partition("-")[0]
    except ValueError:  # a LanguageTagError
        return None


def _speaks_about(track: Any) -> bool:
    flags = type(track.disposition)
    aside = flags.comment | flags.descriptions | flags.visual_impaired
    titles = " ".join(str(track.metadata.get(key, "")) for key in ("title", "handler_name", "name"))
    return bool(track.disposition & aside) or _ASIDE.search(titles) is not None


def others_begin_s(container: Any, stream: Any) -> Fraction | None:
    """The earliest time stamp of the other sound and pictures in the file; None if there are none."""
    begins = [
        other.start_time * other.time_base
        for other in [*container.streams.audio, *container.streams.video]
        if other.index != stream.index and other.start_time is not None and not _is_cover(other)
    ]
    return min(begins, default=None)


def _is_cover(stream: Any) -> bool:
    flags = type(stream.disposition)
    return bool(stream.disposition & (flags.attached_pic | flags.still_image | flags.timed_thumbnails))
