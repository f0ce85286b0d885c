"""What can be wrong with the tables, a query a check: it reads the views that transforms.check.look makes under the
names of the tables, and gives a row for each fault."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from schemas.tables import CHUNKS, CLAIMS, ERASED, FAILURES, PASSAGES, RUNS, SEGMENTS, WORDS, Table
from transforms.lake.sql import any_of

Mend = Literal["keep one", "publish", "delete", "claim", "mark", "none"]
"""What --repair does about it: keep one row of each key, publish the recording again from chunks, delete the rows,
finish what the claim is about, mark the run as lost; or nothing, since it needs an engine or a person."""


@dataclass(frozen=True)
class Check:
    """`query` gives the rows that are at fault, with columns that say which they are: always audio_id, but in runs.
    `means` says what that does to readers, `mended` what mends it."""

    name: str
    table: Table
    query: str
    means: str
    mend: Mend
    mended: str


_FROM_CHUNKS = "--repair publishes the recording again from chunks"
_AGAIN = "jobs.transcribe --reprocess all with a manifest of these recordings: chunks lacks a part of them"

_WHOLE_WORDS = """
SELECT r.audio_id, r.take_id, r.word_count, coalesce(w.there, 0) AS words_there
FROM recordings r LEFT JOIN (
  SELECT audio_id, take_id, count(*) AS there, min(word_index) AS first, max(word_index) AS last FROM words GROUP BY ALL
) w ON r.audio_id = w.audio_id AND r.take_id <=> w.take_id
WHERE coalesce(w.there, 0) <> coalesce(r.word_count, 0) OR w.first <> 0 OR w.last <> w.there - 1"""

_WHOLE_SEGMENTS = """
SELECT r.audio_id, r.take_id, coalesce(w.named, 0) AS segments_of_words, coalesce(s.there, 0) AS segments_there
FROM recordings r LEFT JOIN (
  SELECT audio_id, take_id, count(*) AS there, min(segment_index) AS first, max(segment_index) AS last
  FROM segments GROUP BY ALL
) s ON r.audio_id = s.audio_id AND r.take_id <=> s.take_id LEFT JOIN (
  SELECT audio_id, take_id, count(DISTINCT segment_index) AS named FROM words GROUP BY ALL
) w ON r.audio_id = w.audio_id AND r.take_id <=> w.take_id
WHERE coalesce(s.there, 0) <> coalesce(w.named, 0) OR s.first <> 0 OR s.last <> s.there - 1"""

_WHOLE_FAILURES = """
SELECT audio_id, run_key, status FROM recordings LEFT ANTI JOIN failures USING (audio_id, run_key)
WHERE status = 'failed' OR array_contains(flags, 'incomplete')"""

# The latest run of a part counts, as in publishing; of a part that broke off its chunks were not counted.
_WHOLE_CHUNKS = """
WITH closed AS (
  SELECT audio_id, run_key, part_index, max(run_id) AS run_id,
    max_by(struct(closing.continues, closing.chunk_count, error IS NULL AS counted), run_id) AS closing
  FROM chunks WHERE closing IS NOT NULL GROUP BY ALL
), there AS (
  SELECT audio_id, run_key, part_index, run_id, count(DISTINCT struct(channel, chunk_index)) AS chunk_count
  FROM chunks WHERE closing IS NULL GROUP BY ALL
), parts AS (
  SELECT c.audio_id, c.run_key, c.part_index, c.closing.continues,
    c.closing.counted AND c.closing.chunk_count <> coalesce(t.chunk_count, 0) AS lacking
  FROM closed c LEFT JOIN there t USING (audio_id, run_key, part_index, run_id)
), whole AS (
  SELECT audio_id, run_key, min(part_index) FILTER (WHERE NOT continues) AS last,
    collect_set(part_index) AS parts, bool_or(lacking) AS lacking
  FROM parts GROUP BY ALL
)
SELECT audio_id, run_key, last AS last_part, parts
FROM (SELECT r.audio_id, r.run_key, w.last, array_sort(w.parts) AS parts, w.lacking
  FROM recordings r LEFT JOIN whole w USING (audio_id, run_key))
