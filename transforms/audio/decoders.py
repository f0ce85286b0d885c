"""The two decoders: libsndfile for WAV, FLAC, AIFF and their like, in which it seeks exactly; FFmpeg through PyAV for
everything else, video files included.

MP3 and Ogg are FFmpeg's too: libsndfile stops without a word where one recording was joined to another.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from transforms.audio.converter import Converter
from transforms.audio.entry import Astray, Entry, entry
from transforms.audio.formats import OPTIONS, has_stamps, lacks_index, states_length
from transforms.audio.marks import marks_of
from transforms.audio.ogg import unlike_links
from transforms.audio.riff import UNKNOWN_BYTES, mended
from transforms.audio.splicing import Spliced, opened
from transforms.audio.timeline import TimeLine
from transforms.audio.tracks import check_track, chosen_track, others_begin_s
from transforms.errors import RecordingError
from transforms.stores.ranged import Ranged, Source

_RATES_HZ = (1_000, 768_000)
_MAX_CHANNELS = 64
_MEND = "check that the copy is complete, or convert it to WAV"
_BY_LIBSNDFILE = {"WAV", "WAVEX", "W64", "RF64", "FLAC", "AIFF", "CAF", "AU", "NIST"}
_PIECE_FRAMES = 4096
_CORRECTED = re.compile(r"^ *(?:data|SSND) : (\d+) \(should be (\d+)\)", re.MULTILINE)


@dataclass
class DecodeReport:
    """What was learnt while decoding: `read_samples` at 16 kHz from the file's start, what the header claimed (or what
    FFmpeg guesses where no header `states_length`), the first damage met, which track it was."""

    read_samples: int = 0
    header_duration_ms: int | None = None
    states_length: bool = True
    damage: str | None = None
    audio_track: int | None = None
    phase_cancelled: bool = False


@dataclass(frozen=True)
class Opened:
    """A file being decoded: (samples, channels) float32 blocks at `rate_hz`, the first `skipped_s` seconds left out."""

    rate_hz: int
    channels: int
    header_duration_ms: int | None
    skipped_s: int
    layout: str | None
    """FFmpeg's name of the channels' places; None where only their number is known."""
    blocks: Iterator[NDArray[np.float32]]


@contextmanager
def opened_audio(
    source: Source,
    name: str,
    report: DecodeReport,
    block_s: float,
    start_s: int,
    language: str | None = None,
    audio_track: int | None = None,
) -> Iterator[Opened]:
    """The file, being decoded; from `start_s` on where its format can be entered exactly. Of several audio tracks the
    one that tracks.chosen_track chooses. Raises RecordingError."""
    import soundfile

    whole = mended(source)
    file = _sound_file(source if whole is None else whole.file)
    if file is None:
        with _opened_by_ffmpeg(source, name, report, block_s, start_s, language, audio_track) as decoded:
            yield decoded
        return
    with file, contextlib.closing(whole.file) if whole is not None else contextlib.nullcontext():
        check_track(name, 1, audio_track or 0)
        report.audio_track = 0
        _check_header(name, file.samplerate, file.channels)
        skipped_s = 0
        if start_s and start_s * file.samplerate < file.frames:
            try:
                file.seek(start_s * file.samplerate)
            except soundfile.LibsndfileError:  # damaged before that point: read from the start, as far as it goes
                _rewind(source)
                with opened_audio(source, name, report, block_s, 0, language, audio_track) as whole_file:
                    yield whole_file
                return
            skipped_s = start_s
        own_ms = _claimed_frames(file) * 1000 // file.samplerate or None
        claimed_ms = own_ms if whole is None else whole.claimed_ms
        layout = _layout(source) if file.channels > 2 else None
        blocks = _sndfile_blocks(file, block_s, report)
        yield Opened(file.samplerate, file.channels, claimed_ms, skipped_s, layout, blocks)


def _sound_file(source: Source | BinaryIO) -> Any | None:
    """The file opened by libsndfile, None if that is FFmpeg's to do."""
    import soundfile

    try:
        file = soundfile.SoundFile(_by_name(source))
    except (soundfile.LibsndfileError, TypeError):  # TypeError: a headerless .raw, which needs a format
        file = None
    if file is not None and file.format in _BY_LIBSNDFILE:
        return file
    if file is not None:
        file.close()
    _rewind(source)
    return None


