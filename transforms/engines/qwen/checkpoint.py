"""Where a checkpoint lies → a local folder that was looked through. Needs neither torch nor transformers.

A model is a local folder, a name on the Hugging Face hub, or a URL of an object store that fsspec opens. What it names
is pinned on the driver: the hub's commit, or a digest of the weights, becomes part of run_key, and executors take the
same.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import struct
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self

from schemas.config import ConfigError
from transforms.engines.model_files import cache_folder

Kind = Literal["recognizer", "aligner"]

_PACKAGES = ("torch", "transformers", "qwen_asr")
_FILES = ("config.json", "preprocessor_config.json", "tokenizer_config.json")
_TOKENIZER = (("tokenizer.json",), ("vocab.json", "merges.txt"))
_TEMPLATE = ("chat_template.jinja", "chat_template.json")
_FLOATS = frozenset({"F64", "F32", "F16", "BF16"})
_LARGEST_HEADER_BYTES = 100_000_000
"""The limit of the safetensors format itself."""
_DIGEST_BYTES = 1 << 20
_MARKS = ("size", "ETag", "etag", "LastModified", "last_modified", "updated", "mtime", "created")
"""What object stores tell of a file that changes with its content, each by its own names."""
_BY_CONTENT = "sha256:"
_PATTERNS = ["*.json", "*.jinja", "*.txt", "*.safetensors"]


@dataclass(frozen=True)
class Checkpoint:
    """What recognizer and aligner are told of their model.

    `model`: a folder, a name on the hub, or a URL such as s3://bucket/folder; `revision` of the hub (None: the newest,
    pinned when the job starts).

    `device`: 'auto' (the task's GPU, else the CPU), 'cpu', 'cuda:0', …; `dtype`: 'auto' (bfloat16 on a GPU, else
    float32); `attention`: 'auto' (FlashAttention 2 where it is installed), 'sdpa', 'flash_attention_2'. `cpu_threads`:
    for each Spark task.
    """

    model: str
    revision: str | None = None
    device: str = "auto"
    dtype: str = "auto"
    attention: str = "auto"
    cpu_threads: int = 1

    @property
    def model_key(self) -> dict[str, str]:
        """What of this changes results."""
        return {
            "name": "qwen",
            "model": f"{self.model.rstrip('/').rsplit('/', 1)[-1]}@{self.revision}",
            "dtype": self.dtype,
        }

    def pinned(self, kind: Kind, what: str) -> tuple[Self, dict[str, Any]]:
        """The same with its revision pinned, and the checkpoint's config once it was looked through. `what` begins
        messages. Raises ConfigError."""
        if self.cpu_threads < 1:
            raise ConfigError(f"{what}: cpu_threads must be at least 1, not {self.cpu_threads}")
        _require_packages(what)
        pinned = replace(self, revision=pin(self.model, self.revision, what))
        return pinned, check_folder(pinned.folder(what), kind, what)

    def folder(self, what: str) -> Path:
        """Of the pinned checkpoint, on whichever machine. Raises ConfigError."""
        return pinned_folder(self.model, str(self.revision), what)


def _require_packages(what: str) -> None:
    missing = [package for package in _PACKAGES if importlib.util.find_spec(package) is None]
    if missing:
        raise ConfigError(f"{what} needs {', '.join(missing)}: pip install 'lakescribe[qwen]', or make setup-qwen")


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
        if not listing:
            raise ConfigError(f"{what}: there is nothing of a model at {url}")
        shown = {name: [str(info.get(mark)) for mark in _MARKS] for name, info in sorted(listing.items())}
        key = hashlib.sha256(json.dumps([url, shown]).encode()).hexdigest()[:16]
        folder = cache_folder() / "models" / f"qwen-{key}"
        folder.mkdir(parents=True, exist_ok=True)
        for name, info in listing.items():
            if not (folder / name).is_file() or (folder / name).stat().st_size != info.get("size"):
                # In a folder of its own, since other workers of this machine may fetch the same.
                with tempfile.TemporaryDirectory(dir=folder) as own:
                    filesystem.get_file(info["name"], f"{own}/{name}")
                    Path(own, name).replace(folder / name)
    except (OSError, ImportError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{what}: model {url} cannot be fetched: {error}") from error
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


def check_folder(folder: Path, kind: Kind, what: str) -> dict[str, Any]:
    """The config of the checkpoint in `folder`, once all that loading needs is there. Raises ConfigError with the name
    of what is missing or wrong."""
    if (folder / "adapter_config.json").is_file():
        raise ConfigError(f"{what}: {folder} is an adapter, not a model; merge it into its base model and save that")
    for name in _FILES:
        if not (folder / name).is_file():
            raise ConfigError(f"{what}: model folder {folder} has no {name}")
    if not any(all((folder / name).is_file() for name in names) for names in _TOKENIZER):
        raise ConfigError(f"{what}: model folder {folder} has no tokenizer.json (or vocab.json and merges.txt)")
    if kind == "recognizer" and not any((folder / name).is_file() for name in _TEMPLATE):
        raise ConfigError(f"{what}: model folder {folder} has no {_TEMPLATE[0]}")
    try:
        config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        thinker = config.get("thinker_config") or {}
    except (ValueError, AttributeError) as error:
        raise ConfigError(f"{what}: {folder / 'config.json'} cannot be read: {error}") from error
    if config.get("model_type") != "qwen3_asr":
        raise ConfigError(f"{what}: {folder} holds a model of type '{config.get('model_type')}', not qwen3_asr")
    is_aligner = "forced_aligner" in str(thinker.get("model_type")) or "classify_num" in thinker
    if is_aligner != (kind == "aligner"):
        found, other = ("an aligner", "a recognizer") if is_aligner else ("a recognizer", "an aligner")
        raise ConfigError(f"{what}: {folder} holds {found} of the Qwen3-ASR family where {other} is asked for")
    if config.get("quantization_config") or thinker.get("quantization_config"):
        raise ConfigError(f"{what}: {folder} is quantized; the engine takes float weights (bfloat16, float16, float32)")
    _check_weights(folder, thinker, what)
    return config


def _check_weights(folder: Path, thinker: Mapping[str, Any], what: str) -> None:
    found = dict(_tensors(folder, what))
    text, audio = thinker.get("text_config") or {}, thinker.get("audio_config") or {}
    hidden, layers = text.get("hidden_size"), text.get("num_hidden_layers", 0)
    expected = {
        "model.embed_tokens.weight": [text.get("vocab_size"), hidden],
        f"model.layers.{layers - 1}.mlp.down_proj.weight": [hidden, text.get("intermediate_size")],
        f"audio_tower.layers.{audio.get('encoder_layers', 0) - 1}.fc1.weight": [
            audio.get("encoder_ffn_dim"),
            audio.get("d_model"),
        ],
        "audio_tower.proj2.weight": [audio.get("output_dim"), audio.get("d_model")],
    }
    if thinker.get("classify_num"):
        expected["lm_head.weight"] = [thinker["classify_num"], hidden]
    for name, shape in expected.items():
        dtype, actual = found.get(f"thinker.{name}", (None, None))
        if dtype is None:
            raise ConfigError(f"{what}: the weights in {folder} have no tensor thinker.{name}")
        if dtype not in _FLOATS:
            raise ConfigError(f"{what}: thinker.{name} in {folder} is {dtype}, not float: a quantized checkpoint?")
        if actual != shape:
            raise ConfigError(
                f"{what}: thinker.{name} in {folder} has the shape {actual}, but config.json asks for {shape}"
            )


def _tensors(folder: Path, what: str) -> Iterator[tuple[str, tuple[str, list[int]]]]:
    """(name, (dtype, shape)) of all tensors, from the headers of the safetensors files."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise ConfigError(f"{what}: model folder {folder} has no model.safetensors")
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        try:
            named = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ConfigError(f"{what}: {index} cannot be read: {error!r}") from error
        missing = named - {file.name for file in files}
        if missing:
            raise ConfigError(f"{what}: model folder {folder} has no {min(missing)}")
    for path in files:
        try:
            with path.open("rb") as file:
                (length,) = struct.unpack("<Q", file.read(8))
                if length > _LARGEST_HEADER_BYTES:
                    raise ValueError(f"a header of {length} bytes")
                header = json.loads(file.read(length))
            header.pop("__metadata__", None)
            end = max(entry["data_offsets"][1] for entry in header.values())
            if path.stat().st_size < 8 + length + end:
                raise ValueError(f"{path.stat().st_size} bytes of {8 + length + end}: the copy is not complete")
        except (OSError, ValueError, struct.error, TypeError, KeyError, AttributeError) as error:
            raise ConfigError(f"{what}: {path} cannot be read: {error}") from error
        for name, entry in header.items():
            yield name, (entry["dtype"], entry["shape"])
