"""The views of schemas/views.sql and live_views.sql, over tables under a path or in a catalog."""

from __future__ import annotations

import re
from collections.abc import Collection
from importlib.resources import files
from typing import NamedTuple

from pyspark.errors import AnalysisException

from schemas.config import ConfigError
from schemas.tables import ALL, LIVE_UTTERANCES, Table
from transforms.lake.session import first_line
from transforms.lake.sql import literal
from transforms.lake.tables import Tables

_VIEW = re.compile(r"((?:^--[^\n]*\n)+)^CREATE OR REPLACE TEMPORARY VIEW (\w+) AS\n(.*?);$", re.MULTILINE | re.DOTALL)
_TOKEN = re.compile(
    r"""'(?:\\.|[^'\\])*(?:'|\Z)|"(?:\\.|[^"\\])*(?:"|\Z)|`[^`]*(?:`|\Z)|--[^\n]*|/\*.*?(?:\*/|\Z)|;|.""", re.DOTALL
)
"""A string, a quoted name or a comment, as far as it goes, else one character."""


class View(NamedTuple):
    name: str
    comment: str
    """What a row is, and what is worth knowing of it: one line."""
    query: str


def views(present: Collection[Table] = ALL) -> list[View]:
    """Those that a lakehouse with these tables has, in the order of the files."""
    names = ["views.sql", *(["live_views.sql"] if LIVE_UTTERANCES in present else [])]
    text = "\n".join(files("schemas").joinpath(name).read_text(encoding="utf-8") for name in names)
    return [
        View(name, " ".join(line.removeprefix("--").strip() for line in comment.splitlines()), query)
        for comment, name, query in _VIEW.findall(text)
    ]


def show_in_session(tables: Tables) -> list[str]:
    """Makes the tables and the views known to the session under their own names, with nothing written anywhere.

    Returns a sentence for each view that these tables cannot have, since an older version made them.
    """
    present = tables.present()
    for table in present:
        tables.read(table).createOrReplaceTempView(table.name)
    missing = []
    for view in views(present):
        try:
            tables.spark.sql(f"CREATE OR REPLACE TEMPORARY VIEW {view.name} AS {view.query}")
        except AnalysisException as error:
            missing.append(
                f"no view {view.name}: {first_line(error)}; if an older version made the tables, "
                f"python -m jobs.publish --tables {tables.root} brings them up to date"
            )
    return missing


def keep_in_catalog(tables: Tables) -> None:
    """Makes the views beside the tables, for everybody who reads the catalog; made again, they are replaced. Makes no
    commit.

    Raises ConfigError for tables under a path, and if the catalog keeps no views.
    """
    if not tables.in_catalog:
        raise ConfigError(f"only a catalog keeps views, and {tables.root} is a path; jobs.sql makes them each time")
    spark = tables.spark
    before = f"{spark.catalog.currentCatalog()}.{spark.catalog.currentDatabase()}"
    present = tables.present()
    for name in [table.name for table in present] + [view.name for view in views(present)]:
        spark.catalog.dropTempView(name)  # a session's own names stand before the catalog's
    spark.sql(f"USE {tables.root}")
    try:
        for view in views(present):
            spark.sql(f"CREATE OR REPLACE VIEW {view.name} COMMENT {literal(view.comment)} AS {view.query}")
    except AnalysisException as error:
        raise ConfigError(f"the views cannot be kept in {tables.root}: {first_line(error)}") from error
    finally:
        spark.sql(f"USE {before}")


def split_statements(text: str) -> tuple[list[str], str]:
    """The statements that a semicolon ends, and what follows the last of them; one in a string or a comment ends
    nothing, and comments alone are no statement."""
    statements, start, empty = [], 0, True
    for token in _TOKEN.finditer(text):
        if token.group() == ";":
            if not empty:
                statements.append(text[start : token.start()].strip())
            start, empty = token.end(), True
        elif not token.group().isspace() and not token.group().startswith(("--", "/*")):
            empty = False
    return statements, text[start:]
