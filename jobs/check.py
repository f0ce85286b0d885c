"""Look whether all is well with the tables, and mend them:  python -m jobs.check --tables ./lakehouse --repair"""

from __future__ import annotations

import argparse

from jobs.cli import add_config_arguments, add_tables_arguments, exit_with_reason, load_arguments_config, table
from jobs.status import Status
from transforms.check.command import Checked, check
from transforms.lake.session import session
from transforms.logs import tell


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="jobs.check", description=__doc__, epilog=f"exit status: 0 if all is well, {Status.NOT_WELL} if not"
    )
    add_config_arguments(parser)
    add_tables_arguments(parser)
    parser.add_argument("--repair", action="store_true", help="mend what can be mended from chunks, without an engine")
    options = parser.parse_args(arguments)
    with exit_with_reason():
        config = load_arguments_config(options)
        done = check(session(options.verbose), config, options.tables, mend=options.repair)
    _show(done, options.tables)
    if done.findings:
        raise SystemExit(Status.NOT_WELL)


def _show(done: Checked, root: str) -> None:
    if done.repaired is not None:
        left = f"; {done.repaired.left} are left to runs that are at work on them" if done.repaired.left else ""
        tell(f"{root}: {done.repaired.published} recordings published again from chunks{left}")
    if done.held:
        tell(f"{root}: {done.held} recordings were not looked at: runs are at work on them")
    if not done.findings:
        tell(f"{root}: all is well")
        return
    rows = [[one.check.name, one.check.table.name, str(one.rows), one.example] for one in done.findings]
    print(table(["check", "table", "rows", "an example"], rows), end="\n\n")
    for one in done.findings:
        print(f"{one.check.name}, {one.check.table.name}: {one.check.means}.\n  {one.check.mended}.")


if __name__ == "__main__":
    main()