WHERE last IS NULL OR lacking OR size(filter(parts, part -> part <= last)) <> last + 1"""

_WORD_IN_TEXT = """
SELECT w.audio_id, w.take_id, w.word_index, w.word
FROM words w JOIN recordings r ON w.audio_id = r.audio_id AND w.take_id = r.take_id
WHERE NOT substring(r.text, w.char_start + 1, w.char_end - w.char_start) <=> w.word"""

_SEGMENT_IN_TEXT = """
SELECT s.audio_id, s.take_id, s.segment_index, s.text
FROM segments s JOIN recordings r ON s.audio_id = r.audio_id AND s.take_id = r.take_id
WHERE NOT coalesce(contains(r.text, s.text), false)"""

_ORDER = """
SELECT audio_id, take_id, word_index, word FROM (
  SELECT *, lag(char_end) OVER (PARTITION BY audio_id, take_id ORDER BY word_index) AS text_before FROM words
) WHERE char_start < text_before"""

_TIMES = """
SELECT audio_id, take_id, word_index, start_ms, end_ms FROM (
  SELECT w.*, r.duration_ms,
    lag(w.end_ms) IGNORE NULLS OVER (PARTITION BY w.audio_id, w.take_id, w.channel ORDER BY w.word_index) AS before_ms
  FROM words w JOIN recordings r ON w.audio_id = r.audio_id AND w.take_id = r.take_id
) WHERE start_ms < 0 OR end_ms < start_ms OR end_ms > duration_ms OR start_ms < before_ms"""

_WORD_IN_SEGMENT = """
SELECT w.audio_id, w.take_id, w.word_index, w.segment_index
FROM words w JOIN segments s USING (audio_id, take_id, segment_index)
WHERE NOT contains(s.text, w.word) OR w.start_ms < s.start_ms OR w.end_ms > s.end_ms
   OR NOT w.channel <=> s.channel OR NOT w.speaker <=> s.speaker"""

_STALE_FAILURES = """
SELECT audio_id, run_key, stage, kind FROM failures f LEFT ANTI JOIN recordings r
ON f.audio_id = r.audio_id AND f.run_key = r.run_key AND (
  r.status = 'failed' OR array_contains(r.flags, 'incomplete')
  OR (f.stage = 'align' AND array_contains(r.flags, 'unaligned'))
)"""

_STALE_CHUNKS = """
SELECT c.audio_id, c.run_key, c.part_index, c.run_id
FROM chunks c JOIN (
  SELECT audio_id, run_key, part_index, max(run_id) AS latest FROM chunks WHERE closing IS NOT NULL GROUP BY ALL
) p USING (audio_id, run_key, part_index) LEFT SEMI JOIN recordings r USING (audio_id, run_key)
WHERE c.run_id < p.latest AND c.audio_id NOT IN (SELECT audio_id FROM claims)"""


def checks(present: Sequence[Table], living: Sequence[str]) -> list[Check]:
    """All of them, for the tables that there are; `living` are the runs that are at work."""
    # What was noted twice as erased is erased.
    keyed = [table for table in present if table is not ERASED]
    return [*map(_keys, keyed), *_whole(), *_agreeing(), *_stale(present), *_of_runs(living)]


def _keys(table: Table) -> Check:
    key = ", ".join(table.key)
    derived = table in (SEGMENTS, WORDS)
    return Check(
        "keys",
        table,
        f"SELECT {key} FROM {table.name} GROUP BY {key} HAVING count(*) > 1",
        "a row stands there more than once: it is counted and shown so often",
        "publish" if derived else "keep one",
        _FROM_CHUNKS if derived else "--repair keeps the latest row",
    )


def _whole() -> list[Check]:
    less = "readers see less, or more, than was said"
    return [
        Check("whole", WORDS, _WHOLE_WORDS, less, "publish", _FROM_CHUNKS),
        Check("whole", SEGMENTS, _WHOLE_SEGMENTS, less, "publish", _FROM_CHUNKS),
        Check("whole", FAILURES, _WHOLE_FAILURES, "a failure, and nothing says why", "publish", _FROM_CHUNKS),
        Check("whole", CHUNKS, _WHOLE_CHUNKS, "what is shown cannot be published again", "none", _AGAIN),
    ]


def _agreeing() -> list[Check]:
    return [
        Check(
            "text",
            WORDS,
            _WORD_IN_TEXT,
            "a word is not what recordings.text has in its place: search and exports show the wrong text",
            "publish",
            _FROM_CHUNKS,
        ),
        Check(
            "text",
            SEGMENTS,
            _SEGMENT_IN_TEXT,
            "a segment is no part of recordings.text",
            "publish",
            _FROM_CHUNKS,
        ),
        Check("order", WORDS, _ORDER, "a word begins in the text before the last one ends", "publish", _FROM_CHUNKS),
        Check(
            "times",
            WORDS,
            _TIMES,
            "a word lies outside the recording, or overlaps the one before it in its channel",
            "publish",
            _FROM_CHUNKS,
        ),
        Check(
            "segments",
            WORDS,
            _WORD_IN_SEGMENT,
            "a word does not lie inside its segment",
            "publish",
            _FROM_CHUNKS,
        ),
    ]


def _stale(present: Sequence[Table]) -> list[Check]:
    unseen = "rows that readers do not see, of a take that recordings does not show"
    of_takes = [
        Check(
            "stale",
            table,
            f"SELECT audio_id, take_id FROM {table.name} LEFT ANTI JOIN recordings USING (audio_id, take_id)",
            unseen,
            "delete",
            "--repair deletes them" + (", as the next jobs.embed does" if table is PASSAGES else ""),
        )
        for table in (SEGMENTS, WORDS, PASSAGES)
        if table in present
    ]
    return [
        *of_takes,
        Check(
            "stale",
            FAILURES,
            _STALE_FAILURES,
            "a failure is told of a recording that did not fail",
            "delete",
            "--repair deletes them",
        ),
        Check(
            "stale",
            CHUNKS,
            _STALE_CHUNKS,
            "a part stands there that a later run made again",
            "delete",
            "--repair deletes the earlier ones",
        ),
    ]


def _of_runs(living: Sequence[str]) -> list[Check]:
    dead = f"NOT {any_of('run_id', living)}"
    return [
        Check(
            "claims",
            CLAIMS,
            f"SELECT audio_id, run_id, replaces FROM claims WHERE {dead}",
            "a run that is over has left a recording unfinished, or only forgot to let it go",
            "claim",
            "--repair publishes what chunks has whole, and lets go what is published; jobs.transcribe does the rest",
        ),
        Check(
            "runs",
            RUNS,
            f"SELECT run_id, started_at FROM runs WHERE status = 'running' AND {dead}",
            "a run died without a word",
            "mark",
            "--repair marks it as lost, as the next run does that wants its recordings",
        ),
    ]
