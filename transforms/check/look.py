"""Looks at all tables as they were at one moment, and says what is wrong with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame

from schemas.tables import CLAIMS, ERASED, RUNS, Table
from transforms.check.checks import Check, checks
from transforms.errors import MachineError
from transforms.lake.session import first_line, own_session
from transforms.lake.sql import any_of
from transforms.lake.tables import Tables
from transforms.run.registry import Registry

_TRIES = 20


@dataclass(frozen=True)
class Finding:
    """What a check has found: how many rows, and one of them."""

    check: Check
    rows: int
    example: str


@dataclass(frozen=True)
class Look:
    """`held`: recordings in the hands of runs that live, which were not looked at. `moment` is a session whose views
    are the tables as they were; `living` are the runs that lived."""

    findings: list[Finding]
    held: int
    moment: Tables
    living: list[str]

    def rows(self, check: Check) -> DataFrame:
        """All that `check` has found."""
        return self.moment.spark.sql(check.query)


def unreadable(tables: Tables) -> list[Finding]:
    """The tables of which a file or the log cannot be read. As long as there are any, there is nothing to look at."""
    found = []
    for table in tables.present():
        # Not count(*), which Delta's log alone would answer.
        query = f"SELECT max(length({table.key[0]})) FROM {tables.identifier(table)}"
        try:
            tables.spark.sql(query).collect()
        except (PySparkException, Py4JError) as error:
            check = Check(
                "readable",
                table,
                query,
                "a file of the table is gone or damaged; nothing else was checked",
                "none",
                "Delta's RESTORE TABLE … TO VERSION AS OF, or a backup",
            )
            found.append(Finding(check, 1, first_line(error)[:300]))
    return found


def look(tables: Tables, registry: Registry, asked: Sequence[Check] | None = None) -> Look:
    """Asks these checks (None: all). Makes no commit."""
    moment, present = Tables(own_session(tables.spark), tables.root), tables.present()
    living = _pin(moment, present, registry)
    (held,) = moment.spark.sql(f"SELECT count(*) AS held FROM claims WHERE {any_of('run_id', living)}").collect()
    asked = checks(present, living) if asked is None else asked
    found = [_found(moment, check) for check in asked]
    return Look([finding for finding in found if finding.rows], held.held, moment, living)


def _found(moment: Tables, check: Check) -> Finding:
    query = f"SELECT count(*) AS rows, any_value(struct(*)) AS example FROM ({check.query})"
    (row,) = moment.spark.sql(query).collect()
    example = row.example.asDict() if row.rows else {}
    return Finding(check, row.rows, ", ".join(f"{name} {value}" for name, value in example.items()))


def _pin(moment: Tables, present: Sequence[Table], registry: Registry) -> list[str]:
    """Makes the tables known to the session of `moment` under their names, without the recordings that living runs are
    at work on; returns those runs. Nobody has claimed a recording or let one go in the meantime: so of all others
    nothing has changed while the tables were pinned, one after the other."""
    for _ in range(_TRIES):
        before = moment.version(CLAIMS)
        versions = {table: moment.version(table) for table in present}
        living = [*registry.living(), *filter(None, [registry.run_id])]
        if moment.version(CLAIMS) == before:
            break
    else:
        raise MachineError("runs take up recordings more often than this can look; try again when they have ended")
    held = moment.spark.sql(
        f"SELECT audio_id FROM {_at(moment, CLAIMS, versions)} WHERE {any_of('run_id', living)}"
    ).cache()
    held.createOrReplaceTempView("held")
    some = bool(held.limit(1).count())
    for table in present:
        rows = f"SELECT * FROM {_at(moment, table, versions)}"
        if some and table not in (CLAIMS, RUNS, ERASED):
            rows += " LEFT ANTI JOIN held USING (audio_id)"
        moment.spark.sql(f"CREATE OR REPLACE TEMPORARY VIEW {table.name} AS {rows}")
    return living


def _at(moment: Tables, table: Table, versions: dict[Table, int]) -> str:
    return f"{moment.identifier(table)} VERSION AS OF {versions[table]}"
