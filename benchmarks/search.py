"""How long a phrase search takes over a large archive:  python -m benchmarks.search --words 100_000_000

Makes the tables of an invented archive in the layout that the job leaves behind: a commit and a file a wave of ten
hours, words drawn by Zipf's law in Mandelbrot's form (exponent 1.07, shift 2.7, which fit English), hashes for keys.
Then asks for a rare phrase, for usual ones, and for the worst: what every recording has, and what none has though all
its words are the most frequent. The median of three, by DuckDB and by Spark in a process that has asked before, and for
the command as a user types it; before and after jobs.maintain.
"""

from __future__ import annotations

import argparse
import hashlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import write_deltalake

from benchmarks.common import machine
from schemas.tables import RECORDINGS, WORDS
from transforms.lake.local_tables import LocalTables
from transforms.lake.session import session
from transforms.lake.tables import Tables
from transforms.lake.upkeep import lay_out
from transforms.search.phrases import search
from transforms.text.folding import fold

VOCABULARY = 200_000
RECORDING_WORDS = 10_000
"""About an hour of speech."""
WAVE_RECORDINGS = 10
RARE = ("quarterly", "revenue")
RARE_EVERY = 1_000
"""One recording in so many has the rare phrase, once."""
_FREQUENT = "the of and to a in that is it for was on as with be he at by this are I not have or from".split()
_PHRASES = {
    "a rare phrase": "quarterly revenue",
    "a rare word": "revenue",
    "a usual phrase": "from the of",
    "a phrase in every recording": "of the",
    "a word in every recording": "the",
    "no hit, all words frequent": "the of and to a in that is it for was on",
    "no hit, unknown word": "xylophones",
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.search")
    parser.add_argument("--words", type=int, default=10_000_000, help="rows of the table words (%(default)s)")
    parser.add_argument("--folder", help="where to keep the tables, or where they are; else a temporary folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        tables = Tables(session(), options.folder or temporary)
        tables.create()
        if not tables.read(RECORDINGS).limit(1).count():
            make(tables.root, options.words)
        print(machine())
        ask(tables)
        began_at = time.perf_counter()
        for table in (RECORDINGS, WORDS):
            lay_out(tables, table, "lay out")
        print(f"\njobs.maintain: {time.perf_counter() - began_at:.0f} s")
        ask(tables)


def ask(tables: Tables) -> None:
    """Prints what each search took and found."""
    for table in (RECORDINGS, WORDS):
        detail = tables.spark.sql(f"DESCRIBE DETAIL {tables.identifier(table)}").collect()[0]
        size = f"{detail.sizeInBytes / 2**20:,.0f} MiB in {detail.numFiles:,} files"
        print(f"{table.name}: {tables.read(table).count():,} rows, {size}")
    print("\n| seconds | DuckDB | Spark | the command | hits shown |\n|---|---|---|---|---|")
    local = LocalTables(tables.root)
    for name, phrase in _PHRASES.items():
        hits = search(local, phrase)
        assert hits == search(tables, phrase)
        ways = (lambda: search(local, phrase), lambda: search(tables, phrase), lambda: command(tables.root, phrase))  # noqa: B023
        took = " | ".join(f"{statistics.median(seconds(way) for _ in range(3)):.2f}" for way in ways)
        print(f"| {name}: {phrase} | {took} | {len(hits)} |", flush=True)


def seconds(call: Callable[[], object]) -> float:
    began_at = time.perf_counter()
    call()
    return time.perf_counter() - began_at


def command(root: str, phrase: str) -> None:
    subprocess.run([sys.executable, "-m", "jobs.search", phrase, "--tables", root], capture_output=True, check=True)


def vocabulary() -> list[str]:
    """Words by falling frequency: English's most frequent, then syllables, the longer the rarer."""
    syllables = [f"{a}{b}" for a in "bcdfghjklmnprstvwz" for b in "aeiou"]
    words, at = list(_FREQUENT), 0
    while len(words) < VOCABULARY:
        rank, word = at + len(syllables), ""
        while rank:
            rank, syllable = divmod(rank, len(syllables))
            word += syllables[syllable]
        words.append(word)
        at += 1
    return [*words, *RARE]


def probabilities() -> np.ndarray:
    weights = 1 / (np.arange(VOCABULARY) + 1 + 2.7) ** 1.07
    return np.cumsum(weights / weights.sum())


def recording(index: int, words: pa.Array, cumulative: np.ndarray) -> tuple[dict[str, Any], pa.Table]:
    """A row of recordings and its rows of words; the same for the same index."""
    random = np.random.default_rng(index)
    ids = np.searchsorted(cumulative, random.random(RECORDING_WORDS)).clip(max=VOCABULARY - 1)
    if index % RARE_EVERY == 0:
        ids[5_000:5_002] = VOCABULARY, VOCABULARY + 1
    spoken = words.take(pa.array(ids))
    marks = pa.array(["", ",", "."]).take(pa.array(random.choice(3, RECORDING_WORDS, p=[0.88, 0.06, 0.06])))
    spoken = pc.binary_join_element_wise(spoken, marks, "")
    lengths = pc.utf8_length(spoken).to_numpy()
    char_end = np.cumsum(lengths + 1) - 1
    end_ms = np.cumsum(random.integers(120, 600, RECORDING_WORDS))
    audio_id, run_key = (hashlib.sha256(f"{kind}{index}".encode()).hexdigest()[:32] for kind in "ar")
    count = len(ids)
    rows = pa.table(
        {
            "audio_id": pa.repeat(audio_id, count),
            "run_key": pa.repeat(run_key, count),
            "word_index": np.arange(count, dtype=np.int32),
            "word": spoken,
            "start_ms": end_ms - 100,
            "end_ms": end_ms,
            "estimated": pa.repeat(False, count),
            "confidence": random.beta(8, 1, count),
            "speaker": pa.nulls(count, pa.string()),
            "channel": pa.nulls(count, pa.int32()),
            "segment_index": (np.arange(count) // 12).astype(np.int32),
            "char_start": (char_end - lengths).astype(np.int32),
            "char_end": char_end.astype(np.int32),
        }
    )
    text = " ".join(spoken.to_pylist())
    row = {"audio_id": audio_id, "run_key": run_key, "uri": f"s3://archive/{index:06d}.mp3", "status": "ok"}
    row |= {"text": text, "language": "en", "word_count": count, "duration_ms": int(end_ms[-1])}
    return row | {"folded_text": f" {fold(text)} "}, rows


def make(root: str, word_count: int) -> None:
    """A commit and a file a wave in both tables, rows in the order that publishing leaves: by audio_id."""
    words, cumulative = pa.array(vocabulary()), probabilities()
    for wave in range(word_count // RECORDING_WORDS // WAVE_RECORDINGS):
        indices = range(wave * WAVE_RECORDINGS, (wave + 1) * WAVE_RECORDINGS)
        made = sorted((recording(k, words, cumulative) for k in indices), key=lambda pair: str(pair[0]["audio_id"]))
        full = [{name: row.get(name) for name in RECORDINGS.names} for row, _ in made]
        write_deltalake(f"{root}/words", pa.concat_tables(rows for _, rows in made).cast(WORDS.arrow), mode="append")
        write_deltalake(f"{root}/recordings", pa.Table.from_pylist(full, schema=RECORDINGS.arrow), mode="append")


if __name__ == "__main__":
    main()
