"""What an existing table lacks of the columns that schemas/tables.py declares: later versions only add columns."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from pyspark.sql.pandas.types import from_arrow_schema
from pyspark.sql.types import ArrayType, DataType, MapType, StructField, StructType

from schemas.config import ConfigError
from schemas.tables import Table
from schemas.version import TABLES_VERSION, VERSION
from transforms.lake.properties import VERSION_PROPERTY

_ADVICE = "give another --tables, or move {where} away and run again"
_ADDED_TO_KEYS = {"take_id"}
"""Columns of keys that the first versions did not have."""


def declared(table: Table) -> StructType:
    """The table's columns as Spark's, with their comments."""
    fields = from_arrow_schema(table.arrow).fields
    comments = [comment for _, _, comment in table.columns]
    return StructType(
        [
            StructField(field.name, field.dataType, True, {"comment": comment})
            for field, comment in zip(fields, comments, strict=True)
        ]
    )


def missing_columns(table: Table, found: StructType, where: str) -> list[tuple[tuple[str, ...], StructField]]:
    """The declared columns and fields of structs that a table with the schema `found` lacks, in order, each with its
    path as ALTER TABLE wants it, as in ('words', 'element', 'confidence').

    Columns that are not ours may stay, if they can be null. Raises ConfigError, naming the table at `where`, for one
    that has its key or a type otherwise, or a column that only somebody else can fill.
    """
    check_key(table, found.names, where)
    advice = _ADVICE.format(where=where)
    required = [field.name for field in found.fields if not field.nullable and field.name not in table.names]
    if required:
        raise ConfigError(f"{where} has the column {required[0]}, which must not be null and is unknown here; {advice}")
    missing = []
    for path, wanted, other in _differences((), declared(table), found):
        if other is not None:
            raise ConfigError(
                f"{where}: column {'.'.join(path)} is {other.simpleString()}, and this version writes "
                f"{wanted.dataType.simpleString()}; {advice}"
            )
        missing.append((path, wanted))
    return missing


def check_version(properties: Mapping[str, str | None], where: str) -> None:
    """Raises ConfigError if a later version than this one has made the table with these properties."""
    found = properties.get(VERSION_PROPERTY)
    if found is not None and _numbers(found) > _numbers(TABLES_VERSION):
        raise ConfigError(
            f"{where} is of Lakescribe {found}, and this is {VERSION}, which does not know what is new in it; nothing "
            f"was written. Use Lakescribe {found} or a later one, here and wherever else these tables are written"
        )


def _numbers(version: str) -> list[int]:
    return [int(digits) for digits in re.findall(r"\d+", version)]


def check_key(table: Table, names: Iterable[str], where: str) -> None:
    """Raises ConfigError if a table with the columns `names` cannot be ours."""
    there = {name.lower() for name in names}
    for name in table.key:
        if name not in there | _ADDED_TO_KEYS:
            raise ConfigError(
                f"{where} is no table {table.name} of Lakescribe: it lacks the key column {name}; "
                f"{_ADVICE.format(where=where)}"
            )


def no_table(root: str, table: Table, advice: str = "--tables is what jobs.transcribe wrote to") -> ConfigError:
    return ConfigError(f"{root} has no table {table.name}; {advice}")


def of_earlier_version(root: str, table: Table, missing: Iterable[str]) -> ConfigError:
    return ConfigError(
        f"{table.name} in {root} is of an earlier version, without {', '.join(missing)}; "
        f"add them with: python -m jobs.publish --tables {root}"
    )


def _differences(
    path: tuple[str, ...], wanted: DataType, found: DataType
) -> Iterator[tuple[tuple[str, ...], StructField, DataType | None]]:
    """(path, the declared field, its type in the table, None if it is missing) of all that is not as declared. Names
    are told apart as Spark does, whatever their case."""
    if isinstance(wanted, StructType) and isinstance(found, StructType):
        there = {field.name.lower(): field for field in found.fields}
        for field in wanted.fields:
            other = there.get(field.name.lower())
            if other is None:
                yield (*path, field.name), field, None
            else:
                yield from _differences((*path, field.name), field.dataType, other.dataType)
    elif isinstance(wanted, ArrayType) and isinstance(found, ArrayType):
        yield from _differences((*path, "element"), wanted.elementType, found.elementType)
    elif isinstance(wanted, MapType) and isinstance(found, MapType):
        yield from _differences((*path, "key"), wanted.keyType, found.keyType)
        yield from _differences((*path, "value"), wanted.valueType, found.valueType)
    elif wanted != found:
        yield path, StructField(path[-1], wanted), found
