"""What readers see: recordings, segments, words, failures."""

from __future__ import annotations

import pyarrow as pa

from schemas.flags import FLAGS_COMMENT
from schemas.table import (
    AUDIO_ID,
    BIGINT,
    BOOLEAN,
    CHANNEL,
    CONFIDENCE,
    DOUBLE,
    FLAG_LIST,
    INT,
    LANGUAGE,
    RUN_ID,
    RUN_KEY,
    SPEAKER,
    TAKE_ID,
    TEXT,
    TIMESTAMP,
    Table,
)

RECORDINGS = Table(
    "recordings",
    "One recording, with its whole transcript. A row appears here after its segments and words are complete.",
    ("audio_id",),
    (
        AUDIO_ID,
        ("uri", TEXT, "where the recording lies; null if the manifest brought its bytes"),
        ("status", TEXT, "ok, no_speech, or failed (see the table failures)"),
        ("text", TEXT, "the whole transcript; words.char_start and char_end count in it"),
        LANGUAGE,
        ("language_source", TEXT, "'given' by manifest or configuration, or 'detected'"),
        ("duration_ms", BIGINT, "length of what was decoded"),
        ("speech_ms", BIGINT, "length of the speech found by VAD, summed over channels"),
        ("audio_track", INT, "which of the file's audio tracks was heard, counted from 0; null if it failed"),
        ("word_count", INT, "number of rows in words"),
        CONFIDENCE,
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
        ("flags", FLAG_LIST, FLAGS_COMMENT),
        ("engine", TEXT, "recognizer"),
        ("model", TEXT, "model and revision of the recognizer"),
        ("aligner", TEXT, "what timed the words, most used first, as in 'sphinx,recognizer'"),
        TAKE_ID,
        RUN_KEY,
        (
            "source_key",
            TEXT,
            "hash of what the manifest says of the source; when it changes, the recording is transcribed again",
        ),
        (
            "content_sha256",
            TEXT,
            "SHA-256 of the file's bytes, the same for its copies; null if not all were read, as of long files in S3",
        ),
        (
            "content_key",
            TEXT,
            "hash of content_sha256 and all that can change the text, wherever the file lies: the same, the same text",
        ),
        RUN_ID,
        ("transcribed_at", TIMESTAMP, "when its last chunk was made"),
        ("metadata", pa.map_(TEXT, TEXT), "the manifest's other columns"),
        (
            "folded_text",
            TEXT,
            "text for search, a line each channel: no case, accents or punctuation; look for ' thank you ' or '谢谢'",
        ),
    ),
    ("audio_id", "take_id", "run_key", "run_id", "status", "language", "transcribed_at", "uri"),
)

SEGMENTS = Table(
    "segments",
    "A sentence or a speaker's turn, as a subtitle would show it.",
    ("audio_id", "take_id", "segment_index"),
    (
        AUDIO_ID,
        TAKE_ID,
        RUN_KEY,
        ("segment_index", INT, "0-based, in order of time"),
        ("start_ms", BIGINT, "start of its first word, else end of the timed word before, else start of the chunk"),
        ("end_ms", BIGINT, "end of its last word, else start of the timed word after, else end of the chunk"),
        ("text", TEXT, "its text, a part of recordings.text"),
        LANGUAGE,
        SPEAKER,
        CHANNEL,
        CONFIDENCE,
    ),
    ("audio_id", "take_id", "run_key", "start_ms", "language", "speaker"),
)

WORDS = Table(
    "words",
    "One word with its punctuation; a character in Chinese and Cantonese.",
    ("audio_id", "take_id", "word_index"),
    (
        AUDIO_ID,
        TAKE_ID,
        RUN_KEY,
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
        SPEAKER,
        CHANNEL,
        ("segment_index", INT, "the segment that holds the word"),
        ("char_start", INT, "0-based offset of its first character in recordings.text"),
        ("char_end", INT, "offset after its last character"),
    ),
    ("audio_id", "take_id", "run_key", "word_index", "word", "start_ms"),
)

FAILURES = Table(
    "failures",
    "A recording or chunk that could not be done, and what to do about it.",
    ("audio_id", "stage", "part_index", "channel", "chunk_index"),
    (
        AUDIO_ID,
        RUN_KEY,
        ("uri", TEXT, "where the recording lies"),
        ("stage", TEXT, "fetch, decode, vad, recognize or align"),
        ("part_index", INT, "the part, as in chunks"),
        CHANNEL,
        ("chunk_index", INT, "the chunk; null if the whole recording or part failed"),
        ("kind", TEXT, "missing, forbidden, timeout, network, empty, corrupt, no_audio, …"),
        ("message", TEXT, "what failed and what to do, for a person"),
        ("transient", BOOLEAN, "true if it may pass: the next run tries again by itself"),
        ("attempts", INT, "runs that tried and failed so"),
        RUN_ID,
        ("at", TIMESTAMP, "when it failed last"),
    ),
    ("audio_id", "run_id", "stage", "kind", "at"),
)
