"""The Delta tables: every column with its type and its comment. To add a column, add it here and fill it where the
table is written.

Times are BIGINT milliseconds from the first sample of the recording's file. A value that is not known is null, never 0
and never ''. Types are Arrow's, since that is what the Python workers emit; Spark's are derived from them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from schemas.flags import FLAGS_COMMENT
from schemas.quality import QUALITY

TEXT, INT, BIGINT, DOUBLE, BOOLEAN = pa.string(), pa.int32(), pa.int64(), pa.float64(), pa.bool_()
TIMESTAMP = pa.timestamp("us", tz="UTC")
FLAGS = pa.list_(TEXT)

WORD = pa.struct(
    [
        ("word", TEXT),
        ("start_ms", BIGINT),
        ("end_ms", BIGINT),
        ("estimated", BOOLEAN),
        ("confidence", DOUBLE),
        ("char_start", INT),
        ("char_end", INT),
    ]
)
ALTERNATIVE = pa.struct([("text", TEXT), ("logprob", DOUBLE)])
ALIGNED = pa.struct([("kind", TEXT), ("reference", TEXT), ("hypothesis", TEXT)])
CONFIDENCE_BIN = pa.struct([("bin", INT), ("words", BIGINT), ("right", BIGINT), ("confidence_sum", DOUBLE)])
TIME_ERROR = pa.struct([("word", TEXT), ("start_error_ms", BIGINT), ("end_error_ms", BIGINT)])
FAILURE = pa.struct([("stage", TEXT), ("kind", TEXT), ("message", TEXT), ("transient", BOOLEAN)])
CLOSING = pa.struct(
    [
        ("uri", TEXT),
        ("metadata", pa.map_(TEXT, TEXT)),
        ("source_key", TEXT),
        ("duration_ms", BIGINT),
        ("speech_ms", BIGINT),
        ("chunk_count", INT),
        ("continues", BOOLEAN),
        ("header_duration_ms", BIGINT),
        ("language", TEXT),
        ("flags", FLAGS),
        ("engine", TEXT),
        ("model", TEXT),
        ("quality", QUALITY),
    ]
)


@dataclass(frozen=True)
class Table:
    """`key` identifies a row; `columns` are (name, Arrow type, comment) in order."""

    name: str
    comment: str
    key: tuple[str, ...]
    columns: tuple[tuple[str, pa.DataType, str], ...]

    @property
    def arrow(self) -> pa.Schema:
        return pa.schema([pa.field(name, data_type) for name, data_type, _ in self.columns])

    @property
    def names(self) -> list[str]:
        return [name for name, _, _ in self.columns]


def to_batch(rows: Iterable[Mapping[str, Any]], schema: pa.Schema) -> pa.RecordBatch:
    """Rows as one Arrow batch with exactly `schema`'s columns in its order (Spark binds Arrow columns by position); a
    missing key is null.

    Raises KeyError for a row with a key that the schema lacks.
    """
    rows = list(rows)
    for row in rows:
        if unknown := row.keys() - set(schema.names):
            raise KeyError(f"row has columns {sorted(unknown)} that the schema {schema.names} lacks")
    return pa.RecordBatch.from_arrays(
        [pa.array([row.get(field.name) for row in rows], type=field.type) for field in schema], schema=schema
    )


def rows_of(batches: Iterable[pa.RecordBatch]) -> Iterator[dict[str, Any]]:
    """One row at a time: as Python's objects the words of a whole batch would take many times its room."""
    for batch in batches:
        for index in range(batch.num_rows):
            yield from batch.slice(index, 1).to_pylist()


_AUDIO_ID = ("audio_id", TEXT, "the recording: the manifest's audio_id, else a hash of its uri")
_RUN_KEY = (
    "run_key",
    TEXT,
    "hash of all that can change the text: engine, model, VAD, packing, aligners, and the source",
)
_RUN_ID = ("run_id", TEXT, "the run of the job that made this row; sorts by time")
_CHANNEL = ("channel", INT, "0-based audio channel if the channels were transcribed apart; null for their mix")
_SPEAKER = ("speaker", TEXT, "who speaks: 'channel-0', … if the channels were transcribed apart, else null")
_LANGUAGE = ("language", TEXT, "ISO 639 code: en, zh, yue, …")
_CONFIDENCE = ("confidence", DOUBLE, "0 to 1: mean probability of the words' tokens, weighted by the words' duration")

