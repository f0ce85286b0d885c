"""What facts.py found → one HTML page that needs nothing else.

Plots are SVG elements that the template draws itself: a plot of bars is a few rectangles that take their colours from
the page (and so turn dark with it), whose text stays readable on a narrow screen, and which are printed. A plotting
library's SVG has fixed colours and sizes. Jinja escapes all that comes from tables.
"""

from __future__ import annotations

import datetime
import importlib.resources
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from schemas.config import ConfigError, FetchConfig
from schemas.flags import FLAGS
from transforms.evaluation.evaluate import BINS, difference
from transforms.packages import require_packages
from transforms.report.facts import DOUBTFUL, LENGTHS_S, TEXT_CHARS, Facts, Row
from transforms.report.services import services
from transforms.stores.fetch import local_path
from transforms.stores.files import check_folder, folder_and_name, write_whole
from transforms.text.clock import clock

_ENGINE_STAGES = {
    "recognize": "recognizing",
    "load": "loading the model",
    "wait": "waiting for audio",
}
"""What a task's recognizer does, in the order shown; fetch, decode, vad and align run beside it."""
_MUCH_WAITING = 0.1


@dataclass(frozen=True)
class Price:
    """What a GPU costs in an hour, in whatever currency, and how many ran."""

    per_gpu_hour: float
    gpus: int = 1


@dataclass(frozen=True)
class Bar:
    """`text` is short enough to stand on the bar, `exact` is for the table; `height` and `mark`, where the bar should
    end, are 0 to 1."""

    label: str
    text: str
    exact: str
    height: float
    mark: float | None = None


def render(facts: Facts, root: str, run_id: str | None, price: Price | None, now: datetime.datetime) -> str:
    """The page. Raises ConfigError if jinja2 is not installed."""
    require_packages("a report", ["jinja2"], "'lakescribe[report]'")
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {
        "count": lambda value: "–" if value is None else f"{value:,.0f}",
        "share": lambda value: "–" if value is None else f"{100 * value:.1f} %",
        "big": lambda value: "–" if value is None else short(value) if value >= 10_000_000 else f"{value:,}",
        "hours": hours,
        "took": lambda value: hours(None if value is None else value / 3600),
        "speed": lambda value: "–" if value is None else f"{value:,.0f}×" if value >= 100 else f"{value:.1f}×",
        "duration": duration,
        "money": lambda value: "–" if value is None else f"{value:,.2f}",
        "cents": lambda value: f"{value:,.4f}",
        "number": lambda value: "–" if value is None else f"{value:,.2f}",
        "when": lambda value: "–" if value is None else f"{value:%Y-%m-%d %H:%M}",
        "name": name_of,
    }
    return environment.from_string(_template()).render(
        facts=facts,
        root=root,
        run_id=run_id,
        now=now,
        price=price,
        cost=None if price is None else cost(facts.work, price),
        services=services(),
        waiting=waiting(facts.stages),
        confidences=confidence_bars(facts.confidences),
        lengths=length_bars(facts.lengths),
        reasons=reasons,
        snippet=snippet,
        reliability=reliability_bars,
        highest=lambda rows: max((row["wer"] for row in rows if row["wer"]), default=1.0),
        differences=lambda row: difference(row["alignment"], row["unit"]),
    )


def check_place(out: str) -> None:
    """Raises ConfigError if `out` (a path or uri) cannot be a file. Before the work, not after it."""
    local = local_path(out)
    if out.endswith("/") or (local is not None and local.is_dir()):
        raise ConfigError(f"--out {out} is a folder; name a file in it")
    check_folder(folder_and_name(out)[0], FetchConfig())


def write_page(out: str, page: str) -> None:
    """Writes the page whole or, with ConfigError, not at all: a page that is there stays as it is."""
    try:
        write_whole(*folder_and_name(out), [page], FetchConfig())
    except OSError as error:
        raise ConfigError(f"{out} cannot be written: {error.strerror or error}; give --out another place") from error


def _template() -> str:
    """As a resource of the package, since on a cluster it lies in a zip."""
    return importlib.resources.files(__package__).joinpath("report.html").read_text(encoding="utf-8")


