"""Lay the tables out for quick reading, as once a night:  python -m jobs.optimize --tables ./lakehouse"""

from __future__ import annotations

import argparse
import sys

from jobs.cli import add_tables_arguments, exit_with_reason
from transforms.lake.session import session
from transforms.lake.tables import Tables


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="jobs.optimize", description=__doc__)
    add_tables_arguments(parser)
    options = parser.parse_args(arguments)
    with exit_with_reason():
        tables = Tables(session(options.verbose), options.tables)
        tables.require()
        done = [table.name for table in tables.present() if tables.optimize(table)]
    print(f"{options.tables}: laid out {', '.join(done) or 'nothing, since nothing has changed'}", file=sys.stderr)


if __name__ == "__main__":
    main()
