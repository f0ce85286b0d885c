"""A phrase → where and when it is said.

The folded text of each recording says whether it holds the phrase; only of the recordings that are shown are the words
read, for their times. So words that were written yesterday are found like all others, and nothing has to be kept up to
date but the tables' files (transforms/lake/upkeep.py, `lay_out`). recordings shows whole transcripts only, so search
does.

One SQL serves Spark, which reads any store and any catalog, and DuckDB, which reads a local folder in a fifth of its
time.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from schemas.config import ConfigError
from schemas.tables import RECORDINGS, WORDS, Table
from transforms.text.folding import HYPHENS, fold, needle
from transforms.text.scripts import UNSPACED
from transforms.text.words import separator

SEARCHED = (RECORDINGS, WORDS)
"""In this order: the words of a recording that is shown are there."""
_RECORDINGS_AT_ONCE = 50

Row = Mapping[str, Any]


class Readable(Protocol):
    """transforms.lake.tables.Tables, or transforms.lake.local_tables.LocalTables."""

    root: str

    def identifier(self, table: Table) -> str: ...
    def require(self, *tables: Table) -> None: ...
    def ask(self, query: str) -> pa.Table: ...
    def literal(self, value: str) -> str: ...


@dataclass(frozen=True)
class Place:
    """Where something was found. Times are milliseconds from the start of the file, None if nothing there could be
    timed."""

    audio_id: str
    uri: str | None
    language: str | None
    channel: int | None
    speaker: str | None
    start_ms: int | None
    end_ms: int | None


@dataclass(frozen=True)
class Hit(Place):
    """A place where the phrase is said. `confidence` is the mean of its words'. `before`, `phrase` and `after` stand as
    in the transcript, of the same channel; `word_index` is the first word's."""

    word_index: int
    before: str
    phrase: str
    after: str
    confidence: float | None


def search(
    tables: Readable,
    phrase: str,
    *,
    limit: int = 20,
    context: int = 8,
    language: str | None = None,
    inflected: bool = False,
) -> list[Hit]:
    """The first `limit` hits by recording (uri) and place in it, each with `context` words around it.

    Case, accents, width and punctuation do not count; words count whole, but in a script without blanks any stretch
    does, and a hyphen is a blank as well as nothing. With `inflected`, the last word may have an ending. A phrase may
    span segments and chunks, not channels. `language` is an ISO 639 code: only such recordings.

    Raises ConfigError for a phrase without letter and digit, and for tables that hold no folded text.
    """
    sought = needle(phrase, inflected=inflected)
    if not sought:
        raise ConfigError("the phrase has neither letter nor digit, so there is nothing to search for")
    tables.require(*SEARCHED)
    found = _recordings(tables, sought, limit, language)
    placed = _with_words(tables, found)
    return [hit for recording, words in placed for hit in _hits(recording, words, sought, context)][:limit]


def _recordings(tables: Readable, sought: str, limit: int, language: str | None) -> list[Row]:
    """As many recordings that hold the phrase as it takes for `limit` hits, by uri."""
    readings = [
        (f"replace(folded_text, '-', {tables.literal(hyphen)})", sought.replace("-", hyphen)) for hyphen in HYPHENS
    ]
    contained = " OR ".join(f"contains({line}, {tables.literal(phrase)})" for line, phrase in readings)
    places = ", ".join(
        f"(length({line}) - length(replace({line}, {tables.literal(phrase)}, ''))) / {len(phrase)}"
        for line, phrase in readings
    )
    chosen = "" if language is None else f"AND language = {tables.literal(language)}"
    # Places that overlap count once: rather one recording too many than a hit too few.
    rows = tables.ask(
        f"""
        SELECT audio_id, take_id, uri, language,
          greatest({places}) AS places
        FROM (
          SELECT * FROM {tables.identifier(RECORDINGS)}
          WHERE ({contained} OR folded_text IS NULL AND status = 'ok') {chosen}
          ORDER BY folded_text IS NOT NULL, coalesce(uri, audio_id), audio_id
          LIMIT {limit}
        )
        ORDER BY folded_text IS NOT NULL, coalesce(uri, audio_id), audio_id
        """
    ).to_pylist()
    if rows and rows[0]["places"] is None:
        raise ConfigError(
            f"{tables.root} has recordings of an earlier version, without folded_text; "
            f"fill it, with no engine, with: python -m jobs.publish --tables {tables.root}"
        )
    before = accumulate((row["places"] for row in rows), initial=0)
    return [row for row, places in zip(rows, before, strict=False) if places < limit]


