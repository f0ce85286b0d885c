"""Makes tables_0_1.zip: a small lake as commit 312269d left it, which knew neither takes nor claims. With that commit's own
code, so once, in a checkout of it:

    git worktree add ../earlier 312269d && cd ../earlier
    PYTHONPATH=$PWD python ../lakescribe/tests/lake/earlier/make_0_1.py ../lakescribe/tests/lake/earlier/tables_0_1.zip

Recordings, by name: `short` and `parts` (several parts) and `call` (channels apart) and `text` (no recording) are done;
`doubled` was done by two drivers at once; `pending` was recognized by a driver that was killed before it published, and
`half` by one that was killed between words and recordings; `changed` was done again with another voice by one that was
killed before it deleted what was there before.
"""

from __future__ import annotations

import os
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import transforms.job
import transforms.publish
from transforms.tables import Tables

from schemas.tables import RECORDINGS
from tests.lake import Lake, cut, file_row, quick_session, write_clip, write_manifest

NAMES = ("short", "parts", "call", "doubled", "pending", "half", "changed")


class Here(Lake):
    """Names nothing of this machine but where the tables lie, which the tables do not say."""

    @property
    def root(self) -> Path:
        return Path.cwd() / "tables"


class Killed(BaseException):
    """As SIGKILL: nothing is written after it."""


def killed(*_: Any, **__: Any) -> None:
    raise Killed


def run_killed(
    lake: Lake, rows: Sequence[dict[str, Any]], place: Any, name: str, what: Callable[..., None], **more: Any
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transforms.job._Run, "_write_run", lambda run, error: None)
        patch.setattr(place, name, what)
        with pytest.raises(Killed):
            lake.run(rows, **more)


def run_twice_at_once(lake: Lake, rows: Sequence[dict[str, Any]]) -> None:
    """The other driver comes to its end while the first one is about to append."""
    append, others = transforms.publish._append, []

    def wait_for_another(*arguments: Any) -> None:
        if not others:
            others.append(True)
            lake.run(rows)
        append(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transforms.publish, "_append", wait_for_another)
        lake.run(rows)


def but_recordings(append: Callable[..., None]) -> Callable[..., None]:
    def until_recordings(tables: Tables, table: Any, rows: Any) -> None:
        if table is RECORDINGS:
            raise Killed
        append(tables, table, rows)

    return until_recordings


def main(out: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # so that uris are relative, and tell nothing of this machine
        Path("calls").mkdir()
        clips = {name: Path(f"calls/{name}.wav") for name in NAMES}
        for index, path in enumerate(clips.values()):
            write_clip(path, cut(20 * index, 6, 0.95 - index / 100))
        write_clip(clips["parts"], cut(20, 70, 0.9))
        write_clip(clips["call"], cut(0, 12, 0.8), cut(60, 12, 0.8))
        Path("calls/text.mp3").write_text("This is no recording.")
        rows = {name: file_row(path) for name, path in clips.items()}
        rows["call"]["channels"] = "split"
        rows["short"]["score"] = 3
        rows["text"] = file_row(Path("calls/text.mp3"))
        lake = Here(quick_session(Path.cwd() / "warehouse"), Path())
        lake.run([rows[name] for name in ("short", "parts", "call", "text", "changed")])
        run_twice_at_once(lake, [rows["doubled"]])
        run_killed(lake, [rows["pending"]], transforms.job, "publish", killed_if_any)
        run_killed(lake, [rows["half"]], Tables, "append", but_recordings(Tables.append))
        run_killed(lake, [rows["changed"]], transforms.publish, "delete_stale", killed, reprocess="changed", voice="b")
        write_manifest(Path("manifest.parquet"), list(rows.values()))
        assert "tmp" not in str(pq.read_table("manifest.parquet").to_pylist())
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            archive.write("manifest.parquet")
            for path in sorted(Path("tables").rglob("*")):
                if path.is_file() and path.suffix != ".crc":
                    archive.write(path)


def killed_if_any(tables: Tables, takes: Sequence[Any], *_: Any, **__: Any) -> None:
    if takes:
        raise Killed


if __name__ == "__main__":
    out = Path(sys.argv[1]).resolve()
    main(out)
