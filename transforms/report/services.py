"""What transcription services ask, to set beside one's own cost: the list prices of conf/services.tsv."""

from __future__ import annotations

import csv
import datetime
from dataclasses import dataclass

from schemas.shipped import conf


@dataclass(frozen=True)
class Service:
    """`usd_per_audio_hour` is the list price without discounts, on the day `as_of`, as its page `source` showed it."""

    name: str
    usd_per_audio_hour: float
    terms: str
    as_of: datetime.date
    source: str


def services() -> list[Service]:
    """The cheapest first."""
    text = (conf() / "services.tsv").read_text(encoding="utf-8")
    found = [
        Service(
            row["service"],
            float(row["usd_per_audio_hour"]),
            row["terms"],
            datetime.date.fromisoformat(row["as_of"]),
            row["source"],
        )
        for row in csv.DictReader(text.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE)
    ]
    return sorted(found, key=lambda service: service.usd_per_audio_hour)