def _layout(source: Source) -> str | None:
    """The places of a file's channels as FFmpeg reads them from its header; libsndfile keeps them to itself."""
    import av

    try:
        with opened(source) as file, _container(file) as container:
            return str(container.streams.audio[0].layout.name)
    except (av.FFmpegError, OSError, ValueError, IndexError):
        return None


def _rewind(source: Source | BinaryIO) -> None:
    if not isinstance(source, Path | Ranged):
        source.seek(0)


def _by_name(source: Source | BinaryIO | Spliced) -> str | BinaryIO | Spliced:
    """What the decoders' libraries open: a file's name, or a handle."""
    if isinstance(source, Path):
        return str(source.absolute())  # FFmpeg takes what comes before a colon in a relative path for a protocol
    return source.open() if isinstance(source, Ranged) else source


def _claimed_frames(file: Any) -> int:
    """What the header says, 0 if nothing: libsndfile corrects a WAV's or AIFF's to the file's size, and tells it in its
    log."""
    if not 0 < file.frames < 2**62:
        return 0
    corrected = _CORRECTED.search(file.extra_info)
    if corrected is None:
        return int(file.frames)
    claimed_bytes, real_bytes = map(int, corrected.groups())
    return 0 if claimed_bytes >= UNKNOWN_BYTES or not real_bytes else file.frames * claimed_bytes // real_bytes


def _sndfile_blocks(file: Any, block_s: float, report: DecodeReport) -> Iterator[NDArray[np.float32]]:
    """`block_s` at a time, read in small pieces: damage costs the piece in which it is met, whatever the block."""
    import soundfile

    # Else soundfile seeks after each read to where it is already, which costs a damaged FLAC its end.
    file.seekable = lambda: False
    frames = max(1, int(block_s * file.samplerate))
    waiting: list[NDArray[np.float32]] = []
    while True:
        try:
            piece = file.read(_PIECE_FRAMES, dtype="float32", always_2d=True)
        except (soundfile.LibsndfileError, RuntimeError) as error:
            report.damage, piece = str(error), np.zeros((0, file.channels), dtype=np.float32)
        waiting.append(piece)
        if not len(piece) or sum(map(len, waiting)) >= frames:
            yield np.concatenate(waiting)
            waiting = []
        if not len(piece):
            return


def _check_header(name: str, rate_hz: int, channels: int) -> None:
    low, high = _RATES_HZ
    if not low <= rate_hz <= high:
        raise RecordingError(
            "decode",
            "bad_header",
            f"{name} claims a sample rate of {rate_hz:,} Hz, which no recorder uses; export it again",
        )
    if not 1 <= channels <= _MAX_CHANNELS:
        raise RecordingError(
            "decode", "bad_header", f"{name} claims {channels:,} channels; {_MAX_CHANNELS} at most are read"
        )


