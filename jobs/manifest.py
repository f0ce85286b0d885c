"""List recordings into a manifest:  python -m jobs.manifest ~/calls 's3://bucket/*.mp3' --out calls.parquet"""

from __future__ import annotations

import argparse
import io
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.cli import add_config_arguments, exit_with_reason, load_arguments_config
from jobs.status import Status
from schemas.config import FetchConfig
from transforms.errors import ManifestError
from transforms.logs import tell
from transforms.run.listing import list_recordings, shown
from transforms.stores.files import folder_and_name, write_whole


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="jobs.manifest",
        description=__doc__,
        epilog=f"exit status: 0, or {Status.NONE_THERE} where a source has no recording",
    )
    parser.add_argument(
        "sources",
        nargs="+",
        help="files, folders, globs, uris (s3://, gs://, http://, …), or lists (CSV, TSV, JSONL, Parquet)",
    )
    parser.add_argument("--out", required=True, help="the manifest to write (Parquet): a path or uri")
    add_config_arguments(parser)
    options = parser.parse_args(arguments)
    left_out: Counter[str] = Counter()
    with exit_with_reason():
        fetch = load_arguments_config(options).fetch
        table = list_recordings(options.sources, fetch, left_out)
        _write(table, options.out, fetch)
    tell(f"{options.out}: {table.num_rows} recordings")
    if left_out:
        tell(f"Left out, as no recordings by their names: {shown(left_out)}")


def _write(table: pa.Table, out: str, config: FetchConfig) -> None:
    """Whole or not at all."""
    parquet = io.BytesIO()
    pq.write_table(table, parquet)
    try:
        write_whole(*folder_and_name(out), [parquet.getvalue()], config)
    except OSError as error:
        raise ManifestError(f"{out} cannot be written: {error.strerror or error}; give --out another place") from error


if __name__ == "__main__":
    main()
