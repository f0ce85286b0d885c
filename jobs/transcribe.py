"""Transcribe a manifest into Delta tables:  python -m jobs.transcribe --manifest calls.parquet --tables ./lakehouse"""

from __future__ import annotations

import argparse
import sys

from jobs.cli import add_config_arguments, add_tables_arguments, exit_with_reason, load_arguments_config
from schemas.config import show_config
from transforms.lake.session import session
from transforms.run.job import transcribe


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
        print(sentence, file=sys.stderr)


if __name__ == "__main__":
    main()
