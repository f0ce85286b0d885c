"""Keep the tables quick and small, as once a night:  python -m jobs.maintain --tables ./lakehouse --dry-run

Steps, in this order: chunks (deletes those that nothing shows any more), optimize (merges small files, and lays tables
out by recording), vacuum (removes files that have been out of use for a week), logs (checkpoints, and what is a month
old). Runs may be at work at the same time.
"""

from __future__ import annotations

import argparse

from jobs.cli import add_config_arguments, add_tables_arguments, exit_with_reason, load_arguments_config, table
from transforms.lake.session import session
from transforms.logs import tell
from transforms.maintenance.maintain import STEPS, Done, maintain


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="jobs.maintain", description=__doc__)
    add_config_arguments(parser)
    add_tables_arguments(parser)
    parser.add_argument("--steps", default=",".join(STEPS), help="which of them, with commas between (%(default)s)")
    parser.add_argument("--dry-run", action="store_true", help="say what there is to do, and write nothing")
    options = parser.parse_args(arguments)
    steps = options.steps.split(",")
    if unknown := [step for step in steps if step not in STEPS]:
        parser.error(f"--steps {options.steps}: there is no step {unknown[0]!r}, only {', '.join(STEPS)}")
    with exit_with_reason():
        config = load_arguments_config(options)
        done = maintain(session(options.verbose), config, options.tables, steps, dry_run=options.dry_run)
    _show(done, options.tables, options.dry_run)


def _show(done: list[Done], root: str, dry_run: bool) -> None:
    if not done:
        tell(f"{root}: nothing to do")
        return
    print(table(["step", "table", "to do" if dry_run else "done"], [[one.step, one.table, one.what] for one in done]))


if __name__ == "__main__":
    main()
