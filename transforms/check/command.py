"""The whole of it: look, mend, look again. What jobs/check.py does, as a Python call."""

from __future__ import annotations

from dataclasses import dataclass

from pyspark.sql import SparkSession

from schemas.config import Config, show_config
from transforms.check.look import Finding, look, unreadable
from transforms.check.repair import Repaired, repair
from transforms.lake.tables import Tables
from transforms.run.registry import Registry


@dataclass(frozen=True)
class Checked:
    """`findings` are what is wrong still, after what was `repaired` (None: nothing could be, or was to be). `held`
    recordings were not looked at, since living runs are at work on them."""

    findings: list[Finding]
    held: int
    repaired: Repaired | None = None


def check(spark: SparkSession, config: Config, root: str, *, mend: bool = False) -> Checked:
    """Without `mend` nothing is written; with it, nothing if all is well. Raises ConfigError if there are no tables at
    `root`, or none of this version."""
    tables = Tables(spark, root)
    if broken := unreadable(tables):
        return Checked(broken, 0)
    if mend:
        tables.upgrade()
    tables.require()
    with Registry(tables, config.run.claim_minutes) as registry:
        now, repaired = look(tables, registry), None
        if mend and any(finding.check.mend != "none" for finding in now.findings):
            with registry.running(show_config(config, redacted=True)):
                repaired = repair(tables, registry, config, now)
            now = look(tables, registry)
        return Checked(now.findings, now.held, repaired)