CHUNKS = Table(
    "chunks",
    "A stretch of one recording that was sent to the engine; the only table that costs engine time. "
    "Everything else is derived from it. "
    "One more row a part, with closing set, says that the part is complete.",
    ("audio_id", "run_key", "part_index", "channel", "chunk_index", "run_id"),
    (
        _AUDIO_ID,
        _RUN_KEY,
        ("part_index", INT, "0-based part of a very long recording; 0 for all others"),
        _CHANNEL,
        ("chunk_index", INT, "0-based, in order of time within part and channel; -1 on the closing row"),
        ("start_ms", BIGINT, "where the chunk starts"),
        ("end_ms", BIGINT, "where the chunk ends"),
        ("text", TEXT, "what was said; null if nothing was"),
        _LANGUAGE,
        ("language_source", TEXT, "'given' by manifest or configuration, or 'detected'"),
        (
            "words",
            pa.list_(WORD),
            "the words of text in order, times from the start of the file, offsets into this text",
        ),
        ("token_count", INT, "tokens the engine generated"),
        ("mean_logprob", DOUBLE, "mean natural logarithm of the tokens' probability"),
        (
            "alternatives",
            pa.list_(ALTERNATIVE),
            "the best readings with their log-probabilities, text the first; null unless the engine was asked for them",
        ),
        ("no_speech_probability", DOUBLE, "the engine's own probability that nothing was said, where it has one"),
        ("aligner", TEXT, "what timed the words: sphinx, recognizer, …; null if nothing did"),
        ("flags", FLAGS, FLAGS_COMMENT),
        ("error", FAILURE, "why this chunk, or on the closing row the whole part, could not be done"),
        (
            "closing",
            CLOSING,
            "only on the row that closes a part: the source, what was decoded of it, and the number of chunks",
        ),
        _RUN_ID,
        ("created_at", TIMESTAMP, "when the row was made"),
    ),
)

RECORDINGS = Table(
    "recordings",
    "One recording, with its whole transcript. A row appears here after its segments and words are complete.",
    ("audio_id",),
    (
        _AUDIO_ID,
        ("uri", TEXT, "where the recording lies; null if the manifest brought its bytes"),
        ("status", TEXT, "ok, no_speech, or failed (see the table failures)"),
        ("text", TEXT, "the whole transcript; words.char_start and char_end count in it"),
        _LANGUAGE,
        ("language_source", TEXT, "'given' by manifest or configuration, or 'detected'"),
        ("duration_ms", BIGINT, "length of what was decoded"),
        ("speech_ms", BIGINT, "length of the speech found by VAD, summed over channels"),
        ("word_count", INT, "number of rows in words"),
        _CONFIDENCE,
        (
            "loudness_lufs",
            DOUBLE,
            "integrated loudness after ITU-R BS.1770 (EBU R128): -23 is broadcast speech; null if too quiet or short",
        ),
        ("clipped_share", DOUBLE, "0 to 1: samples at full scale; from about 0.001 speech sounds overdriven"),
        (
            "bandwidth_hz",
            INT,
            "frequency above which there is practically no energy: up to 4000 for a telephone, whatever the rate",
        ),
        ("snr_db", DOUBLE, "power of the speech over that between it, in 0 to 8 kHz; null if either is missing"),
        ("dc_offset", DOUBLE, "mean of the samples in the channel where it is farthest from 0; full scale is 1"),
        ("digital_silence_share", DOUBLE, "0 to 1: tenths of a second without any signal, as gaps and muting leave"),
        ("flags", FLAGS, FLAGS_COMMENT),
        ("engine", TEXT, "recognizer"),
        ("model", TEXT, "model and revision of the recognizer"),
        ("aligner", TEXT, "what timed the words, most used first, as in 'sphinx,recognizer'"),
        _RUN_KEY,
        (
            "source_key",
            TEXT,
            "hash of what the manifest says of the source; when it changes, the recording is transcribed again",
        ),
        _RUN_ID,
        ("transcribed_at", TIMESTAMP, "when its last chunk was made"),
        ("metadata", pa.map_(TEXT, TEXT), "the manifest's other columns"),
        (
            "folded_text",
            TEXT,
            "text for search, a line each channel: no case, accents or punctuation; look for ' thank you ' or '谢谢'",
        ),
    ),
)

