"""What is made of transcripts: evaluations against references, and passages for search by meaning."""

from __future__ import annotations

import pyarrow as pa

from schemas.table import (
    AUDIO_ID,
    BIGINT,
    CHANNEL,
    DOUBLE,
    INT,
    RUN_KEY,
    SPEAKER,
    TAKE_ID,
    TEXT,
    TIMESTAMP,
    Table,
)

ALIGNED = pa.struct([("kind", TEXT), ("reference", TEXT), ("hypothesis", TEXT)])
CONFIDENCE_BIN = pa.struct([("bin", INT), ("words", BIGINT), ("right", BIGINT), ("confidence_sum", DOUBLE)])
TIME_ERROR = pa.struct([("word", TEXT), ("start_error_ms", BIGINT), ("end_error_ms", BIGINT)])

EVALUATIONS = Table(
    "evaluations",
    "A transcript compared with its reference. The error rate of several is the sum of their errors over the "
    "sum of their words, never the mean of their rates.",
    ("audio_id", "run_key", "reference_source", "channel", "speaker"),
    (
        AUDIO_ID,
        RUN_KEY,
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
    ("audio_id", "run_key", "reference_source", "language", "model", "evaluated_at"),
)

PASSAGES = Table(
    "passages",
    "Some sentences in a row of one speaker, and what they mean as a vector. Made by jobs.embed only.",
    ("audio_id", "take_id", "passage_index"),
    (
        AUDIO_ID,
        TAKE_ID,
        RUN_KEY,
        ("passage_index", INT, "0-based, in order of channel and time"),
        ("start_ms", BIGINT, "start of its first segment"),
        ("end_ms", BIGINT, "end of its last segment"),
        ("text", TEXT, "the text of its segments, about 50 words"),
        SPEAKER,
        CHANNEL,
        ("vector", pa.list_(pa.float32()), "of length 1: the dot product of two is their cosine"),
        ("model", TEXT, "what made the vector; vectors of different models cannot be compared"),
    ),
    ("audio_id", "take_id", "run_key", "start_ms", "model"),
)
