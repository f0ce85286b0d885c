"""Lists as people and their programs write them (CSV, TSV, JSON Lines) → rows. What would lose a row is refused."""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
import sys
from collections import Counter
from collections.abc import Collection, Iterator
from typing import Any

SUFFIXES = frozenset({".csv", ".tsv", ".jsonl"})
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_DELIMITERS = ",;\t"
"""Of a CSV, the likelier first: programs write semicolons where the comma is the decimal point."""
_EXCELS_SEPARATOR = re.compile(r"sep=(.)\r?\n?", re.IGNORECASE)
_ADDRESS = re.compile(r"\S*(?:/\S+|\.\w{2,5})")
"""What a recording's address looks like, at the start of a line that a quotation mark may have swallowed."""

Row = dict[str, Any]


def rows_of(content: bytes, suffix: str, known: Collection[str]) -> list[Row]:
    """The rows of a file of that suffix (one of SUFFIXES), in order, without those that are all empty; an empty cell of
    a table is None. Columns of a name in `known` (lower case) are found however they are capitalized.

    TSV knows no quotation marks; CSV has commas, or semicolons or tabs where its header has more of them. Text is
    UTF-8, or UTF-16 with its byte order mark. Raises ValueError, in words, for what cannot be read for certain.
    """
    text = content.decode("utf-16" if content.startswith(_UTF_16) else "utf-8-sig")
    rows = _json_rows(text) if suffix == ".jsonl" else _table_rows(text, suffix)
    return [renamed(row, known) for row in rows]


def renamed(row: Row, known: Collection[str]) -> Row:
    """With the names of `known` for its columns. Raises ValueError for two columns of one name."""
    names = [name_of(column, known) for column in row]
    if doubled := [name for name, count in Counter(names).items() if count > 1]:
        same = " and ".join(repr(column) for column in row if name_of(column, known) == doubled[0])
        raise ValueError(f"the columns {same} are one, {doubled[0]}: leave one")
    return dict(zip(names, row.values(), strict=True))


def name_of(column: str, known: Collection[str]) -> str:
    lowered = column.strip().lower()
    return lowered if lowered in known else column.strip()


def _json_rows(text: str) -> Iterator[Row]:
    for number, line in enumerate(re.split(r"\r\n|\r|\n", text), start=1):  # str.splitlines knows more ends of lines
        if line.strip():
            row = json.loads(line)
            if not isinstance(row, dict):
                raise ValueError(f'line {number} is not an object, as in {{"uri": "a.wav"}}: {line[:80]}')
            yield row


def _table_rows(text: str, suffix: str) -> Iterator[Row]:
    told = _EXCELS_SEPARATOR.match(text)
    text = text[told.end() :] if told else text
    header = text.lstrip("\r\n").partition("\n")[0].partition("\r")[0]
    delimiter = told[1] if told else max(_DELIMITERS, key=header.count) if suffix == ".csv" else "\t"
    csv.field_size_limit(sys.maxsize)  # a cell may hold what was said in hours
    lines = io.StringIO(text, newline="")
    if suffix == ".tsv":
        cells = csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE, quotechar=None)
    else:
        cells = csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True)
    filled = (row for row in cells if any(cell.strip() for cell in row))
    names = [name.strip() for name in next(filled, [])]
    while names and not names[-1]:
        names.pop()
    if doubled := [name for name, count in Counter(names).items() if count > 1]:
        raise ValueError(f"the header has the column {doubled[0]!r} twice: leave one")
    for number, row in enumerate(filled, start=1):
        if any(row[len(names) :]):
            raise ValueError(f"row {number} has more values than columns, quote its {delimiter!r}: {row}")
        _check_whole(row, len(names), delimiter, number)
        yield {name: cell or None for name, cell in zip(names, [*row, *[""] * len(names)], strict=False)}


def _check_whole(row: list[str], columns: int, delimiter: str, number: int) -> None:
    """A quotation mark that nothing closes takes the next lines for its own, up to the next mark."""
    for cell in row:
        for line in re.split(r"\r\n|\r|\n", cell)[1:]:
            if line.count(delimiter) == columns - 1 and _ADDRESS.fullmatch(line.partition(delimiter)[0]):
                raise ValueError(
                    f"row {number} has a value of several lines, of which one looks like a row: {line[:80]!r}; "
                    "double the quotation mark before it, or write TSV, which has none"
                )
