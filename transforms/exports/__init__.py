"""The formats in which a transcript leaves the tables.

To add a format: write a function from a Recording and the Config to text in a module of its own, and add its line to
`FORMATS`. A format whose files may simply be put one after the other names what a recording adds to such a file, and
that file's ending, in `shard`. Nothing else is to be done: `jobs.export --format` takes it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from schemas.config import Config
from transforms.exports import ctm, page, rttm, subtitles, text, textgrid, whisper_json
from transforms.exports.recording import Recording

Render = Callable[[Recording, Config], str]


@dataclass(frozen=True)
class Format:
    """`render` gives a recording's file, its ending is `suffix`; `shard` is the same for files of many recordings, None
    where the format has no such files. `plays` says that the format wants Recording.audio_src."""

    suffix: str
    render: Render
    shard: tuple[str, Render] | None = None
    plays: bool = False


FORMATS = {
    "json": Format("json", whisper_json.document, ("jsonl", whisper_json.line)),
    "srt": Format("srt", subtitles.srt),
    "vtt": Format("vtt", subtitles.vtt),
    "txt": Format("txt", text.text),
    "textgrid": Format("TextGrid", textgrid.textgrid),
    "ctm": Format("ctm", ctm.ctm, ("ctm", ctm.ctm)),
    "rttm": Format("rttm", rttm.rttm, ("rttm", rttm.rttm)),
    "html": Format("html", page.page, plays=True),
}
