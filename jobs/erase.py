"""Erase recordings from all tables, as a person may ask:  python -m jobs.erase --tables ./lakehouse --audio-ids ID…

Their rows go, the old files and the change data feed that held them, and the logs that name them. They are not
transcribed again. Without --audio-ids and --where it finishes what was begun.
"""

from __future__ import annotations

import argparse
import sys

from jobs.cli import add_config_arguments, add_tables_arguments, exit_with_reason, load_arguments_config, table
from jobs.status import Status
from schemas.config import ConfigError
from transforms.lake.session import session
from transforms.lake.tables import Tables
from transforms.logs import tell
from transforms.maintenance.erase import Erased, allow_again, erase, selected, to_go

_NOT_OURS = (
    "Not touched: the audio itself (but that of live sessions), manifests, exports and whatever else was made of the "
    "tables, backups and copies of them."
)
_ANEW = (
    "Time travel and the change data feed begin anew here: streams and sessions that have the tables open have to be "
    "started again."
)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="jobs.erase",
        description=__doc__,
        epilog=f"exit status: 0 if all is gone, {Status.NOT_WELL} if something has to wait for other runs",
    )
    add_config_arguments(parser)
    add_tables_arguments(parser)
    parser.add_argument("--audio-ids", nargs="+", default=[], metavar="ID", help="recordings, by their audio_id")
    parser.add_argument(
        "--where", metavar="SQL", help="those of the table recordings, as in \"metadata['speaker_name'] = 'Ann'\""
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--dry-run", action="store_true", help="say what would go, and write nothing")
    what.add_argument("--allow-again", action="store_true", help="let --audio-ids, once erased, be transcribed again")
    options = parser.parse_args(arguments)
    if options.allow_again and (options.where or not options.audio_ids):
        parser.error("--allow-again needs --audio-ids: nothing else is known of what was erased")
    with exit_with_reason():
        config = load_arguments_config(options)
        tables = Tables(session(options.verbose), options.tables)
        tables.require()
        if options.allow_again:
            count = allow_again(tables, options.audio_ids)
            tell(f"{options.tables}: {count} recordings may be transcribed again")
            return
        audio_ids = {*options.audio_ids, *(selected(tables, options.where) if options.where else ())}
        if options.where and not audio_ids:
            raise ConfigError(f"--where {options.where}: there is no such recording, nothing was erased")
        done = to_go(tables, audio_ids) if options.dry_run else erase(tables.spark, config, options.tables, audio_ids)
    _show(done, options.tables, options.dry_run)
    if done.at_work:
        raise SystemExit(Status.NOT_WELL)


def _show(done: Erased, root: str, dry_run: bool) -> None:
    if any(done.rows.values()):
        rows = [[name, str(count)] for name, count in done.rows.items() if count]
        print(table(["table", "rows to go" if dry_run else "rows gone"], rows))
    absent = f", {done.absent} of them in no table" if done.absent else ""
    if dry_run:
        tell(f"{root}: {done.noted} recordings would be erased{absent}. {_NOT_OURS}")
        return
    if done.left:
        runs = ", ".join(sorted({*done.left.values()}))
        tell(f"{root}: {len(done.left)} recordings are in the hands of other runs ({runs})")
    if done.at_work:
        print(
            f"{root}: {done.noted - len(done.left)} recordings are gone from the tables{absent}, but not from the old "
            f"files and logs, which runs that are at work may need ({', '.join(sorted(done.at_work))}). When they have "
            f"ended, finish it with: python -m jobs.erase --tables {root}",
            file=sys.stderr,
        )
    elif done.files:
        tell(f"{root}: {done.noted} recordings erased{absent}; {done.files} old files removed")
        tell(f"{_ANEW}\n{_NOT_OURS}")
    else:
        tell(f"{root}: nothing to do, these {done.noted} recordings were erased before")


if __name__ == "__main__":
    main()
