"""Make the public tables again from chunks, no engine needed:  python -m jobs.publish --tables ./lakehouse"""

from __future__ import annotations

import argparse
import sys

from jobs.cli import add_config_arguments, add_tables_arguments, exit_with_reason, load_arguments_config
from transforms.lake.session import session
from transforms.lake.tables import Tables
from transforms.publishing.publish import complete_takes, delete_stale, publish


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="jobs.publish", description=__doc__)
    add_config_arguments(parser)
    add_tables_arguments(parser)
    options = parser.parse_args(arguments)
    with exit_with_reason():
        config = load_arguments_config(options)
        tables = Tables(session(options.verbose), options.tables)
        tables.upgrade()
        takes = complete_takes(tables)
        publish(tables, takes, config)
        delete_stale(tables)
    print(f"{options.tables}: {len(takes)} recordings published from chunks", file=sys.stderr)


if __name__ == "__main__":
    main()
