"""A lake of any size with invented rows, in the files that the job leaves: a commit and a file a wave in each table."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

from benchmarks.search import probabilities, vocabulary
from schemas.config import Config
from schemas.tables import CHUNKS, FAILURES, RECORDINGS, RUNS, SEGMENTS, WORDS, Table, to_batch
from transforms.lake.tables import Tables
from transforms.publishing.transcript import assemble

_FILLED = (CHUNKS, SEGMENTS, WORDS, FAILURES, RECORDINGS)
_CHUNK_MS = 25_000
_AT = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
_WAVES_A_RUN = 20
_FAILED_EVERY = 20
"""One recording in so many has a chunk that failed."""


@dataclass(frozen=True)
class Shape:
    """What the lake is like: hours of audio in all and in a wave, minutes of a recording, words in a minute."""

    hours: float
    wave_hours: float = 10
    recording_minutes: float = 30
    words_a_minute: float = 150

    @property
    def waves(self) -> int:
        return round(self.hours / self.wave_hours)

    @property
    def recordings_a_wave(self) -> int:
        return round(self.wave_hours * 60 / self.recording_minutes)


def make_lake(tables: Tables, shape: Shape) -> None:
    """Fills the empty `tables` in a folder."""
    tables.create()
    if not shape.waves:
        return
    words, cumulative = vocabulary(), probabilities()
    templates = [_template(index, shape, words, cumulative) for index in range(shape.recordings_a_wave)]
    filled = {table: DeltaTable(f"{tables.root}/{table.name}") for table in _FILLED}
    runs = DeltaTable(f"{tables.root}/{RUNS.name}")
    for wave in range(shape.waves):
        if wave % _WAVES_A_RUN == 0:
            write_deltalake(runs, _run(wave), mode="append")
        ids = sorted(((_ids(wave, index), rows) for index, rows in enumerate(templates)), key=lambda pair: pair[0])
        for table, target in filled.items():
            made = pa.concat_tables(_with_ids(rows[table.name], dict(names)) for names, rows in ids)
            if len(made):
                write_deltalake(target, made, mode="append")
    for target in (*filled.values(), runs):
        target.create_checkpoint()  # Spark makes one every ten commits


def _ids(wave: int, index: int) -> tuple[tuple[str, str], ...]:
    """What tells a recording and its take from all others, by column."""
    hashes = {name: _hash(f"{name} {wave} {index}") for name in ("audio_id", "source_key")}
    run_id = _run_id(wave)
    uri = f"s3://archive/{wave:05d}/{index:05d}.mp3"
    return tuple({**hashes, "run_id": run_id, "take_id": run_id, "uri": uri}.items())


def _run_id(wave: int) -> str:
    started_at = _AT + datetime.timedelta(hours=wave // _WAVES_A_RUN)
    return f"{started_at:%Y%m%dT%H%M%S.%fZ}-{_hash(str(wave // _WAVES_A_RUN))[:6]}"


def _run(wave: int) -> pa.Table:
    times = dict.fromkeys(("started_at", "alive_at", "ended_at"), _AT)
    return _table(RUNS, [{"run_id": _run_id(wave), "status": "ok", **times}])


def _with_ids(rows: pa.Table, ids: Mapping[str, str]) -> pa.Table:
    for name in ids.keys() & set(rows.column_names):
        rows = rows.set_column(rows.column_names.index(name), name, pa.repeat(ids[name], len(rows)))
    return rows


def _template(index: int, shape: Shape, words: list[str], cumulative: np.ndarray) -> dict[str, pa.Table]:
    """A recording in the rows of all tables, which the job's own code makes of its chunks."""
    random = np.random.default_rng(index)
    length_ms = int(shape.recording_minutes * 60_000)
    starts = range(0, length_ms, _CHUNK_MS)
    count = round(_CHUNK_MS / 60_000 * shape.words_a_minute)
    drawn = np.searchsorted(cumulative, random.random((len(starts), count))).clip(max=len(words) - 1)
    chunks = [
        _key(chunk) | _chunk(start_ms, [words[word] for word in drawn[chunk]], random)
        for chunk, start_ms in enumerate(starts)
    ]
    if index % _FAILED_EVERY == 0:
        lost = {"stage": "recognize", "kind": "ValueError", "message": "it cannot be read", "transient": False}
        chunks[0] |= {"text": None, "words": None, "error": lost}
    closing = {"uri": "", "metadata": [("speaker", f"speaker {index}")], "source_key": "", "duration_ms": length_ms}
    closing |= {"speech_ms": length_ms, "chunk_count": len(chunks), "continues": False, "flags": []}
    closing |= {"engine": "invented", "model": "invented", "language": "en"}
    rows = [*chunks, _key(-1) | {"closing": closing}]
    recording = assemble(pa.Table.from_batches([to_batch(rows, CHUNKS.arrow)]).to_pylist(), Config().segments, "")
    nested = {table.name: _table(table, recording.pop(table.name)) for table in (SEGMENTS, WORDS, FAILURES)}
    return {**nested, CHUNKS.name: _table(CHUNKS, rows), RECORDINGS.name: _table(RECORDINGS, [recording])}


def _table(table: Table, rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_batches([to_batch(rows, table.arrow)])


def _key(chunk_index: int) -> dict[str, Any]:
    ids = {name: "" for name, kind, _ in CHUNKS.columns if name in dict(_ids(0, 0)) and kind == pa.string()}
    return {
        **ids,
        "run_key": _hash("run_key"),
        "part_index": 0,
        "wave_index": 0,
        "chunk_index": chunk_index,
        "created_at": _AT,
    }


def _chunk(start_ms: int, words: list[str], random: np.random.Generator) -> dict[str, Any]:
    marks = random.choice(["", ",", "."], len(words), p=[0.88, 0.06, 0.06])
    spoken = [f"{word}{mark}" for word, mark in zip(words, marks, strict=True)]
    ends = np.cumsum([len(word) + 1 for word in spoken]) - 1
    word_ms = _CHUNK_MS // len(words)
    timed = [
        {
            "word": word,
            "start_ms": start_ms + at * word_ms,
            "end_ms": start_ms + at * word_ms + int(random.integers(80, word_ms)),
            "estimated": False,
            "confidence": float(random.beta(8, 1)),
            "char_start": int(end) - len(word),
            "char_end": int(end),
        }
        for at, (word, end) in enumerate(zip(spoken, ends, strict=True))
    ]
    chunk = {"start_ms": start_ms, "end_ms": start_ms + _CHUNK_MS, "text": " ".join(spoken), "words": timed}
    return chunk | {"language": "en", "language_source": "detected", "token_count": len(words), "mean_logprob": -0.2}


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
