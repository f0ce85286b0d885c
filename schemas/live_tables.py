"""What a live server keeps of its sessions."""

from __future__ import annotations

import pyarrow as pa

from schemas.flags import FLAGS_COMMENT
from schemas.table import (
    AUDIO_ID,
    BIGINT,
    CHANNEL,
    CONFIDENCE,
    FLAG_LIST,
    INT,
    LANGUAGE,
    SPEAKER,
    TEXT,
    TIMESTAMP,
    Table,
)
from schemas.work_tables import WORD

LIVE_UTTERANCES = Table(
    "live_utterances",
    "An utterance of a live session, as it was told then. Made by jobs.serve only; once its recording is transcribed "
    "like any other, that is what counts.",
    ("audio_id", "channel", "utterance_index"),
    (
        AUDIO_ID,
        ("uri", TEXT, "where the recording of the session lies once it is over"),
        CHANNEL,
        ("utterance_index", INT, "0-based, in order of time, in its channel"),
        ("start_ms", BIGINT, "where it starts, from the session's beginning"),
        ("end_ms", BIGINT, "where it ends"),
        ("text", TEXT, "what was said; null if it could not be read"),
        LANGUAGE,
        SPEAKER,
        CONFIDENCE,
        ("words", pa.list_(WORD), "its words with their times; null if it could not be read"),
        ("flags", FLAG_LIST, FLAGS_COMMENT),
        ("engine", TEXT, "recognizer"),
        ("model", TEXT, "model and revision of the recognizer"),
        ("said_at", TIMESTAMP, "when its text was told"),
    ),
    ("audio_id", "said_at"),
)