@contextmanager
def _opened_by_ffmpeg(
    source: Source,
    name: str,
    report: DecodeReport,
    block_s: float,
    start_s: int,
    language: str | None,
    audio_track: int | None,
) -> Iterator[Opened]:
    import av

    links = unlike_links(source)
    if links:  # its samples can be counted from the start only
        start_s = 0
    first_link = Spliced(opened(source), links[:1]) if links else None
    try:
        container = _container(first_link or source)
    except (av.FFmpegError, OSError, ValueError, IndexError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        message = f"{name} is not a readable audio or video file ({reason}); {_MEND}"
        if lacks_index(source):
            message = (
                f"{name} lacks the index (moov) that says where its sound lies: it was cut off, or its recorder "
                "stopped before it wrote one; fetch it again, or let a repair tool (untrunc) rebuild it"
            )
        raise RecordingError("decode", "corrupt", message) from error
    with container, first_link or contextlib.nullcontext():
        report.audio_track, stream = chosen_track(container, name, language, audio_track)
        if stream.codec_context is None or not stream.rate:
            raise RecordingError(
                "decode",
                "corrupt",
                f"{name}: its audio track cannot be decoded; {_MEND}",
            )
        _check_header(name, stream.rate, stream.channels)
        others_s = others_begin_s(container, stream)
        claimed_ms = _claimed_ms(container, stream, others_s)
        report.states_length = states_length(container, stream, source)
        rate_hz, channels = stream.rate, stream.channels
        line = TimeLine(rate_hz, stream.time_base, others_s)
        again_s = 0
        try:
            if start_s:
                begin = entry(container, stream, start_s, line, marks_of(source, stream.index))
            else:
                begin = Entry([], 0, container.demux(stream), line)
        except Astray:
            begin, again_s = None, start_s
        except (av.FFmpegError, ValueError, IndexError):  # damaged before that point, which reading on notes
            begin = None
        if begin is not None:
            first = begin, Converter(stream.layout, rate_hz, begin.line, has_stamps(container))
            later = _later_links(source, name, links[1:], stream.layout, rate_hz, report, language)
            blocks = _ffmpeg_blocks(chain([first], later), round(block_s * rate_hz), report)
            yield Opened(rate_hz, channels, claimed_ms, start_s, stream.layout.name, blocks)
            return
    _rewind(source)
    with _opened_by_ffmpeg(source, name, report, block_s, again_s, language, audio_track) as decoded:
        yield decoded


def _claimed_ms(container: Any, stream: Any, others_s: Fraction | None) -> int | None:
    """Where the track ends on the file's time line, after its header or FFmpeg's guess."""
    if stream.duration is None or stream.time_base is None:
        return round((container.duration or 0) * 1000 / 1_000_000) or None
    seconds = stream.duration * stream.time_base
    if others_s is not None and stream.start_time is not None:
        seconds += max(0, stream.start_time * stream.time_base - others_s)
    return round(seconds * 1000) if seconds > 0 else None


def _container(source: Source | BinaryIO | Spliced) -> Any:
    """Raises what PyAV does."""
    import av

    return av.open(_by_name(source), container_options=OPTIONS, metadata_errors="ignore")


def _later_links(
    source: Source,
    name: str,
    links: list[range],
    layout: Any,
    rate_hz: int,
    report: DecodeReport,
    language: str | None,
) -> Iterator[tuple[Entry, Converter]]:
    """Each of the recordings that follow the first one in its file, turned to that one's `layout` and rate."""
    import av

    for link in links:
        try:
            with opened(source) as file, _container(Spliced(file, [link])) as container:
                _, stream = chosen_track(container, name, language, None)
                line = TimeLine(rate_hz, stream.time_base)
                yield Entry([], 0, container.demux(stream), line), Converter(layout, rate_hz, line)
        except (av.FFmpegError, OSError, ValueError, IndexError, RecordingError) as error:
            report.damage = report.damage or str(error)


def _ffmpeg_blocks(
    links: Iterator[tuple[Entry, Converter]], block_samples: int, report: DecodeReport
) -> Iterator[NDArray[np.float32]]:
    """The blocks of one recording after the other."""
    for begin, convert in links:
        yield from _link_blocks(begin, convert, block_samples, report)


def _link_blocks(
    begin: Entry, convert: Converter, block_samples: int, report: DecodeReport
) -> Iterator[NDArray[np.float32]]:
    """`block_samples` at a time; a packet that cannot be decoded is noted, and silence of its length stands in."""
    import av

    waiting: list[NDArray[np.float32]] = []
    waiting_samples, spare = 0, begin.spare_samples
    frames, ended = begin.frames, False
    while True:
        try:
            for frame in frames:
                for part in convert(frame):
                    waiting.append(part)
                    waiting_samples += len(part)
        except (av.FFmpegError, ValueError, IndexError) as error:
            report.damage = report.damage or str(error)
        if convert.line.absurd_s:
            report.damage = report.damage or f"the time stamps jump by {convert.line.absurd_s} s"
        if waiting and (ended or waiting_samples - spare >= block_samples):
            yield np.concatenate(waiting)[spare:]
            waiting, waiting_samples, spare = [], 0, 0
        if ended:
            return
        frames, ended = _next_frames(begin.packets, report)


def _next_frames(packets: Iterator[Any], report: DecodeReport) -> tuple[list[Any], bool]:
    """Those of the next packet, none if it cannot be decoded; or a None and True at the end."""
    import av

    try:
        packet = next(packets, None)
    except (av.FFmpegError, ValueError) as error:  # the container itself breaks off
        report.damage, packet = report.damage or str(error), None
    if packet is None:
        return [None], True
    try:
        return packet.decode(), False
    except (av.FFmpegError, ValueError, IndexError) as error:
        report.damage = report.damage or str(error)
        return [], False
