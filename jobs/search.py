"""Where and when something was said:  python -m jobs.search "quarterly revenue" --tables ./lakehouse"""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import sys
from collections.abc import Sequence
from itertools import groupby

from jobs.cli import add_model_argument, add_tables_arguments, exit_with_reason
from transforms.lake.context import is_over_connect
from transforms.lake.local_tables import LocalTables
from transforms.lake.session import session
from transforms.lake.tables import Tables
from transforms.search.meaning import Passage, nearest
from transforms.search.phrases import SEARCHED, Hit, search
from transforms.text.clock import exact_clock


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="jobs.search", description=__doc__)
    parser.add_argument("phrase", help="words in order; case, accents and punctuation do not count")
    add_tables_arguments(parser)
    parser.add_argument(
        "--meaning", action="store_true", help="what is said like the phrase means, the nearest first; after jobs.embed"
    )
    add_model_argument(parser)
    parser.add_argument("--limit", type=int, default=20, help="hits at most (%(default)s)")
    parser.add_argument("--context", type=int, default=8, help="words shown before and after (%(default)s)")
    parser.add_argument("--language", help="only recordings in this language, an ISO 639 code: en, zh, …")
    parser.add_argument(
        "--inflected",
        action="store_true",
        help="the last word may have an ending: 학교 finds 학교에서 too, walk walked",
    )
    parser.add_argument("--json", action="store_true", help="a JSON object a line for each hit, times in milliseconds")
    options = parser.parse_args(arguments)
    if options.limit < 1 or options.context < 0:
        parser.error("--limit must be at least 1 and --context at least 0")
    with exit_with_reason():
        hits: Sequence[Hit | Passage]
        choice = {"limit": options.limit, "language": options.language}
        if options.meaning:
            hits = nearest(_in_spark(options), options.phrase, options.model, **choice)
        else:
            local = not is_over_connect() and LocalTables.can_read(options.tables, *SEARCHED)
            tables = LocalTables(options.tables) if local else _in_spark(options)
            hits = search(tables, options.phrase, context=options.context, inflected=options.inflected, **choice)
    if options.json:
        for hit in hits:
            print(json.dumps(dataclasses.asdict(hit), ensure_ascii=False))
    else:
        show(hits)
    if not hits:
        print("said nowhere", file=sys.stderr)
    elif len(hits) == options.limit and not options.meaning:
        print(f"the first {options.limit} places; --limit shows more", file=sys.stderr)


def _in_spark(options: argparse.Namespace) -> Tables:
    return Tables(session(options.verbose, over_connect=True), options.tables)


def show(hits: Sequence[Hit | Passage]) -> None:
    """A line a hit below its recording: time, confidence or similarity, speaker, and what is said there, with the
    phrase in brackets."""
    for recording, inside in groupby(hits, key=lambda hit: (hit.uri or hit.audio_id, hit.audio_id)):
        print(recording[0])
        for hit in inside:
            score = hit.similarity if isinstance(hit, Passage) else hit.confidence
            speaker = f"{hit.speaker}: " if hit.speaker else ""
            print(f"  {at(hit.start_ms)}  {'    ' if score is None else f'{score:.2f}'}  {speaker}{_said(hit)}")


def _said(hit: Hit | Passage) -> str:
    if isinstance(hit, Passage):
        return hit.text
    return " ".join(part for part in (hit.before, f"[{hit.phrase}]", hit.after) if part)


def at(ms: int | None) -> str:
    """With hours only where there are some: 12:03.450, 1:02:03.450."""
    return "--:--.---" if ms is None else re.sub("^0(0:)?", "", exact_clock(ms))


if __name__ == "__main__":
    main()
