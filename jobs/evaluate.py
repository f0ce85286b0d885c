"""Error rates against what was really said:  python -m jobs.evaluate --tables ./lakehouse --references truth.tsv"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame

from jobs.cli import add_config_arguments, add_tables_arguments, exit_with_reason, load_arguments_config, table
from schemas.config import show_config
from schemas.tables import RECORDINGS
from transforms.evaluation.evaluate import BINS, calibration_error, difference
from transforms.evaluation.evaluations import (
    Evaluated,
    confidence_bins,
    current,
    default_groups,
    error_rates,
    evaluate,
    group_column,
    time_errors,
    worst,
)
from transforms.evaluation.references import find_references
from transforms.lake.session import session
from transforms.lake.tables import Tables
from transforms.logs import tell
from transforms.run.registry import Registry
from transforms.text.normalize import check_packages

_SHOWN_GROUPS = 40
_MARKS = {"equal": "{}", "delete": "[-{}-]", "insert": "{{+{}+}}"}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="jobs.evaluate", description=__doc__)
    add_config_arguments(parser)
    add_tables_arguments(parser)
    parser.add_argument(
        "--references",
        metavar="FILE",
        help="TSV, CSV, JSONL or Parquet with audio_id or uri, and reference; language, channel, speaker if you like; "
        "without it, the manifest's column reference counts",
    )
    parser.add_argument(
        "--reference-words",
        metavar="FILE",
        help="the same with word, start_ms, end_ms instead: for errors of word times",
    )
    parser.add_argument("--against", metavar="OTHER_TABLES", help="take the transcripts of other tables for the truth")
    parser.add_argument(
        "--by",
        metavar="COLUMN,…",
        help="sums by these columns: language, channel, speaker, status, model, metadata.accent, …; "
        "by default language, and channel and speaker where references have them",
    )
    parser.add_argument(
        "--simplified", action="store_true", help="traditional Chinese counts as simplified, in texts and references"
    )
    parser.add_argument("--worst", type=int, default=5, metavar="N", help="recordings to show with their differences")
    options = parser.parse_args(arguments)
    if options.against and (options.references or options.reference_words):
        parser.error("--against brings texts and times: give it or files, not both")
    with exit_with_reason():
        check_packages()
        config = load_arguments_config(options)
        tables = Tables(session(options.verbose, over_connect=True), options.tables)
        tables.require()
        by = options.by.split(",") if options.by else None
        for name in by or ():
            group_column(tables.read(RECORDINGS), name)
        source, references = find_references(tables, options.references, options.reference_words, options.against)
        with (
            Registry(tables, config.run.claim_minutes) as registry,
            registry.running(show_config(config, redacted=True)),
        ):
            done = evaluate(tables, references, source, simplified=options.simplified)
        rows = current(tables, source).persist()
        show(rows, by or default_groups(rows), options.worst)
    tell(f"\n{options.tables}: {told(done)}, against {source}, in the table evaluations")


def told(done: Evaluated) -> str:
    counts = [
        (done.rows, "references compared"),
        (done.unknown, "of recordings that are not in the tables"),
        (done.mixed, "of one channel or speaker left out, since the recording was transcribed as a mix"),
        (done.without, "recordings have no reference"),
    ]
    return ", ".join(f"{count} {text}" for index, (count, text) in enumerate(counts) if count or not index)


def show(rows: DataFrame, by: Sequence[str], most: int) -> None:
    """Prints rates, word times, calibration, and the recordings that were read worst."""
    header = ["", "recordings", "failed", "words", "WER", "CER", "subst.", "deleted", "inserted"]
    lines = [_rates("all", found) for found in error_rates(rows)]
    for name in by:
        groups = error_rates(rows, group_column(rows, name))
        lines += [_rates(f"{name} {found['value'] or 'not known'}", found) for found in groups[:_SHOWN_GROUPS]]
        if len(groups) > _SHOWN_GROUPS:
            lines.append([f"{name}: {len(groups) - _SHOWN_GROUPS} more"] + [""] * (len(header) - 1))
    print(table(header, lines))
    print("\nCompared after normalization, sums of errors over sums of words; a failed recording is all deletions:")
    for row in error_rates(rows, group_column(rows, "normalization")):
        print(f"  {row['value']}: {row['recordings']} recordings")
    for edge in time_errors(rows):
        print(
            f"\nWord {edge['edge']}s: median {edge['median_ms']:.0f} ms off, 90 % within {edge['p90_ms']:.0f} ms; "
            f"{edge['within_50']:.1%} within 50 ms, {edge['within_100']:.1%} within 100 ms ({edge['words']:,} words)"
        )
    bins = confidence_bins(rows)
    if bins:
        print(f"\nConfidence: expected calibration error {calibration_error(bins):.3f} (0 is perfect)\n")
        print(table(["confidence", "words", "right"], [_bin(found) for found in bins]))
    for row in worst(rows, most):
        _show_worst(row)


def _rates(label: str, row: Mapping[str, Any]) -> list[str]:
    rates = ["–" if row[rate] is None else f"{row[rate]:.1%}" for rate in ("wer", "cer")]
    counts = [f"{row[name]:,}" for name in ("substitutions", "deletions", "insertions")]
    return [label, f"{row['recordings']:,}", f"{row['failed']:,}", f"{row['words']:,}", *rates, *counts]


def _bin(found: Mapping[str, Any]) -> list[str]:
    edges = f"{found['bin'] / BINS:.1f} to {(found['bin'] + 1) / BINS:.1f}"
    return [edges, f"{found['words']:,}", f"{found['right'] / found['words']:.1%}"]


def _show_worst(row: Mapping[str, Any]) -> None:
    part = "".join(f", {name} {row[name]}" for name in ("channel", "speaker") if row[name] is not None)
    name = Path(row["uri"] or row["audio_id"]).name
    errors = f"{row['errors']} error{'' if row['errors'] == 1 else 's'}"
    print(f"\n{name}{part}: {errors} in {row['words']} {row['unit']}s")
    pieces = difference(row["alignment"], row["unit"])
    gap = " " if row["unit"] == "word" else ""
    print("  " + gap.join(_MARKS[kind].format(text) for kind, text in pieces))


if __name__ == "__main__":
    main()
