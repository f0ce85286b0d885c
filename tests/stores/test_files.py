from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from schemas.config import ConfigError, FetchConfig
from transforms.stores import files
from transforms.stores.files import check_folder, write_whole

CONFIG = FetchConfig()


def breaking() -> Iterator[str]:
    yield "half of"
    raise OSError("the source is gone")


@pytest.fixture(params=["folder", "file_uri", "store_with_atomic_put", "store_without"])
def out(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A folder that does not exist yet, in each kind of place; fsspec's memory stands for the stores."""
    if request.param == "store_without":
        monkeypatch.setattr(files, "_ATOMIC_PUT", frozenset())
    local = tmp_path / "new folder" / "out"
    return {"folder": str(local), "file_uri": local.as_uri()}.get(request.param, f"memory://{tmp_path.name}/out")


def contents(out: str) -> dict[str, bytes]:
    filesystem, path = fsspec.core.url_to_fs(out.replace("%20", " "))
    found = filesystem.find(path, withdirs=False) if filesystem.exists(path) else []
    return {name.rsplit("/", 1)[-1]: filesystem.cat_file(name) for name in found}


def test_a_file_is_written_replaced_and_kept_when_the_next_one_breaks(out: str) -> None:
    assert write_whole(out, "a.txt", ["Zürich\n", "two"], CONFIG) == 11
    assert contents(out) == {"a.txt": "Zürich\ntwo".encode()}
    assert write_whole(out, "a.txt", ["new"], CONFIG) == 3
    with pytest.raises(OSError, match="the source is gone"):
        write_whole(out, "a.txt", breaking(), CONFIG)
    with pytest.raises(OSError, match="the source is gone"):
        write_whole(out, "b.txt", breaking(), CONFIG)
    assert contents(out) == {"a.txt": b"new"}


def test_a_store_that_breaks_while_it_takes_a_file_keeps_the_old_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A store without an atomic put: whatever is left has another name until it is whole."""
    monkeypatch.setattr(files, "_ATOMIC_PUT", frozenset())
    out = f"memory://{tmp_path.name}/out"
    write_whole(out, "a.txt", ["old"], CONFIG)
    memory = fsspec.filesystem("memory")

    def broken(local: str, remote: str) -> None:
        memory.pipe_file(remote, b"half")
        raise OSError("connection lost")

    monkeypatch.setattr(memory, "put_file", broken)
    with pytest.raises(OSError, match="connection lost"):
        write_whole(out, "a.txt", ["new"], CONFIG)
    assert contents(out) == {"a.txt": b"old"}


def test_a_folder_that_cannot_be_one_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    check_folder(str(tmp_path / "new" / "folder"), CONFIG)
    with pytest.raises(ConfigError, match=r"file is a file; give a folder"):
        check_folder(str(tmp_path / "file"), CONFIG)
    with pytest.raises(ConfigError, match=r"file is a file; give a folder"):
        check_folder(str(tmp_path / "file" / "below"), CONFIG)
    with pytest.raises(ConfigError, match="nothing here opens nosuchstore://"):
        check_folder("nosuchstore://bucket/folder", CONFIG)
