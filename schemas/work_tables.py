"""What the job keeps of its own work: chunks, from which all else is derived, runs, claims, and what was erased."""

from __future__ import annotations

import pyarrow as pa

from schemas.flags import FLAGS_COMMENT
from schemas.quality import QUALITY
from schemas.table import (
    AUDIO_ID,
    BIGINT,
    BOOLEAN,
    CHANNEL,
    DOUBLE,
    FLAG_LIST,
    INT,
    LANGUAGE,
    RUN_ID,
    RUN_KEY,
    TEXT,
    TIMESTAMP,
    Table,
)

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
        ("flags", FLAG_LIST),
        ("engine", TEXT),
        ("model", TEXT),
        ("quality", QUALITY),
        ("audio_track", INT),
        ("content_sha256", TEXT),
        ("content_key", TEXT),
    ]
)

CHUNKS = Table(
    "chunks",
    "A stretch of one recording that was sent to the engine; the only table that costs engine time. "
    "Everything else is derived from it. "
    "One more row a part, with closing set, says that the part is complete.",
    ("audio_id", "run_key", "part_index", "channel", "chunk_index", "run_id"),
    (
        AUDIO_ID,
        RUN_KEY,
        ("part_index", INT, "0-based part of a very long recording; 0 for all others"),
        CHANNEL,
        ("chunk_index", INT, "0-based, in order of time within part and channel; -1 on the closing row"),
        ("start_ms", BIGINT, "where the chunk starts"),
        ("end_ms", BIGINT, "where the chunk ends"),
        ("text", TEXT, "what was said; null if nothing was"),
        LANGUAGE,
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
        ("flags", FLAG_LIST, FLAGS_COMMENT),
        (
            "error",
            FAILURE,
            "why this chunk, or on the closing row the whole part, could not be done; with text, why not timed",
        ),
        (
            "closing",
            CLOSING,
            "only on the row that closes a part: the source, what was decoded of it, and the number of chunks",
        ),
        RUN_ID,
        ("wave_index", INT, "0-based wave of that run: its rows were committed together, and published together"),
        ("created_at", TIMESTAMP, "when the row was made"),
    ),
    ("audio_id", "run_key", "run_id", "wave_index", "part_index", "start_ms"),
)

RUNS = Table(
    "runs",
    "A run of the job: one that lives, that ended, or that died. A run that found nothing to do leaves no row.",
    ("run_id",),
    (
        RUN_ID,
        (
            "status",
            TEXT,
            "running, ok, failed, or lost: it gave no sign of life, and another run took over its recordings",
        ),
        ("error", TEXT, "why the run failed"),
        ("started_at", TIMESTAMP, "when it began"),
        (
            "alive_at",
            TIMESTAMP,
            "when it began; later signs of life are the times of the files in runs/_signs",
        ),
        ("driver", TEXT, "host, process and start of its driver"),
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
            "seconds in load, recognize, wait (for audio), and beside these in fetch, decode, vad, align; of all tasks",
        ),
        ("batches", BIGINT, "batches given to the engine"),
        ("batch_fill", DOUBLE, "audio seconds in batches / seconds after padding to the longest clip"),
        ("second_tries", BIGINT, "times that a doubtful chunk was recognized again"),
        ("retries", BIGINT, "tasks that Spark had to start again"),
        ("versions", pa.map_(TEXT, TEXT), "lakescribe and the packages that matter"),
        ("config", TEXT, "the whole effective configuration as YAML"),
    ),
    ("run_id", "status", "started_at", "alive_at"),
)

CLAIMS = Table(
    "claims",
    "A recording that a run is at work on, or was when it died. The row goes when the recording is published.",
    ("audio_id",),
    (
        AUDIO_ID,
        RUN_ID,
        ("replaces", TEXT, "the take_id that recordings showed when it was claimed; null if none"),
        (
            "begun",
            pa.list_(TEXT),
            "runs that claimed it before and died: what they left in chunks counts, what they published is made again",
        ),
        ("claimed_at", TIMESTAMP, "when this run claimed it"),
    ),
    ("audio_id", "run_id"),
)

ERASED = Table(
    "erased",
    "A recording that was erased on request, and is not transcribed again. Made by jobs.erase only.",
    ("audio_id_sha256",),
    (
        ("audio_id_sha256", TEXT, "SHA-256 of its audio_id, in hex: nothing else is kept of it"),
        ("erased_at", TIMESTAMP, "when this was asked for; from then on no run takes it up"),
        (
            "finished_at",
            TIMESTAMP,
            "when its rows, the files that had held them and the logs were gone; null: jobs.erase has to be run again",
        ),
    ),
    ("audio_id_sha256",),
)