def cost(work: Row, price: Price) -> Row:
    """gpu_hours that all runs took, what they cost, and that for an hour of audio (None without audio)."""
    gpu_hours = work["wall_s"] / 3600 * price.gpus
    total = gpu_hours * price.per_gpu_hour
    return {"gpu_hours": gpu_hours, "total": total, "per_hour": total / work["hours"] if work["hours"] else None}


def waiting(stages: Mapping[str, float]) -> Row | None:
    """The engine's time by what it did: parts (stage, text, seconds, share, start: the shares before it), the share
    `waited`, whether that is `much`, and the seconds `beside` it. None without any."""
    total = sum(stages.get(stage, 0.0) for stage in _ENGINE_STAGES)
    if not total:
        return None
    parts: list[Row] = []
    start = 0.0
    for stage, text in _ENGINE_STAGES.items():
        share = stages.get(stage, 0.0) / total
        parts.append({"stage": stage, "text": text, "seconds": stages.get(stage, 0.0), "share": share, "start": start})
        start += share
    waited = stages.get("wait", 0.0) / total
    beside = {stage: seconds for stage, seconds in sorted(stages.items()) if stage not in _ENGINE_STAGES}
    return {"parts": parts, "waited": waited, "much": waited > _MUCH_WAITING, "beside": beside}


def confidence_bars(bins: Sequence[Row]) -> list[Bar]:
    labels = [f"{index / BINS:.1f}" for index in range(BINS)]
    return _bars(labels, bins)


def length_bars(bins: Sequence[Row]) -> list[Bar]:
    names = [f"{s} s" if s < 60 else f"{s // 60} min" if s < 3600 else f"{s // 3600} h" for s in LENGTHS_S]
    return _bars([*names, "longer"], bins)


def _bars(labels: Sequence[str], bins: Sequence[Row]) -> list[Bar]:
    """One bar a label, the tallest as high as can be."""
    counts = {found["bin"]: found["recordings"] for found in bins}
    most = max(counts.values(), default=1)
    found = [(label, counts.get(index, 0)) for index, label in enumerate(labels)]
    return [Bar(label, short(count), f"{count:,}", count / most) for label, count in found]


def reliability_bars(bins: Sequence[Row]) -> list[Bar]:
    """As high as the share of right words, marked at the confidence they had."""
    by_bin = {found["bin"]: found for found in bins}
    bars = []
    for index in range(BINS):
        found = by_bin.get(index)
        label = f"{index / BINS:.1f}"
        if found is None:
            bars.append(Bar(label, "", "", 0.0))
        else:
            right, confidence = (found[name] / found["words"] for name in ("right", "confidence_sum"))
            bars.append(Bar(label, f"{100 * right:.0f}", f"{100 * right:.1f}", right, confidence))
    return bars


def reasons(row: Row) -> list[str]:
    """Why a person should listen to a recording."""
    found = [FLAGS[flag].meaning if flag in FLAGS else flag for flag in row["flags"] or ()]
    if row["confidence"] is not None and row["confidence"] < DOUBTFUL:
        found.append(f"confidence below {DOUBTFUL}")
    return found


def snippet(text: str | None) -> str:
    return "" if text is None else text if len(text) <= TEXT_CHARS else text[:TEXT_CHARS].rstrip() + " …"


def short(count: int) -> str:
    """At most four characters: 1370 is '1.4k'."""
    for size, sign in ((1_000_000, "M"), (1_000, "k")):
        if count >= size:
            return f"{count / size:.1f}{sign}" if count < 10 * size else f"{count / size:.0f}{sign}"
    return str(count)


def hours(value: float | None) -> str:
    """An amount of audio or time: '12 s', '6.2 min', '1,204 h'."""
    if value is None:
        return "–"
    seconds = value * 3600
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if value < 1 else f"{value:,.1f} h" if value < 100 else f"{value:,.0f} h"


def duration(milliseconds: int | None) -> str:
    """A recording's length: 3:07, 1:02:10."""
    return "–" if milliseconds is None else clock(milliseconds)


def name_of(row: Mapping[str, Any]) -> str:
    """What a person calls the recording: its file's name."""
    return PurePosixPath(row["uri"]).name if row["uri"] else str(row["audio_id"])
