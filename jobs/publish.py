"""Make the public tables again from chunks, no engine needed:  python -m jobs.publish --tables ./lakehouse"""

from __future__ import annotations

import argparse

from jobs.cli import add_config_arguments, add_tables_arguments, exit_with_reason, load_arguments_config
from transforms.lake.session import session
from transforms.logs import tell
from transforms.run.republish import republish


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="jobs.publish", description=__doc__)
    add_config_arguments(parser)
    add_tables_arguments(parser)
    options = parser.parse_args(arguments)
    with exit_with_reason():
        config = load_arguments_config(options)
        done = republish(session(options.verbose, over_connect=True), config, options.tables)
    left = f"; {done.left} are left to the runs that are at work on them" if done.left else ""
    tell(f"{options.tables}: {done.recordings} recordings published from chunks{left}")


if __name__ == "__main__":
    main()
