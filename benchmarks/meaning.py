"""What search by meaning costs:  python -m benchmarks.meaning --passages 200_000

How many passages a second the default model embeds on one core, and how long Spark takes to compare a question with a
table of invented vectors (a passage is about 50 words, so 200,000 are 10 million words). The median of three.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time

import numpy as np
import pyarrow as pa
from deltalake import write_deltalake

from benchmarks.common import machine
from benchmarks.search import seconds, vocabulary
from schemas.tables import PASSAGES, RECORDINGS
from transforms.lake.session import session
from transforms.lake.tables import Tables
from transforms.search.embedder import EMBEDDED, check_model, embedder
from transforms.search.meaning import nearest

DIMENSIONS = 384
PASSAGE_WORDS = 50
RECORDING_PASSAGES = 200
_EMBEDDED = 1_000
_QUESTION = "ships could not sail because of bad weather"


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.meaning")
    parser.add_argument("--passages", type=int, default=200_000, help="rows of the table passages (%(default)s)")
    options = parser.parse_args()
    print(machine())
    random = np.random.default_rng(0)
    words = vocabulary()[:5_000]
    texts = [" ".join(random.choice(words, PASSAGE_WORDS)) for _ in range(_EMBEDDED)]
    model = embedder(EMBEDDED)
    model.passages(texts[:10])
    began_at = time.perf_counter()
    model.passages(texts)
    print(f"embedding: {_EMBEDDED / (time.perf_counter() - began_at):.0f} passages a second on one core")
    with tempfile.TemporaryDirectory() as folder:
        tables = Tables(session(), folder)
        tables.create([RECORDINGS, PASSAGES])
        make(folder, options.passages)
        nearest(tables, _QUESTION, EMBEDDED)
        took = statistics.median(seconds(lambda: nearest(tables, _QUESTION, EMBEDDED)) for _ in range(3))
        print(f"a question to {options.passages:,} passages: {took:.2f} s")


def make(root: str, count: int) -> None:
    """Vectors of length 1 in any direction, `RECORDING_PASSAGES` a recording, 50,000 a file."""
    random = np.random.default_rng(1)
    name = check_model(EMBEDDED)
    for first in range(0, count, 50_000):
        size = min(50_000, count - first)
        vectors = random.standard_normal((size, DIMENSIONS), dtype=np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        at = np.arange(first, first + size)
        columns = {
            "audio_id": [f"{index // RECORDING_PASSAGES:08d}" for index in at],
            "run_key": pa.repeat("k", size),
            "passage_index": at % RECORDING_PASSAGES,
            "start_ms": at % RECORDING_PASSAGES * 18_000,
            "end_ms": at % RECORDING_PASSAGES * 18_000 + 17_000,
            "text": pa.repeat("word " * PASSAGE_WORDS, size),
            "speaker": pa.nulls(size, pa.string()),
            "channel": pa.nulls(size, pa.int32()),
            "vector": pa.FixedSizeListArray.from_arrays(vectors.ravel(), DIMENSIONS).cast(pa.list_(pa.float32())),
            "model": pa.repeat(name, size),
        }
        write_deltalake(f"{root}/passages", pa.table(columns).cast(PASSAGES.arrow), mode="append")
    recordings = [
        {"audio_id": f"{index:08d}", "run_key": "k", "status": "ok", "language": "en"}
        for index in range(-(-count // RECORDING_PASSAGES))
    ]
    full = [{name: row.get(name) for name in RECORDINGS.names} for row in recordings]
    write_deltalake(f"{root}/recordings", pa.Table.from_pylist(full, schema=RECORDINGS.arrow), mode="append")


if __name__ == "__main__":
    main()