SEGMENTS = Table(
    "segments",
    "A sentence or a speaker's turn, as a subtitle would show it.",
    ("audio_id", "run_key", "segment_index"),
    (
        _AUDIO_ID,
        _RUN_KEY,
        ("segment_index", INT, "0-based, in order of time"),
        ("start_ms", BIGINT, "start of its first word, else end of the timed word before, else start of the chunk"),
        ("end_ms", BIGINT, "end of its last word, else start of the timed word after, else end of the chunk"),
        ("text", TEXT, "its text, a part of recordings.text"),
        _LANGUAGE,
        _SPEAKER,
        _CHANNEL,
        _CONFIDENCE,
    ),
)

WORDS = Table(
    "words",
    "One word with its punctuation; a character in Chinese and Cantonese.",
    ("audio_id", "run_key", "word_index"),
    (
        _AUDIO_ID,
        _RUN_KEY,
        ("word_index", INT, "0-based, in the order of recordings.text"),
        ("word", TEXT, "substring(recordings.text, char_start + 1, char_end - char_start)"),
        ("start_ms", BIGINT, "where the word starts; null if it could not be timed"),
        ("end_ms", BIGINT, "where the word ends; null if it could not be timed"),
        (
            "estimated",
            BOOLEAN,
            "true if its time was taken from its neighbours (a symbol, an outlier); null if it has none",
        ),
        ("confidence", DOUBLE, "0 to 1: mean probability of the word's tokens"),
        _SPEAKER,
        _CHANNEL,
        ("segment_index", INT, "the segment that holds the word"),
        ("char_start", INT, "0-based offset of its first character in recordings.text"),
        ("char_end", INT, "offset after its last character"),
    ),
)

FAILURES = Table(
    "failures",
    "A recording or chunk that could not be done, and what to do about it.",
    ("audio_id", "stage", "part_index", "channel", "chunk_index"),
    (
        _AUDIO_ID,
        _RUN_KEY,
        ("uri", TEXT, "where the recording lies"),
        ("stage", TEXT, "fetch, decode, vad, recognize or align"),
        ("part_index", INT, "the part, as in chunks"),
        _CHANNEL,
        ("chunk_index", INT, "the chunk; null if the whole recording or part failed"),
        ("kind", TEXT, "missing, forbidden, timeout, network, empty, corrupt, no_audio, …"),
        ("message", TEXT, "what failed and what to do, for a person"),
        ("transient", BOOLEAN, "true if it may pass: the next run tries again by itself"),
        ("attempts", INT, "runs that tried and failed so"),
        _RUN_ID,
        ("at", TIMESTAMP, "when it failed last"),
    ),
)

