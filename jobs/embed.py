"""Prepare the search by meaning, again when there is more:  python -m jobs.embed --tables ./lakehouse"""

from __future__ import annotations

import argparse

from jobs.cli import (
    add_config_arguments,
    add_model_argument,
    add_tables_arguments,
    exit_with_reason,
    load_arguments_config,
)
from schemas.config import show_config
from transforms.lake.session import session
from transforms.lake.tables import Tables
from transforms.logs import tell
from transforms.run.registry import Registry
from transforms.search.meaning import embed


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="jobs.embed", description=__doc__)
    add_config_arguments(parser)
    add_tables_arguments(parser)
    add_model_argument(parser)
    options = parser.parse_args(arguments)
    with exit_with_reason():
        config = load_arguments_config(options)
        tables = Tables(session(options.verbose), options.tables)
        tables.require()
        with (
            Registry(tables, config.run.claim_minutes) as registry,
            registry.running(show_config(config, redacted=True)),
        ):
            count = embed(tables, options.model)
    tell(f"{options.tables}: passages of {count} more transcripts by {options.model}")


if __name__ == "__main__":
    main()
