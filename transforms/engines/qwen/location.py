"""What the configuration names as a model → a local folder, pinned. Needs neither torch nor transformers.

A model is a local folder, a name on the Hugging Face hub, or a URL of an object store that fsspec opens. What it names
is pinned on the driver: the hub's commit, or a digest of the weights, becomes part of run_key, and executors take the
same.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path

from schemas.config import ConfigError
from transforms.engines.model_files import cache_folder

_DIGEST_BYTES = 1 << 20
_MARKS = ("size", "ETag", "etag", "LastModified", "last_modified", "updated", "mtime", "created")
"""What object stores tell of a file that changes with its content, each by its own names."""
_BY_CONTENT = "sha256:"
_PATTERNS = ["*.json", "*.jinja", "*.txt", "*.safetensors"]


def pin(model: str, revision: str | None, what: str) -> str:
    """The revision that stands for `model` now: the hub's commit, or 'sha256:…' of the weights. `what` begins messages.

    Fetches the checkpoint if it is not on this machine. Raises ConfigError.
    """
    if revision is not None and revision.startswith(_BY_CONTENT):
        raise ConfigError(f"{what}: revision is the hub's (a branch, tag or commit), not {revision}")
    folder = local_folder(model, revision, what)
    is_hub = not (_is_url(model) or Path(model).expanduser().is_dir())
    return folder.name if is_hub else _BY_CONTENT + _digest(folder, what)


def pinned_folder(model: str, revision: str, what: str) -> Path:
    """The folder of what `pin` returned `revision` for, on whichever machine. Raises ConfigError if this machine has
    another model there."""
    by_content = revision.startswith(_BY_CONTENT)
    folder = local_folder(model, None if by_content else revision, what)
    if by_content and (found := _BY_CONTENT + _digest(folder, what)) != revision:
        raise ConfigError(f"{what}: {folder} is {found} here, but {revision} on the driver; copy the same to all nodes")
    return folder


def local_folder(model: str, revision: str | None, what: str) -> Path:
    """The folder of `model` on this machine, fetched if need be. Raises ConfigError."""
    if _is_url(model):
        return _copied(model, what)
    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder
    if model.count("/") != 1 or model.startswith((".", "/", "~")):
        raise ConfigError(f"{what}: there is no model folder {model}")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(model, revision=revision, allow_patterns=_PATTERNS))
    except Exception as error:  # the hub client raises its own kinds for each cause; the cause is told
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ConfigError(
            f"{what}: model '{model}' is not on this machine and cannot be fetched ({reason}); "
            "give a local folder, or fetch it with `hf download` where there is a network"
        ) from error


def _is_url(model: str) -> bool:
    return "://" in model


def _copied(url: str, what: str) -> Path:
    """An object store's folder, copied once into the cache; known by the sizes and times that the store tells."""
    import fsspec

    try:
        filesystem, root = fsspec.core.url_to_fs(url)
        listing = {
            Path(path).name: info
            for path, info in filesystem.find(root, maxdepth=1, detail=True).items()
            if any(Path(path).match(pattern) for pattern in _PATTERNS)
        }
        shown = {name: [str(info.get(mark)) for mark in _MARKS] for name, info in sorted(listing.items())}
        key = hashlib.sha256(json.dumps([url, shown]).encode()).hexdigest()[:16]
        folder = cache_folder() / "models" / f"qwen-{key}"
        for name, info in listing.items():
            if not (folder / name).is_file() or (folder / name).stat().st_size != info.get("size"):
                folder.mkdir(parents=True, exist_ok=True)
                # In a folder of its own, since other workers of this machine may fetch the same.
                with tempfile.TemporaryDirectory(dir=folder) as own:
                    filesystem.get_file(info["name"], f"{own}/{name}")
                    Path(own, name).replace(folder / name)
    except Exception as error:  # each store's client raises its own kinds; the cause is told
        raise ConfigError(f"{what}: model {url} cannot be fetched: {error or type(error).__name__}") from error
    if not listing:
        raise ConfigError(f"{what}: there is nothing of a model at {url}")
    return folder


def _digest(folder: Path, what: str) -> str:
    """Of config and weights: of each file its size, first and last MiB."""
    if not (folder / "config.json").is_file():
        raise ConfigError(f"{what}: model folder {folder} has no config.json")
    digest = hashlib.sha256((folder / "config.json").read_bytes())
    for path in sorted(folder.glob("*.safetensors")):
        size = path.stat().st_size
        with path.open("rb") as file:
            digest.update(f"{path.name} {size}".encode() + file.read(_DIGEST_BYTES))
            file.seek(max(0, size - _DIGEST_BYTES))
            digest.update(file.read())
    return digest.hexdigest()[:12]
