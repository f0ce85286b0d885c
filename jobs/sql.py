"""Ask the tables a question:  python -m jobs.sql --tables ./lakehouse 'SELECT * FROM languages'

Without a question it prompts for them, or reads them from a file:  python -m jobs.sql --tables ./lakehouse < report.sql
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial

from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from jobs.cli import add_tables_arguments, exit_with_reason
from jobs.status import Status
from schemas.tables import ALL
from transforms.lake.context import cancel_jobs
from transforms.lake.session import first_line, session
from transforms.lake.tables import Tables
from transforms.lake.views import keep_in_catalog, show_in_session, split_statements, views

_SHOWN_ROWS = 1000
_SHOWN_CHARS = 100
_LEAVE = (r"\q", "quit", "exit", "quit;", "exit;")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="jobs.sql", description=__doc__, epilog=f"tables and views: {_names()}")
    add_tables_arguments(parser)
    parser.add_argument("--create-views", action="store_true", help="keep the views in the catalog and stop")
    parser.add_argument("query", nargs="?", help="Spark SQL; without it a prompt")
    options = parser.parse_args(arguments)
    with exit_with_reason():
        spark = session(options.verbose, over_connect=True)
        tables = Tables(spark, options.tables)
        tables.require()
        if options.create_views:
            keep_in_catalog(tables)
            return
        for sentence in show_in_session(tables):
            print(f"note: {sentence}", file=sys.stderr)
        asked = typed() if options.query is None else [options.query]
        if answer(spark, asked) and (options.query is not None or not sys.stdin.isatty()):
            raise SystemExit(Status.NOT_USABLE)


def typed() -> Iterator[str]:
    """The statements of the standard input, each when its semicolon is there, until the end of it."""
    at_terminal = sys.stdin.isatty()
    if at_terminal:
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401  # gives input() its arrow keys and history
        print(f"Tables and views: {_names()}.\nA semicolon ends a question; DESCRIBE words; shows columns; \\q leaves.")
    text = ""
    while True:
        try:
            line = input(("...> " if text else "sql> ") if at_terminal else "")
        except KeyboardInterrupt:  # gives up the question, not the prompt
            text = ""
            print()
            continue
        except EOFError:
            if text:
                yield f"{text};"
            return
        if not text and line.strip() in _LEAVE:
            return
        statements, text = split_statements(f"{text}{line}\n")
        yield from statements
        text = text if text.strip() else ""


def answer(spark: SparkSession, questions: Iterable[str]) -> int:
    """Prints what each question returns, or in a sentence what Spark has against it; returns how many failed. Ctrl-C
    gives up the one that runs."""
    # pyspark's own handler speaks to Java over the connection that waits for the answer, which breaks it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    failed = 0
    for question in questions:
        for statement in split_statements(f"{question}\n;")[0] or [question]:
            try:
                _in_background(spark, partial(_show, spark, statement))
            except PySparkException as error:
                failed += 1
                print(f"error: {first_line(error)}", file=sys.stderr)
            except KeyboardInterrupt:
                failed += 1
                print("given up", file=sys.stderr)
    return failed


def _show(spark: SparkSession, statement: str) -> None:
    rows = spark.sql(statement)
    if rows.columns:
        rows.show(_SHOWN_ROWS, truncate=_SHOWN_CHARS)


def _in_background(spark: SparkSession, work: Callable[[], None]) -> None:
    """Runs `work` in another thread, so that Ctrl-C can stop its Spark jobs; then raises KeyboardInterrupt."""
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(work)
        try:
            done.result()
        except KeyboardInterrupt:
            while not done.done():  # what is still being planned starts its job later
                cancel_jobs(spark)
                wait([done], timeout=0.5)
            raise


def _names() -> str:
    return ", ".join([table.name for table in ALL] + [view.name for view in views()])


if __name__ == "__main__":
    main()