def _with_words(tables: Readable, recordings: Sequence[Row]) -> Iterator[tuple[Row, pa.Table]]:
    """Each recording with its words in order."""
    for first in range(0, len(recordings), _RECORDINGS_AT_ONCE):
        together = recordings[first : first + _RECORDINGS_AT_ONCE]
        # Equations and no IN, whose values readers take for a range: hashes spread over all of it.
        literals = [[tables.literal(row[name]) for name in ("audio_id", "take_id")] for row in together]
        takes = " OR ".join(f"audio_id = {audio_id} AND take_id = {take_id}" for audio_id, take_id in literals)
        words = tables.ask(
            f"""
            SELECT audio_id, coalesce(channel, 0) AS voice,
              word_index, word, start_ms, end_ms, confidence, speaker, channel
            FROM {tables.identifier(WORDS)} WHERE {takes} ORDER BY audio_id, word_index
            """
        )
        for recording in together:
            yield recording, words.filter(pc.field("audio_id") == recording["audio_id"])


def _hits(recording: Row, words: pa.Table, sought: str, context: int) -> list[Hit]:
    """In the order of the transcript. A phrase is one channel's, also where another speaks in between."""
    hits = []
    for voice in words.column("voice").unique():
        spoken = words.filter(pc.field("voice") == voice)
        for first, after in find(spoken.column("word").to_pylist(), sought):
            start = max(first - context, 0)
            rows = spoken.slice(start, after + context - start).to_pylist()
            hits.append(_hit(recording, rows, (first - start, after - start)))
    return sorted(hits, key=lambda hit: hit.word_index)


def find(spoken: Sequence[str], sought: str) -> Iterator[tuple[int, int]]:
    """Of a channel's words the first and the one after the last of each place where the phrase is, in order."""
    yield from sorted({place for hyphen in HYPHENS for place in _find(spoken, sought.replace("-", hyphen), hyphen)})


def _find(spoken: Sequence[str], sought: str, hyphen: str) -> Iterator[tuple[int, int]]:
    line, starts, ends = located(spoken, hyphen)
    core = sought.strip()
    at = line.find(sought)
    while at >= 0:
        begin = at + len(sought) - len(sought.lstrip())
        yield bisect_right(ends, begin), bisect_left(starts, begin + len(core))
        at = line.find(sought, at + 1)


def located(words: Iterable[str], hyphen: str = "-") -> tuple[str, list[int], list[int]]:
    """The line of folded_text that the words make, with `hyphen` for hyphens, and where in it each starts and ends; a
    word that folds to nothing lies where the one before it ends."""
    pieces, starts, ends, at, unspaced = [" "], [], [], 1, True
    for piece, begins_unspaced, ends_unspaced in map(_folded, words):
        piece = piece.replace("-", hyphen)
        if piece:
            if at > 1 and not (unspaced and begins_unspaced):
                pieces.append(" ")
                at += 1
            pieces.append(piece)
            unspaced = ends_unspaced
        starts.append(at)
        at += len(piece)
        ends.append(at)
    return "".join([*pieces, " "]), starts, ends


@lru_cache(1 << 17)
def _folded(word: str) -> tuple[str, bool, bool]:
    """What stands for `word` in folded_text, and whether its first and its last character write no blanks around."""
    piece = fold(word)
    return piece, bool(re.match(UNSPACED, piece)), bool(re.match(UNSPACED, piece[-1:]))


def _hit(recording: Row, spoken: Sequence[Row], span: tuple[int, int]) -> Hit:
    """The hit at `span` of `spoken`, the phrase with its context."""
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
        before=_text(spoken[:first]),
        phrase=_text(inside),
        after=_text(spoken[after:]),
        confidence=sum(known) / len(known) if known else None,
    )


def _text(words: Sequence[Row]) -> str:
    text = ""
    for word in words:
        text += separator(text, word["word"]) + word["word"]
    return text
