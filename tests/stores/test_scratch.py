"""What a killed process left in the temporary folder is removed by the next one, and nothing else is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

import transforms.stores.scratch
from transforms.errors import MachineError
from transforms.stores.scratch import hold, scratch_folder, sweep

_DOWNLOADING = """
import time
from transforms.stores.scratch import scratch_folder
with scratch_folder() as folder:
    (folder / "recording").write_bytes(b"half of it")
    print(folder, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The temporary folder of this process and those that it starts; nothing was looked for in it yet."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    transforms.stores.scratch._sweep_once.cache_clear()
    return tmp_path


def _downloading() -> tuple[subprocess.Popen[str], Path]:
    process = subprocess.Popen([sys.executable, "-c", _DOWNLOADING], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_a_folder_is_there_for_its_block(place: Path) -> None:
    with scratch_folder() as one, scratch_folder() as two:
        assert one != two and one.parent == two.parent == place
        (one / "recording").write_bytes(b"x")
    assert not list(place.iterdir())
    with pytest.raises(KeyError), scratch_folder():
        raise KeyError
    assert not list(place.iterdir())


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_uses_is_not(place: Path) -> None:
    (killed, its_folder), (living, other) = _downloading(), _downloading()
    try:
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        assert (its_folder / "recording").exists() and (other / "recording").exists()
        with scratch_folder():
            assert not its_folder.exists()
            assert (other / "recording").exists()
    finally:
        living.kill()
        living.wait()
    with scratch_folder():  # a process looks once
        assert other.exists()


def test_a_folder_that_is_swept_before_it_is_locked_is_made_anew(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, mkdtemp = [], tempfile.mkdtemp

    def swept(prefix: str) -> str:
        made.append(mkdtemp(prefix=prefix))
        if len(made) == 1:
            sweep(prefix)
        return made[-1]

    monkeypatch.setattr(tempfile, "mkdtemp", swept)
    with scratch_folder() as folder:
        assert [str(folder)] == made[1:]


def test_no_room_for_a_folder_is_the_machines_fault(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(place / "none"))
    with pytest.raises(MachineError, match="set TMPDIR"), scratch_folder():
        pass


def test_an_old_log_that_nobody_writes_any_more_is_removed(place: Path) -> None:
    logs = {name: place / f"lakescribe-log-{name}" for name in ("old", "young", "held")}
    for path in logs.values():
        path.touch()
    for name in ("old", "held"):
        os.utime(logs[name], (time.time() - 5000,) * 2)
    with logs["held"].open() as held:
        hold(held.fileno())
        sweep("lakescribe-log-", older_than_s=3600)
        assert {name for name, path in logs.items() if path.exists()} == {"young", "held"}
    sweep("lakescribe-log-", older_than_s=3600)
    assert not logs["held"].exists()
