"""A phrase → where and when it is said.

The folded text of each recording says whether it holds the phrase; only of the recordings that are shown are the words
read, for their times. So words that were written yesterday are found like all others, and nothing has to be kept up to
date but the tables' files (transforms/tables.py, `optimize`). recordings shows whole transcripts only, so search does.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce
from itertools import accumulate, groupby
from operator import or_
from typing import Any

from pyspark.sql import functions as F

from schemas.config import ConfigError
from schemas.tables import RECORDINGS, WORDS
from transforms.folding import by_channel, fold, needle
from transforms.tables import Tables
from transforms.words import UNSPACED, separator

_SHOWN_COLUMNS = ["audio_id", "run_key", "uri", "language"]
_WORD_COLUMNS = ["audio_id", "word_index", "word", "start_ms", "end_ms", "confidence", "speaker", "channel"]
_RECORDINGS_AT_ONCE = 50

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Hit:
    """A place where the phrase is said. Times are milliseconds from the start of the file, null if no word of the
    phrase could be timed; `confidence` is the mean of its words'. `before`, `phrase` and `after` stand as in the
    transcript, of the same channel; `word_index` is the first word's."""

    audio_id: str
    uri: str | None
    language: str | None
    channel: int | None
    speaker: str | None
    start_ms: int | None
    end_ms: int | None
    word_index: int
    before: str
    phrase: str
    after: str
    confidence: float | None


def search(tables: Tables, phrase: str, *, limit: int = 20, context: int = 8, language: str | None = None) -> list[Hit]:
    """The first `limit` hits by recording (uri) and place in it, each with `context` words around it.

    Case, accents, width and punctuation do not count; words count whole, but in a script without blanks any stretch
    does. A phrase may span segments and chunks, not channels. `language` is an ISO 639 code: only such recordings.
    Raises ConfigError for a phrase without letter and digit, and for tables that hold no folded text.
    """
    sought = needle(phrase)
    if not sought:
        raise ConfigError("the phrase has neither letter nor digit, so there is nothing to search for")
    tables.require()
    found = _recordings(tables, sought, limit, language)
    placed = _with_words(tables, found)
    return [hit for recording, words in placed for hit in _hits(recording, words, sought, context)][:limit]


def _recordings(tables: Tables, sought: str, limit: int, language: str | None) -> list[Row]:
    """As many recordings that hold the phrase as it takes for `limit` hits, by uri."""
    recordings = tables.read(RECORDINGS)
    if language is not None:
        recordings = recordings.where(F.col("language") == language)
    unknown = (F.col("status") == "ok") & F.col("folded_text").isNull()
    rest = F.replace("folded_text", F.lit(sought), F.lit(""))
    rows = (
        recordings.where(F.contains("folded_text", F.lit(sought)) | unknown)
        .orderBy(F.col("folded_text").isNotNull(), F.coalesce("uri", "audio_id"), "audio_id")
        .limit(limit)
        # Places that overlap count once: rather one recording too many than a hit too few.
        .select(*_SHOWN_COLUMNS, ((F.length("folded_text") - F.length(rest)) / len(sought)).alias("places"))
        .toArrow()
        .to_pylist()
    )
    if rows and rows[0]["places"] is None:
        raise ConfigError(
            f"{tables.root} has recordings of an earlier version, without folded_text; "
            f"fill it, with no engine, with: python -m jobs.publish --tables {tables.root}"
        )
    before = accumulate((row["places"] for row in rows), initial=0)
    return [row for row, places in zip(rows, before, strict=False) if places < limit]


def _with_words(tables: Tables, recordings: Sequence[Row]) -> Iterator[tuple[Row, list[Row]]]:
    """Each recording with its words in order."""
    words = tables.read(WORDS)
    for first in range(0, len(recordings), _RECORDINGS_AT_ONCE):
        together = recordings[first : first + _RECORDINGS_AT_ONCE]
        # Equations and no IN, whose values Delta and Parquet take for a range: hashes spread over all of it.
        takes = [(F.col("audio_id") == row["audio_id"]) & (F.col("run_key") == row["run_key"]) for row in together]
        rows = words.where(reduce(or_, takes)).select(_WORD_COLUMNS).toArrow()
        table = rows.sort_by([("audio_id", "ascending"), ("word_index", "ascending")])
        spans, at = {}, 0
        for audio_id, same in groupby(table.column("audio_id").to_pylist()):
            count = sum(1 for _ in same)
            spans[audio_id] = (at, count)
            at += count
        for recording in together:
            yield recording, table.slice(*spans.get(recording["audio_id"], (0, 0))).to_pylist()


def _hits(recording: Row, words: Sequence[Row], sought: str, context: int) -> list[Hit]:
    """In the order of the transcript."""
    hits = [_hit(recording, spoken, span, context) for spoken in by_channel(words) for span in find(spoken, sought)]
    return sorted(hits, key=lambda hit: hit.word_index)


def find(spoken: Sequence[Row], sought: str) -> Iterator[tuple[int, int]]:
    """Of a channel's words the first and the one after the last of each place where the phrase is."""
    line, starts, ends = located([word["word"] for word in spoken])
    core = sought.strip()
    at = line.find(sought)
    while at >= 0:
        begin = at + len(sought) - len(sought.lstrip())
        yield bisect_right(ends, begin), bisect_left(starts, begin + len(core))
        at = line.find(sought, at + 1)


def located(words: Sequence[str]) -> tuple[str, list[int], list[int]]:
    """The line of folded_text that the words make, and where in it each starts and ends; a word that folds to nothing
    lies where the one before it ends."""
    pieces, starts, ends, at, last = [" "], [], [], 1, " "
    for piece in map(_fold_word, words):
        if piece:
            if last != " " and not (re.match(UNSPACED, last) and re.match(UNSPACED, piece)):
                pieces.append(" ")
                at += 1
            pieces.append(piece)
            last = piece[-1]
        starts.append(at)
        at += len(piece)
        ends.append(at)
    return "".join([*pieces, " "]), starts, ends


_fold_word = lru_cache(1 << 17)(fold)


def _hit(recording: Row, spoken: Sequence[Row], span: tuple[int, int], context: int) -> Hit:
    first, after = span
    inside = spoken[first:after]
    known = [word["confidence"] for word in inside if word["confidence"] is not None]
    return Hit(
        audio_id=recording["audio_id"],
        uri=recording["uri"],
        language=recording["language"],
        channel=inside[0]["channel"],
        speaker=inside[0]["speaker"],
        start_ms=next((word["start_ms"] for word in inside if word["start_ms"] is not None), None),
        end_ms=next((word["end_ms"] for word in reversed(inside) if word["end_ms"] is not None), None),
        word_index=inside[0]["word_index"],
        before=_text(spoken[max(first - context, 0) : first]),
        phrase=_text(inside),
        after=_text(spoken[after : after + context]),
        confidence=sum(known) / len(known) if known else None,
    )


def _text(words: Sequence[Row]) -> str:
    text = ""
    for word in words:
        text += separator(text, word["word"]) + word["word"]
    return text
