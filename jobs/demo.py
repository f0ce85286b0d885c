"""Transcribe a folder and show what came out:  python -m jobs.demo --audio ~/calls"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from pyspark.sql import functions as F

from jobs.cli import add_config_arguments, exit_with_reason, load_arguments_config, table
from schemas.tables import FAILURES, RECORDINGS
from transforms.lake.session import session
from transforms.lake.tables import Tables
from transforms.logs import tell
from transforms.run.job import RunSummary, transcribe
from transforms.run.listing import list_recordings
from transforms.text.clock import clock

_SHOWN = 40
_TEXT_CHARS = 64


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="jobs.demo", description=__doc__)
    parser.add_argument("--audio", default="examples/recordings.tsv", help="a folder, a glob or a list of recordings")
    parser.add_argument("--tables", default="lakehouse", help="where to put the Delta tables")
    add_config_arguments(parser)
    parser.set_defaults(config="local")
    options = parser.parse_args(arguments)
    with exit_with_reason():
        config = load_arguments_config(options)
        manifest = Path(options.tables) / "manifest.parquet"
        listed = list_recordings([options.audio], config.fetch)
        manifest.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(listed, manifest)
        tell(f"{listed.num_rows} recordings in {options.audio}; starting Spark …")
        spark = session()
        summary = transcribe(spark, config, str(manifest), options.tables)
        show(Tables(spark, options.tables), options.tables, set(listed["uri"].to_pylist()), summary)


def show(tables: Tables, root: str, uris: set[str], summary: RunSummary) -> None:
    """Prints what was done and what failed, the speed, where the tables are, and what to ask them next."""
    mine = tables.read(RECORDINGS).where(F.col("uri").isin(*sorted(uris))).orderBy("uri")
    rows = mine.limit(_SHOWN).collect()
    print("\nTable recordings:\n")
    print(table(["recording", "status", "length", "words", "conf.", "lang.", "text"], [_shown(row) for row in rows]))
    if summary.recordings > len(rows):
        print(f"… and {summary.recordings - len(rows)} more")
    failures = tables.read(FAILURES).where(F.col("uri").isin(*sorted(uris))).orderBy("uri").limit(_SHOWN).collect()
    if failures:
        print("\nTable failures:\n")
        for failure in failures:
            print(f"  {failure.stage}/{failure.kind}: {failure.message}")
    print()
    if summary.run_id is None:
        print(f"Nothing was new: {summary.skipped} recordings are up to date.")
    else:
        speed = f"{summary.audio_s / 60:.1f} minutes of audio in {summary.wall_s:.0f} s"
        times = f"{summary.audio_s / summary.wall_s:.1f} times real time"
        print(f"{summary.recordings} recordings, {summary.failed} failed; {speed}, {times}.")
    print(f"The tables are in {tables.root}. Three questions to ask them next:\n")
    for question in _QUESTIONS:
        print(f'  .venv/bin/python -m jobs.sql --tables {root} "{question}"')


_QUESTIONS = (
    "SELECT lower(word), count(*) FROM words WHERE length(word) > 5 GROUP BY 1 ORDER BY 2 DESC LIMIT 10",
    "SELECT uri, start_ms, s.text FROM segments s JOIN recordings USING (audio_id, take_id) WHERE s.text LIKE '%open%'",
    "SELECT word, w.confidence, start_ms, uri FROM words w JOIN recordings USING (audio_id) ORDER BY 2 LIMIT 9",
)


def _shown(row: Any) -> list[str]:
    length = "" if row.duration_ms is None else clock(row.duration_ms)
    confidence = "" if row.confidence is None else f"{row.confidence:.2f}"
    text = " ".join((row.text or "").split())
    shown = text if len(text) <= _TEXT_CHARS else text[: _TEXT_CHARS - 1] + "…"
    return [Path(row.uri).name, row.status, length, str(row.word_count or ""), confidence, row.language or "", shown]


if __name__ == "__main__":
    main()
