"""The job beside a pipeline of pandas UDFs as tutorials write it, with the same engine and aligner.

    python -m benchmarks.plain_pipeline --clips 2400 --rounds 1

The plain pipeline reads files with Spark's binaryFile, decodes each into a column array<float>, cuts that into pieces
of half a minute, asks the recognizer for each piece and the aligner for its words, one after the other, each in a UDF
that is given the waveform, and writes words to a Delta table. The models are loaded once a worker. It has no VAD, no
batches, no second tries, no failures as rows, and begins anew when it is killed.

Engine and aligner are `qwen` on the tiny checkpoints, the clips those of benchmarks.tiny_qwen, in unheard voices. Each
side runs in a process of its own, by turns; the clock starts when Spark has done the first clips, in all workers.
Memory is the most that all its processes had together.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.common import Clip, machine, run_job, word_error_rate
from benchmarks.tiny_qwen import MODELS, TINY, made
from schemas.config import SAMPLE_RATE_HZ, load_config
from transforms.lake.session import session

_PIECE_S = 30
_FIRST = "*_00?.wav"
"""Clips for every worker to load its models with."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.plain_pipeline")
    parser.add_argument("--clips", type=int, default=2400)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        print(json.dumps(SIDES[options.side](options.folder)))
        return
    sys.path.insert(0, str(TINY))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "audio"
        folder.mkdir()
        (clips,) = (some for some in made(folder, options.clips, 0).values() if some)
        rounds = [{side: measured(side, folder) for side in SIDES} for _ in range(options.rounds)]
    audio_s = sum(clip.duration_s for clip in clips)
    seconds = {side: sum(one[side]["seconds"] for one in rounds) / len(rounds) for side in SIDES}
    peaks = {side: max(one[side]["peak_mib"] for one in rounds) for side in SIDES}
    rates = {side: error_rate(clips, rounds[0][side]["texts"]) for side in SIDES}
    print(f"Tiny checkpoints, {machine()}\n")
    print(f"| {len(clips)} clips, {audio_s / 60:.0f} min | Lakescribe | pandas UDFs | |\n|---|---|---|---|")
    speeds = [audio_s / seconds[side] for side in ("job", "plain")]
    print(f"| times real time | {speeds[0]:.1f} | {speeds[1]:.1f} | {speeds[0] / speeds[1]:.2f} × as fast |")
    more = peaks["plain"] / peaks["job"]
    print(f"| memory of all processes | {peaks['job']:,} MiB | {peaks['plain']:,} MiB | {more:.2f} × as much |")
    print(f"| word error rate | {rates['job']:.1%} | {rates['plain']:.1%} | |")


def error_rate(clips: list[Clip], texts: dict[str, str]) -> float:
    return word_error_rate([clip.text for clip in clips], [texts[clip.path.name] for clip in clips])


