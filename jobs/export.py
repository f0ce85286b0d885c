"""Write transcripts as files:  python -m jobs.export --tables ./lakehouse --format srt --out ./subtitles"""

from __future__ import annotations

import argparse
import logging

from jobs.cli import add_config_arguments, add_tables_arguments, exit_with_reason, load_arguments_config
from transforms.exports import FORMATS
from transforms.exports.export import Summary, export
from transforms.exports.request import Request, check
from transforms.lake.session import session
from transforms.lake.tables import Tables
from transforms.logs import tell


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="jobs.export", description=__doc__)
    add_tables_arguments(parser)
    parser.add_argument("--format", required=True, nargs="+", help="one or several: " + ", ".join(FORMATS))
    parser.add_argument("--out", required=True, help="a folder, or a uri in an object store (s3://bucket/folder)")
    parser.add_argument(
        "--per", choices=["recording", "shard"], default="recording", help="a file for each recording, or for many"
    )
    parser.add_argument(
        "--shards", type=int, help="how many files with --per shard (default: one for 10,000 recordings)"
    )
    parser.add_argument("--where", help="only recordings for which this SQL is true, as in \"language = 'en'\"")
    parser.add_argument("--audio-ids", nargs="+", metavar="AUDIO_ID", help="only these recordings")
    parser.add_argument("--embed-audio", action="store_true", help="html: put the audio into the page")
    add_config_arguments(parser)
    options = parser.parse_args(arguments)
    with exit_with_reason():
        config = load_arguments_config(options)
        names = ("out", "per", "shards", "where", "audio_ids", "embed_audio")
        same = {name: getattr(options, name) for name in names}
        requests = [check(Request(name, **same), config) for name in dict.fromkeys(options.format)]
        tables = Tables(session(options.verbose, over_connect=True), options.tables)
        tables.require()
        for request in requests:
            _show(export(tables, config, request), f"{options.out}, {request.format}")


def _show(done: Summary, what: str) -> None:
    counts = f"{done.files} files of {done.recordings} recordings, {done.written_bytes / 1e6:.1f} MB"
    without = f"; {done.failed} failed recordings have none" if done.failed else ""
    tell(f"{what}: {counts}{without}")
    if done.warnings:
        tell(f"warning: in {done.warnings} files, as in this one, {done.warning}", logging.WARNING)


if __name__ == "__main__":
    main()
