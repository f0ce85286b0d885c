"""One HTML page on what was done:  python -m jobs.report --tables ./lakehouse --out report.html"""

from __future__ import annotations

import argparse
import datetime

from jobs.cli import add_tables_arguments, exit_with_reason
from transforms.lake.session import session
from transforms.lake.tables import Tables
from transforms.logs import tell
from transforms.report.facts import gather
from transforms.report.page import Price, check_place, render, write_page


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="jobs.report", description=__doc__)
    add_tables_arguments(parser)
    parser.add_argument("--out", required=True, help="the page to write (HTML): a path or uri")
    parser.add_argument("--run", metavar="RUN_ID", help="of this run alone; by default of all")
    parser.add_argument("--price-per-gpu-hour", type=float, metavar="PRICE", help="in your currency, as in 2.50")
    parser.add_argument("--gpus", type=int, default=1, metavar="N", help="GPUs that ran (default 1)")
    options = parser.parse_args(arguments)
    if options.gpus < 1 or (options.price_per_gpu_hour or 0) < 0:
        parser.error("--gpus must be at least 1, --price-per-gpu-hour at least 0")
    price = None if options.price_per_gpu_hour is None else Price(options.price_per_gpu_hour, options.gpus)
    with exit_with_reason():
        check_place(options.out)
        tables = Tables(session(options.verbose, over_connect=True), options.tables)
        tables.require()
        facts = gather(tables, options.run)
        write_page(options.out, render(facts, options.tables, options.run, price, datetime.datetime.now(datetime.UTC)))
    tell(f"{options.out}: {facts.totals['recordings']} recordings")


if __name__ == "__main__":
    main()
