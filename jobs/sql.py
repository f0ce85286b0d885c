"""Ask the tables a question:  python -m jobs.sql --tables ./lakehouse 'SELECT count(*) FROM words'"""

from __future__ import annotations

import argparse

from pyspark.errors import AnalysisException, ParseException

from jobs.cli import exit_with_reason
from schemas.config import ConfigError
from schemas.tables import ALL, ON_DEMAND
from transforms.spark import session
from transforms.tables import Tables

_SHOWN_ROWS = 1000
_SHOWN_CHARS = 100


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="jobs.sql", description=__doc__)
    parser.add_argument("--tables", required=True, help="where the Delta tables are: a path or uri, or catalog.schema")
    parser.add_argument(
        "query",
        help="Spark SQL over recordings, segments, words, failures, runs, chunks, and evaluations if there are any",
    )
    parser.add_argument("--verbose", action="store_true", help="let Spark talk")
    options = parser.parse_args(arguments)
    with exit_with_reason():
        spark = session(options.verbose)
        tables = Tables(spark, options.tables)
        tables.require()
        for table in [*ALL, *filter(tables.exists, ON_DEMAND)]:
            tables.read(table).createOrReplaceTempView(table.name)
        try:
            spark.sql(options.query).show(_SHOWN_ROWS, truncate=_SHOWN_CHARS)
        except (AnalysisException, ParseException) as error:
            raise ConfigError(str(error).strip().splitlines()[0]) from error


if __name__ == "__main__":
    main()