def measured(side: str, folder: Path) -> dict[str, Any]:
    """What a process of its own for the side has printed, and the most memory that it and its children had."""
    command = [sys.executable, "-m", "benchmarks.plain_pipeline", "--side", side, "--folder", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    peak_bytes, ended = 0, threading.Event()

    def look() -> None:
        nonlocal peak_bytes
        while not ended.wait(1.0):
            peak_bytes = max(peak_bytes, tree_bytes(process.pid))

    looking = threading.Thread(target=look)
    looking.start()
    said, _ = process.communicate()
    ended.set()
    looking.join()
    if process.returncode:
        raise SystemExit(f"{side} ended with {process.returncode}")
    return {**json.loads(said.splitlines()[-1]), "peak_mib": peak_bytes // 2**20}


def tree_bytes(root: int) -> int:
    """Memory of a process and all below it; what some share is counted once (Linux)."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it ended while we looked
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    found, below = {root}, True
    while below:
        below = {process for process, parent in parents.items() if parent in found} - found
        found |= below
    return sum(map(shared_out_bytes, found))


def shared_out_bytes(process: int) -> int:
    """The kernel's proportional set size: of what n processes share, an nth."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)
    return 0


def job(folder: Path) -> dict[str, Any]:
    models = [f"{key}={TINY / name}" for key, name in MODELS.items()]
    first, config = (
        load_config("examples/tiny_qwen/config.yaml", [*models, f"run.task_audio_minutes={minutes}"])
        for minutes in (0.05, "null")
    )
    spark = session()
    run_job(spark, sorted(folder.glob(_FIRST)), first)
    found, summary = run_job(spark, sorted(folder.glob("*.wav")), config)
    return {"seconds": summary.wall_s, "texts": {path.name: said.text for path, said in found.items()}}


def plain(folder: Path) -> dict[str, Any]:
    spark = session()
    with tempfile.TemporaryDirectory() as scratch:
        plain_pipeline(spark, f"{folder}/{_FIRST}", f"{scratch}/first")
        began_at = time.monotonic()
        plain_pipeline(spark, f"{folder}/*.wav", f"{scratch}/words")
        seconds = time.monotonic() - began_at
        rows = spark.read.format("delta").load(f"{scratch}/words").select("path", "piece", "text").distinct().collect()
    texts: dict[str, list[str]] = {}
    for row in sorted(rows, key=lambda row: row.piece):
        texts.setdefault(Path(row.path).name, []).append(row.text)
    return {"seconds": seconds, "texts": {name: " ".join(pieces) for name, pieces in texts.items()}}


SIDES = {"plain": plain, "job": job}


def plain_pipeline(spark: Any, files: str, table: str) -> None:
    from pyspark.sql import functions as F
    from pyspark.sql.functions import pandas_udf

    @pandas_udf("array<array<float>>")  # type: ignore[call-overload,untyped-decorator]
    def pieces(contents: pd.Series) -> pd.Series:
        import io

        import librosa

        def cut(content: bytes) -> list[Any]:
            samples, _ = librosa.load(io.BytesIO(content), sr=SAMPLE_RATE_HZ)
            step = _PIECE_S * SAMPLE_RATE_HZ
            return [samples[start : start + step] for start in range(0, len(samples), step)]

        return contents.map(cut)

    @pandas_udf("text string, language string")  # type: ignore[call-overload,untyped-decorator]
    def read(waveforms: Iterator[pd.Series]) -> Iterator[pd.DataFrame]:
        from transforms.engines import Utterance, load_once
        from transforms.engines.qwen.recognizer import QwenSpec

        engine = load_once(QwenSpec(model=str(TINY / "recognizer")).checked())
        for batch in waveforms:
            found = [engine.call(engine.engine.recognize, [Utterance(one)]).result()[0] for one in batch]
            yield pd.DataFrame({"text": [one.text for one in found], "language": [one.language for one in found]})

    @pandas_udf("array<struct<word: string, start_ms: int, end_ms: int>>")  # type: ignore[call-overload,untyped-decorator]
    def time_words(waveforms: pd.Series, texts: pd.Series, languages: pd.Series) -> pd.Series:
        from transforms.engines import AlignmentRequest, load_once
        from transforms.engines.qwen.aligner import QwenAlignerSpec
        from transforms.text.words import split_words

        engine = load_once(QwenAlignerSpec(model=str(TINY / "aligner")).checked())

        def timed(samples: Any, text: str, language: str) -> list[dict[str, Any]]:
            words = tuple(split_words(text, language))
            request = AlignmentRequest(samples, text, words, language)
            (times,) = engine.call(engine.engine.align, [request]).result()
            return [
                {"word": text[start:end], "start_ms": time and time.start_ms, "end_ms": time and time.end_ms}
                for (start, end), time in zip(words, times or [None] * len(words), strict=True)
            ]

        return pd.Series([timed(*row) for row in zip(waveforms, texts, languages, strict=True)])

    audio = spark.read.format("binaryFile").load(files)
    cut = audio.select("path", F.posexplode(pieces("content")).alias("piece", "waveform"))
    said = cut.withColumn("said", read("waveform"))
    words = said.withColumn("words", time_words("waveform", "said.text", "said.language"))
    rows = words.select("path", "piece", "said.text", F.explode_outer("words").alias("word")).select(
        "path", "piece", "text", "word.*"
    )
    rows.write.format("delta").save(table)


if __name__ == "__main__":
    main()
