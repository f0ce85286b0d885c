"""Transcribe what arrives in a folder, as it arrives:  python -m jobs.watch --folder ~/calls --tables ./lakehouse"""

from __future__ import annotations

import argparse
import hashlib
from typing import Any

from jobs.cli import (
    add_config_arguments,
    add_tables_arguments,
    exit_with_reason,
    load_arguments_config,
    seconds,
    stopped_by_signals,
)
from jobs.status import Status
from schemas.config import ConfigError
from transforms.lake.session import session
from transforms.lake.tables import Tables
from transforms.logs import tell
from transforms.watching.arrivals import Kind, Watched
from transforms.watching.watch import Watch


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="jobs.watch",
        description=__doc__,
        epilog=f"exit status: 0 at the end, {Status.NOT_WELL} if a manifest could not be used",
    )
    arriving = parser.add_mutually_exclusive_group(required=True)
    arriving.add_argument("--folder", help="where recordings arrive: a folder, or a uri that Spark lists")
    arriving.add_argument("--manifests", help="where manifests (Parquet) arrive")
    add_tables_arguments(parser)
    add_config_arguments(parser)
    parser.add_argument("--checkpoint", help="what is known of the folder; by default in the tables' folder")
    parser.add_argument("--once", action="store_true", help="do what is there, and end")
    parser.add_argument(
        "--every", type=seconds, default=60.0, metavar="60s", help="how often to look: 30s, 5m, 1h (default 60s)"
    )
    parser.add_argument(
        "--batch-hours",
        type=float,
        default=10.0,
        metavar="HOURS",
        help="audio, by its bytes, that is done before the folder is looked at again (%(default)s)",
    )
    parser.add_argument(
        "--settle-s",
        type=float,
        default=30.0,
        metavar="SECONDS",
        help="a file is whole when its size and time stood still for so long (%(default)s); in object stores at once",
    )
    parser.add_argument(
        "--source", choices=["files", "cloudFiles"], default="files", help="cloudFiles: Auto Loader on Databricks"
    )
    parser.add_argument(
        "--option", action="append", default=[], type=_pair, metavar="KEY=VALUE", help="an option of the source"
    )
    options = parser.parse_args(arguments)
    if options.batch_hours <= 0 or options.settle_s < 0:
        parser.error("--batch-hours must be above 0, --settle-s at least 0")
    with exit_with_reason():
        refused = _watch(options)
    if options.once and refused:
        raise SystemExit(Status.NOT_WELL)


def _watch(options: argparse.Namespace) -> int:
    """How many manifests could not be used."""
    config = load_arguments_config(options)
    kind: Kind = "recordings" if options.folder else "manifests"
    place = options.folder or options.manifests
    watched = Watched(kind, place, options.source, dict(options.option))
    spark = session(options.verbose)
    stop = stopped_by_signals("stopping when the wave in hand is published; once more: at once")
    checkpoint = options.checkpoint or _default_checkpoint(Tables(spark, options.tables), watched)
    limits: dict[str, Any] = {"batch_hours": options.batch_hours, "settle_s": options.settle_s}
    watch = Watch(spark, config, watched, options.tables, checkpoint, **limits, tell=tell, stop=stop)
    tell(f"{place}: {kind} that arrive are transcribed into {options.tables}; checkpoint {checkpoint}")
    watch.once() if options.once else watch.go_on(options.every)
    if stop.is_set():
        tell("stopped; the next start goes on from here")
    return len(watch.refused)


def _default_checkpoint(tables: Tables, watched: Watched) -> str:
    if tables.in_catalog:
        raise ConfigError("--checkpoint is needed where the tables are in a catalog; give a folder or uri of your own")
    name = hashlib.sha256(f"{watched.kind} {watched.root}".encode()).hexdigest()[:12]
    return f"{tables.root.rstrip('/')}/_watch/{name}"


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is no KEY=VALUE")
    return key, value


if __name__ == "__main__":
    main()
