"""What recognizer and aligner are told of their checkpoint, and whether its folder holds what loading needs. Needs
neither torch nor transformers."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self

from schemas.config import ConfigError
from transforms.engines.qwen.location import pin, pinned_folder
from transforms.packages import require_packages

Kind = Literal["recognizer", "aligner"]

_PACKAGES = ("torch", "transformers", "qwen_asr")
_INSTALL = "'lakescribe[qwen]', or make setup-qwen"
_FILES = ("config.json", "preprocessor_config.json", "tokenizer_config.json")
_TOKENIZER = (("tokenizer.json",), ("vocab.json", "merges.txt"))
_TEMPLATE = ("chat_template.jinja", "chat_template.json")
_FLOATS = frozenset({"F64", "F32", "F16", "BF16"})
_LARGEST_HEADER_BYTES = 100_000_000
"""The limit of the safetensors format itself."""


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

    def pinned(
        self, kind: Kind, what: str, packages: Sequence[str] = _PACKAGES, install: str = _INSTALL
    ) -> tuple[Self, dict[str, Any]]:
        """The same with its revision pinned, and the checkpoint's config once it was looked through. `what` begins
        messages; it needs `packages`, which pip gets by `install`. Raises ConfigError."""
        if self.cpu_threads < 1:
            raise ConfigError(f"{what}: cpu_threads must be at least 1, not {self.cpu_threads}")
        require_packages(what, packages, install)
        pinned = replace(self, revision=pin(self.model, self.revision, what))
        return pinned, check_folder(pinned.folder(what), kind, what)

    def folder(self, what: str) -> Path:
        """Of the pinned checkpoint, on whichever machine. Raises ConfigError."""
        return pinned_folder(self.model, str(self.revision), what)


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
