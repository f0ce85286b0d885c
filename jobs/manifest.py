"""List recordings into a manifest:  python -m jobs.manifest ~/calls 's3://bucket/*.mp3' --out calls.parquet"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq

from jobs.cli import add_config_arguments, exit_with_reason, load_arguments_config
from transforms.run.listing import list_recordings, shown


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="jobs.manifest", description=__doc__)
    parser.add_argument(
        "sources",
        nargs="+",
        help="files, folders, globs, uris (s3://, gs://, http://, …), or lists (CSV, TSV, JSONL, Parquet)",
    )
    parser.add_argument("--out", required=True, help="the manifest to write (Parquet)")
    add_config_arguments(parser)
    options = parser.parse_args(arguments)
    left_out: Counter[str] = Counter()
    with exit_with_reason():
        table = list_recordings(options.sources, load_arguments_config(options).fetch, left_out)
        out = Path(options.out).expanduser()
        out.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, out)
    print(f"{options.out}: {table.num_rows} recordings", file=sys.stderr)
    if left_out:
        print(f"Left out, as no recordings by their names: {shown(left_out)}", file=sys.stderr)


if __name__ == "__main__":
    main()
