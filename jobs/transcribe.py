"""Transcribe a manifest into Delta tables:  python -m jobs.transcribe --manifest calls.parquet --tables ./lakehouse"""

from __future__ import annotations

import argparse
import math

from jobs.cli import add_config_arguments, add_tables_arguments, exit_with_reason, load_arguments_config
from jobs.status import Status
from schemas.config import show_config
from transforms.lake.session import session
from transforms.logs import tell
from transforms.run.job import RunSummary, transcribe


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="jobs.transcribe", description=__doc__)
    add_config_arguments(parser)
    parser.add_argument("--manifest", help="Parquet with a column uri (see python -m jobs.manifest)")
    add_tables_arguments(parser, required=False)
    parser.add_argument(
        "--reprocess",
        nargs="?",
        const="changed",
        default="no",
        choices=["no", "changed", "failed", "all"],
        help="do again what another configuration made (changed, the default), what failed for good, or everything",
    )
    parser.add_argument(
        "--wait",
        action="store_true",
        help="wait for the recordings that other runs are at work on, in place of leaving those to them",
    )
    parser.add_argument(
        "--fail-above",
        type=_share,
        default=math.inf,
        metavar="5%",
        help=f"exit status {Status.FAILURES} if more of this run's recordings failed; without it none is too much",
    )
    parser.add_argument(
        "--show-config", action="store_true", help="print the whole effective configuration, without secrets, and stop"
    )
    options = parser.parse_args(arguments)
    with exit_with_reason():
        config = load_arguments_config(options)
        if options.show_config:
            print(show_config(config, redacted=True), end="")
            return
        if not options.manifest or not options.tables:
            parser.error("--manifest and --tables are needed")
        spark, wait = session(options.verbose), options.wait
        summary = transcribe(spark, config, options.manifest, options.tables, options.reprocess, wait_for_others=wait)
    for sentence in summary.sentences():
        tell(sentence)
    if status := _status(summary, options.fail_above):
        raise SystemExit(status)


def _status(summary: RunSummary, fail_above: float) -> Status:
    if summary.recordings:
        return Status.FAILURES if summary.failed / summary.recordings > fail_above else Status.DONE
    return Status.HELD if summary.left else Status.DONE


def _share(text: str) -> float:
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = math.nan
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no share; write it as in 5% or 0.05")
    return share


if __name__ == "__main__":
    main()
