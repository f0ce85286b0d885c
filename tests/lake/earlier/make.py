"""Makes tables_MAJOR_MINOR.zip beside it: a small lake as this version leaves it, for the versions after it. Once, when a
version is released that has changed the tables:

    PYTHONPATH=. python tests/lake/earlier/make.py

Recordings, by name: `short`, `parts` (several parts), `call` (channels apart), and `text`, which is none. The lake of 0.1 is
from make_0_1.py.
"""

from __future__ import annotations

import os
import tempfile
import zipfile
from pathlib import Path

import pytest

import transforms.run.registry
from schemas.version import TABLES_VERSION
from tests.kit.lake import Lake, cut, file_row, quick_session, write_clip, write_manifest

HERE = Path(__file__).parent


class Nameless(Lake):
    """Names nothing of this machine but where the tables lie, which the tables do not say."""

    @property
    def root(self) -> Path:
        return Path.cwd() / "tables"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)  # so that uris are relative
        patch.setattr(transforms.run.registry, "driver", lambda: "elsewhere/1/1")
        Path("calls").mkdir()
        clips = {name: Path(f"calls/{name}.wav") for name in ("short", "parts", "call")}
        write_clip(clips["short"], cut(0, 6, 0.95))
        write_clip(clips["parts"], cut(20, 70, 0.9))
        write_clip(clips["call"], cut(0, 12, 0.8), cut(60, 12, 0.8))
        Path("calls/text.mp3").write_text("This is no recording.")
        rows = [*(file_row(path) for path in clips.values()), file_row(Path("calls/text.mp3"))]
        rows[0]["score"], rows[2]["channels"] = 3, "split"
        lake = Nameless(quick_session(Path.cwd() / "warehouse"), Path())
        lake.run(rows)
        write_manifest(Path("manifest.parquet"), rows)
        said = [str(lake.rows(path.name)) for path in lake.root.iterdir()]
        assert not any(word in text for text in said for word in (folder, os.uname().nodename)), "names this machine"
        with zipfile.ZipFile(
            out := HERE / f"tables_{TABLES_VERSION.replace('.', '_')}.zip", "w", zipfile.ZIP_DEFLATED
        ) as archive:
            archive.write("manifest.parquet")
            for path in sorted(Path("tables").rglob("*")):
                if path.is_file() and path.suffix != ".crc":
                    archive.write(path)
        print(out)


if __name__ == "__main__":
    main()
