"""The chunks of one recording → its transcript: text, segments, words, failures. Needs no Spark and no engine."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from schemas.config import SegmentsConfig
from transforms.publishing.figures import figures, unheard
from transforms.text.folding import folded_text
from transforms.text.segments import TimedWord, mean_confidence, split_segments
from transforms.text.words import separator

Row = Mapping[str, Any]


def assemble(rows: Sequence[Row], config: SegmentsConfig, take_id: str) -> dict[str, Any]:
    """One row of the table recordings, with lists of rows for segments, words and failures under these names.

    `rows` are one recording's rows of chunks under one run_key, `take_id` names what becomes of them; where several
    runs made a part, the latest complete one counts. Words are in the order of the text;
    `recordings.text[char_start:char_end]` is the word."""
    rows = _latest(rows)
    closings = sorted((row for row in rows if row["closing"]), key=lambda row: row["part_index"])
    chunks = sorted((row for row in rows if not row["closing"]), key=lambda row: (row["start_ms"], row["channel"] or 0))
    key = {"audio_id": closings[0]["audio_id"], "run_key": closings[0]["run_key"]}
    made = {**key, "take_id": take_id}
    by_channel: dict[int | None, list[Row]] = defaultdict(list)
    for chunk in chunks:
        if chunk["words"]:
            by_channel[chunk["channel"]].append(chunk)
    text, segments, words = _read_together(
        [_channel_segments(channel, by_channel[channel], config) for channel in by_channel]
    )
    failures = [_failure(row) for row in rows if row["error"]]
    timed = [word for segment in segments for word in segment.pop("timed")]
    return {
        **_recording(closings, chunks, text, timed, failures),
        "folded_text": folded_text(words),
        "take_id": take_id,
        "segments": [{**made, "segment_index": index, **segment} for index, segment in enumerate(segments)],
        "words": [{**made, "word_index": index, **word} for index, word in enumerate(words)],
        "failures": [{**key, "uri": closings[0]["closing"]["uri"], "attempts": 1, **failure} for failure in failures],
    }


def speaker_of(channel: int | None) -> str | None:
    """Who speaks in a channel, as the tables name them."""
    return None if channel is None else f"channel-{channel}"


def _latest(rows: Sequence[Row]) -> list[Row]:
    """Of each part only the latest run's rows; rows without their closing row never get here, since a task's rows are
    committed together."""
    latest: dict[int, str] = {}
    for row in rows:
        if row["closing"]:
            latest[row["part_index"]] = max(latest.get(row["part_index"], ""), row["run_id"])
    return [row for row in rows if latest.get(row["part_index"]) == row["run_id"]]


def _channel_segments(channel: int | None, chunks: Sequence[Row], config: SegmentsConfig) -> list[dict[str, Any]]:
    """Segments of one channel in order; `timed` are their words, with offsets into the segment's own text."""
    text, words = _joined(chunks)
    parts = split_segments(text, words, config)
    ends = [*(part.char_start for part in parts[1:]), len(text)]
    segments = []
    for (first, last, begin), end in zip(parts, ends, strict=True):
        raw = text[begin:end]
        begin += len(raw) - len(raw.lstrip())
        inside = words[first:last]
        segments.append(
            {
                "start_ms": inside[0].begins_ms,
                "end_ms": max(word.ends_ms for word in inside),
                "text": raw.strip(),
                "language": inside[0].language,
                "speaker": speaker_of(channel),
                "channel": channel,
                "confidence": mean_confidence(inside),
                "timed": inside,
                "begin": begin,
            }
        )
    return segments


def _joined(chunks: Sequence[Row]) -> tuple[str, list[TimedWord]]:
    """The chunks' texts as one, and their words with offsets into it."""
    text, words = "", []
    for chunk in chunks:
        text += separator(text, chunk["text"])
        offset = len(text)
        text += chunk["text"]
        for word, room_ms in zip(chunk["words"], _rooms(chunk), strict=True):
            words.append(
                TimedWord(
                    word["word"],
                    offset + word["char_start"],
                    offset + word["char_end"],
                    word["start_ms"],
                    word["end_ms"],
                    word["estimated"],
                    word["confidence"],
                    chunk["language"],
                    room_ms,
                )
            )
    return text, words