RUNS = Table(
    "runs",
    "A run of the job, also a failed one. A run that found nothing to do leaves no row.",
    ("run_id",),
    (
        _RUN_ID,
        ("status", TEXT, "ok or failed"),
        ("error", TEXT, "why the run failed"),
        ("started_at", TIMESTAMP, "when it began"),
        ("ended_at", TIMESTAMP, "when it ended"),
        ("wall_seconds", DOUBLE, "from start to end, set-up of Spark not counted"),
        ("recordings", BIGINT, "recordings committed"),
        ("failed", BIGINT, "of these, how many failed"),
        ("audio_hours", DOUBLE, "audio decoded and committed"),
        ("speech_hours", DOUBLE, "of it, speech"),
        ("times_real_time", DOUBLE, "audio seconds a wall second"),
        (
            "stage_seconds",
            pa.map_(TEXT, DOUBLE),
            "seconds in fetch, decode, vad, load, recognize, align, and wait (for audio), summed over tasks",
        ),
        ("batches", BIGINT, "batches given to the engine"),
        ("batch_fill", DOUBLE, "audio seconds in batches / seconds after padding to the longest clip"),
        ("second_tries", BIGINT, "times that a doubtful chunk was recognized again"),
        ("retries", BIGINT, "tasks that Spark had to start again"),
        ("versions", pa.map_(TEXT, TEXT), "lakescribe and the packages that matter"),
        ("config", TEXT, "the whole effective configuration as YAML"),
    ),
)

EVALUATIONS = Table(
    "evaluations",
    "A transcript compared with its reference. The error rate of several is the sum of their errors over the "
    "sum of their words, never the mean of their rates.",
    ("audio_id", "run_key", "reference_source", "channel", "speaker"),
    (
        _AUDIO_ID,
        _RUN_KEY,
        ("reference_source", TEXT, "'metadata.reference', a file, or the tables of another model"),
        ("channel", INT, "the reference is of this channel alone; null if of the whole recording"),
        ("speaker", TEXT, "the reference is of this speaker alone; null if of all"),
        ("uri", TEXT, "where the recording lies"),
        ("status", TEXT, "recordings.status; a failed recording counts as if nothing was recognized: all deletions"),
        ("language", TEXT, "what chose the normalization: the reference's language, else the recording's"),
        ("model", TEXT, "model and revision of the recognizer"),
        ("normalization", TEXT, "what both texts went through before they were compared, with its version"),
        ("unit", TEXT, "what words counts: word, or character in languages written without spaces"),
        ("words", BIGINT, "words of the normalized reference"),
        ("substitutions", BIGINT, "words that were recognized as another"),
        ("deletions", BIGINT, "words of the reference that are missing"),
        ("insertions", BIGINT, "words that the reference does not have"),
        ("wer", DOUBLE, "(substitutions + deletions + insertions) / words; null if the reference has no words"),
        ("characters", BIGINT, "characters of the normalized reference, with the spaces between words"),
        ("character_errors", BIGINT, "characters substituted, deleted or inserted"),
        ("cer", DOUBLE, "character_errors / characters; null if the reference has none"),
        (
            "alignment",
            pa.list_(ALIGNED),
            "both normalized texts in stretches: kind is equal, substitute, delete or insert",
        ),
        (
            "calibration",
            pa.list_(CONFIDENCE_BIN),
            "words of the transcript by tenths of confidence (bin 0 to 9), and how many of them are right",
        ),
        ("timed_words", BIGINT, "words of the reference that have times; null if it came without times"),
        ("time_errors", pa.list_(TIME_ERROR), "word by word where both agree: time in words minus the reference's"),
        ("evaluated_at", TIMESTAMP, "when the row was made"),
    ),
)

PASSAGES = Table(
    "passages",
    "Some sentences in a row of one speaker, and what they mean as a vector. Made by jobs.embed only.",
    ("audio_id", "run_key", "passage_index"),
    (
        _AUDIO_ID,
        _RUN_KEY,
        ("passage_index", INT, "0-based, in order of channel and time"),
        ("start_ms", BIGINT, "start of its first segment"),
        ("end_ms", BIGINT, "end of its last segment"),
        ("text", TEXT, "the text of its segments, about 50 words"),
        _SPEAKER,
        _CHANNEL,
        ("vector", pa.list_(pa.float32()), "of length 1: the dot product of two is their cosine"),
        ("model", TEXT, "what made the vector; vectors of different models cannot be compared"),
    ),
)

ALL = (CHUNKS, RECORDINGS, SEGMENTS, WORDS, FAILURES, RUNS, EVALUATIONS)
"""Those that every lakehouse has."""