def _rooms(chunk: Row) -> list[tuple[int, int]]:
    """For each word the time between the timed words around it, so that words without a time keep their place."""
    starts, ends = [chunk["start_ms"]], [chunk["end_ms"]]
    for word in chunk["words"]:
        starts.append(starts[-1] if word["end_ms"] is None else word["end_ms"])
    for word in reversed(chunk["words"]):
        ends.append(ends[-1] if word["start_ms"] is None else word["start_ms"])
    return list(zip(starts[:-1], ends[-2::-1], strict=True))


def _read_together(channels: Sequence[list[dict[str, Any]]]) -> tuple[str, list[dict[str, Any]], list[dict[str, Any]]]:
    """Text, segments and rows of words of the whole recording: segments of all channels by their start, a line each
    turn."""
    segments = sorted(
        (segment for channel in channels for segment in channel), key=lambda s: (s["start_ms"], s["channel"] or 0)
    )
    text, words, before = "", [], None
    for index, segment in enumerate(segments):
        same_voice = before is None or before["channel"] == segment["channel"]
        text += separator(text, segment["text"]) if same_voice else "\n"
        offset = len(text) - segment.pop("begin")
        text += segment["text"]
        for word in segment["timed"]:
            words.append(
                {
                    "word": word.word,
                    "start_ms": word.start_ms,
                    "end_ms": word.end_ms,
                    "estimated": word.estimated,
                    "confidence": word.confidence,
                    "speaker": segment["speaker"],
                    "channel": segment["channel"],
                    "segment_index": index,
                    "char_start": word.char_start + offset,
                    "char_end": word.char_end + offset,
                }
            )
        before = segment
    return text, segments, words


def _recording(
    closings: Sequence[Row], chunks: Sequence[Row], text: str, words: Sequence[TimedWord], failures: Sequence[Row]
) -> dict[str, Any]:
    first = closings[0]["closing"]
    languages = Counter(word.language for word in words if word.language)
    sources = [chunk["language_source"] for chunk in chunks if chunk["language_source"]]
    aligners = Counter(chunk["aligner"] for chunk in chunks if chunk["aligner"])
    flags = {flag for row in closings for flag in row["closing"]["flags"] or ()} | {
        flag for chunk in chunks for flag in chunk["flags"] or ()
    }
    if text and any(failure["stage"] != "align" for failure in failures):
        flags.add("incomplete")
    if chunks and not text and not failures:
        flags.add("no_speech")
    if not text and not failures and unheard(row["closing"].get("quality") for row in closings):
        flags.add("unheard")
    return {
        "audio_id": closings[0]["audio_id"],
        "uri": first["uri"],
        "status": "ok" if text else "failed" if failures else "no_speech",
        "text": text or None,
        "language": languages.most_common(1)[0][0] if languages else None,
        "language_source": sources[0] if languages else None,
        "duration_ms": max(
            (row["closing"]["duration_ms"] for row in closings if row["closing"]["duration_ms"] is not None),
            default=None,
        ),
        "speech_ms": _sum(row["closing"]["speech_ms"] for row in closings),
        "audio_track": first.get("audio_track"),
        "word_count": len(words) if text or not failures else None,
        "confidence": mean_confidence(words),
        **figures(row["closing"].get("quality") for row in closings),
        "flags": sorted(flags),
        "engine": first["engine"],
        "model": first["model"],
        "aligner": ",".join(name for name, _ in aligners.most_common()) or None,
        "run_key": closings[0]["run_key"],
        "source_key": first["source_key"],
        "content_sha256": first.get("content_sha256"),
        "content_key": first.get("content_key"),
        "run_id": max(row["run_id"] for row in closings),
        "transcribed_at": max(row["created_at"] for row in [*closings, *chunks]),
        "metadata": first["metadata"],
    }


def _sum(values: Any) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _failure(row: Row) -> dict[str, Any]:
    return {
        **row["error"],
        "part_index": row["part_index"],
        "channel": row["channel"],
        "chunk_index": None if row["closing"] else row["chunk_index"],
        "run_id": row["run_id"],
        "at": row["created_at"],
    }
