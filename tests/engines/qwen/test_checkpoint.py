"""Checkpoints of a few bytes, written by hand: only what is looked at before torch is there."""

from __future__ import annotations

import json
import os
import re
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from schemas.config import ConfigError
from transforms.engines.qwen.aligner import QwenAlignerSpec
from transforms.engines.qwen.checkpoint import Kind, check_folder
from transforms.engines.qwen.location import local_folder, pin, pinned_folder
from transforms.engines.qwen.recognizer import QwenSpec

_WHAT = "engine 'qwen'"
_BYTES = {"F64": 8, "F32": 4, "BF16": 2, "F16": 2, "I8": 1}
_TENSORS = {
    "model.embed_tokens.weight": [16, 4],
    "model.layers.0.mlp.down_proj.weight": [4, 8],
    "model.layers.1.mlp.down_proj.weight": [4, 8],
    "audio_tower.layers.0.fc1.weight": [6, 3],
    "audio_tower.proj2.weight": [4, 3],
}
_FILES = ("config.json", "preprocessor_config.json", "tokenizer_config.json")


def _config(kind: Kind) -> dict[str, Any]:
    text = {"vocab_size": 16, "hidden_size": 4, "num_hidden_layers": 2, "intermediate_size": 8}
    audio = {"encoder_layers": 1, "encoder_ffn_dim": 6, "d_model": 3, "output_dim": 4}
    thinker: dict[str, Any] = {"model_type": "qwen3_asr_thinker", "text_config": text, "audio_config": audio}
    config: dict[str, Any] = {"model_type": "qwen3_asr", "thinker_config": thinker}
    if kind == "aligner":
        thinker |= {"model_type": "qwen3_forced_aligner", "classify_num": 5}
        config |= {"timestamp_token_id": 9, "timestamp_segment_time": 80}
    return config


def _write_tensors(path: Path, shapes: dict[str, list[int]], dtype: str = "BF16", fill: bytes = b"\0") -> None:
    """The safetensors format: length of the header, header, data."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, (rows, columns) in shapes.items():
        end = at + rows * columns * _BYTES[dtype]
        header[f"thinker.{name}"] = {"dtype": dtype, "shape": [rows, columns], "data_offsets": [at, end]}
        at = end
    data = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(data)) + data + fill * at)


def _shapes(kind: Kind) -> dict[str, list[int]]:
    return _TENSORS | ({"lm_head.weight": [5, 4]} if kind == "aligner" else {})


def _write(folder: Path, kind: Kind = "recognizer") -> Path:
    folder.mkdir(parents=True)
    for name in _FILES:
        (folder / name).write_text("{}")
    (folder / "tokenizer.json").write_text("{}")
    if kind == "recognizer":
        (folder / "chat_template.jinja").write_text("")
    (folder / "config.json").write_text(json.dumps(_config(kind)))
    _write_tensors(folder / "model.safetensors", _shapes(kind))
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return _write(tmp_path / "checkpoint")


def _configure(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))


def _refused(folder: Path, kind: Kind = "recognizer") -> str:
    with pytest.raises(ConfigError) as caught:
        check_folder(folder, kind, _WHAT)
    message = str(caught.value)
    assert message.startswith(f"{_WHAT}: ")
    assert "\n" not in message
    assert str(folder) in message
    return message


@pytest.mark.parametrize("kind", ["recognizer", "aligner"])
@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
def test_a_whole_checkpoint_is_taken(tmp_path: Path, kind: Kind, dtype: str) -> None:
    folder = _write(tmp_path / kind, kind)
    _write_tensors(folder / "model.safetensors", _shapes(kind), dtype)
    assert check_folder(folder, kind, _WHAT) == _config(kind)


def test_other_names_of_tokenizer_and_template_and_shards_are_taken(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.json").write_text("{}")
    (folder / "merges.txt").write_text("")
    (folder / "chat_template.jinja").rename(folder / "chat_template.json")
    _shard(folder)
    assert check_folder(folder, "recognizer", _WHAT) == _config("recognizer")


@pytest.mark.parametrize("name", [*_FILES, "tokenizer.json", "chat_template.jinja", "model.safetensors"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    assert f"has no {name}" in _refused(folder)


def test_half_a_tokenizer_is_none(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.json").write_text("{}")
    assert "has no tokenizer.json (or vocab.json and merges.txt)" in _refused(folder)


def test_an_aligner_needs_no_chat_template(tmp_path: Path) -> None:
    folder = _write(tmp_path / "aligner", "aligner")
    assert not list(folder.glob("chat_template*"))
    check_folder(folder, "aligner", _WHAT)


def test_an_adapter_is_no_model(folder: Path) -> None:
    (folder / "adapter_config.json").write_text("{}")
    assert "merge it into its base model" in _refused(folder)


@pytest.mark.parametrize("where", ["top", "thinker"])
def test_a_quantized_checkpoint_is_refused(folder: Path, where: str) -> None:
    def quantize(config: dict[str, Any]) -> None:
        (config if where == "top" else config["thinker_config"])["quantization_config"] = {"bits": 4}

    _configure(folder, quantize)
    assert "is quantized" in _refused(folder)


def test_integer_weights_are_refused_whatever_the_config_says(folder: Path) -> None:
    _write_tensors(folder / "model.safetensors", _TENSORS, "I8")
    assert "is I8, not float" in _refused(folder)


@pytest.mark.parametrize("name", [name for name in _TENSORS if "layers.0.mlp" not in name])  # it looks at the last
def test_a_tensor_of_another_shape_is_named_with_both(folder: Path, name: str) -> None:
    _write_tensors(folder / "model.safetensors", _TENSORS | {name: [7, 7]})
    message = _refused(folder)
    assert f"thinker.{name} " in message
    assert "[7, 7]" in message
    assert str(_TENSORS[name]) in message


def test_a_missing_tensor_is_named(folder: Path) -> None:
    _configure(folder, lambda config: config["thinker_config"]["text_config"].update(num_hidden_layers=3))
    assert "no tensor thinker.model.layers.2.mlp.down_proj.weight" in _refused(folder)


def test_an_aligners_classes_are_counted(tmp_path: Path) -> None:
    folder = _write(tmp_path / "aligner", "aligner")
    _configure(folder, lambda config: config["thinker_config"].update(classify_num=6))
    assert "thinker.lm_head.weight" in _refused(folder, "aligner")


def _shard(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    halves = dict(list(_TENSORS.items())[:3]), dict(list(_TENSORS.items())[3:])
    names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    for name, half in zip(names, halves, strict=True):
        _write_tensors(folder / name, half)
    places = {f"thinker.{t}": name for name, half in zip(names, halves, strict=True) for t in half}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))


def test_a_missing_shard_is_named(folder: Path) -> None:
    _shard(folder)
    (folder / "model-00002-of-00002.safetensors").unlink()
    assert "has no model-00002-of-00002.safetensors" in _refused(folder)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"weight_map": []}'])
def test_a_broken_index_is_named(folder: Path, text: str) -> None:
    (folder / "model.safetensors.index.json").write_text(text)
    assert "model.safetensors.index.json cannot be read" in _refused(folder)


@pytest.mark.parametrize("left", [-1, -50, 200, 8, 5, 0])
def test_a_file_cut_short_is_named(folder: Path, left: int) -> None:
    weights = folder / "model.safetensors"
    os.truncate(weights, left if left >= 0 else weights.stat().st_size + left)
    message = _refused(folder)
    assert "model.safetensors cannot be read" in message
    if left < 0:
        assert "the copy is not complete" in message


@pytest.mark.parametrize("content", [b"\xff" * 64, struct.pack("<Q", 4) + b'"no"', struct.pack("<Q", 2) + b"[]"])
def test_a_file_that_is_no_safetensors_is_named(folder: Path, content: bytes) -> None:
    (folder / "model.safetensors").write_bytes(content)
    assert "model.safetensors cannot be read" in _refused(folder)


@pytest.mark.parametrize("wanted", ["recognizer", "aligner"])
def test_recognizer_and_aligner_are_told_apart(tmp_path: Path, wanted: Kind) -> None:
    other: Kind = "aligner" if wanted == "recognizer" else "recognizer"
    folder = _write(tmp_path / "other", other)
    (folder / "chat_template.jinja").write_text("")
    message = _refused(folder, wanted)
    assert re.search(rf"holds an? {other} of .* where an? {wanted} is asked for", message)


def test_a_model_of_another_family_is_refused(folder: Path) -> None:
    _configure(folder, lambda config: config.update(model_type="whisper"))
    assert "of type 'whisper', not qwen3_asr" in _refused(folder)


@pytest.mark.parametrize("text", ["{", "", "[]", "\x00"])
def test_a_broken_config_is_named(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text)
    assert "config.json cannot be read" in _refused(folder)


@pytest.mark.parametrize("spec", [QwenSpec, QwenAlignerSpec])
def test_specs_refuse_what_their_folder_lacks(tmp_path: Path, spec: Any) -> None:
    pytest.importorskip("qwen_asr", reason="needs the extra qwen: make setup-qwen")
    kind: Kind = "recognizer" if spec is QwenSpec else "aligner"
    folder = _write(tmp_path / "whole", kind)
    checked = spec(model=str(folder)).checked()
    assert checked.revision.startswith("sha256:")
    assert checked.key["model"] == f"whole@{checked.revision}"
    for name in (*_FILES, "model.safetensors"):
        broken = _write(tmp_path / name, kind)
        (broken / name).unlink()
        with pytest.raises(ConfigError, match=f"has no {name}"):
            spec(model=str(broken)).checked()


def test_an_aligner_without_its_grid_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("qwen_asr", reason="needs the extra qwen: make setup-qwen")
    folder = _write(tmp_path / "aligner", "aligner")
    _configure(folder, lambda config: config.pop("timestamp_segment_time"))
    with pytest.raises(ConfigError, match="has no timestamp_segment_time"):
        QwenAlignerSpec(model=str(folder)).checked()


def test_the_digest_tells_weights_and_configs_apart(folder: Path, tmp_path: Path) -> None:
    first = pin(str(folder), None, _WHAT)
    assert first == pin(str(_write(tmp_path / "copy")), None, _WHAT), "the place does not count"
    _write_tensors(folder / "model.safetensors", _TENSORS, fill=b"\1")
    tuned = pin(str(folder), None, _WHAT)
    _configure(folder, lambda config: config.update(support_languages=["English"]))
    assert len({first, tuned, pin(str(folder), None, _WHAT)}) == 3


def test_the_digest_sees_both_ends_of_large_weights(folder: Path) -> None:
    weights, found = folder / "model.safetensors", set()
    os.truncate(weights, 3 << 20)
    for place in (0, 1000, (3 << 20) - 1):
        found.add(pin(str(folder), None, _WHAT))
        with weights.open("r+b") as file:
            file.seek(place)
            file.write(b"\7")
    assert len(found | {pin(str(folder), None, _WHAT)}) == 4


def test_a_node_with_other_weights_in_the_same_place_is_told_so(folder: Path) -> None:
    revision = pin(str(folder), None, _WHAT)
    assert pinned_folder(str(folder), revision, _WHAT) == folder
    _write_tensors(folder / "model.safetensors", _TENSORS, fill=b"\1")
    with pytest.raises(ConfigError, match=f"but {revision} on the driver; copy the same to all nodes"):
        pinned_folder(str(folder), revision, _WHAT)


def test_a_digest_is_nothing_to_ask_the_hub_for(folder: Path) -> None:
    with pytest.raises(ConfigError, match="revision is the hub's"):
        pin(str(folder), "sha256:0123456789ab", _WHAT)


@pytest.mark.parametrize("model", ["/no/such/folder", "./model", "~/model", "a/b/c", "qwen"])
def test_what_can_be_no_hub_name_is_a_missing_folder(model: str) -> None:
    with pytest.raises(ConfigError, match=f"{_WHAT}: there is no model folder {model}"):
        local_folder(model, None, _WHAT)


def test_a_hub_name_without_a_network_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ConfigError) as caught:
        pin("Qwen/Qwen3-ASR-0.6B", None, _WHAT)
    message = str(caught.value)
    assert "'Qwen/Qwen3-ASR-0.6B' is not on this machine" in message
    assert "give a local folder, or fetch it with `hf download`" in message
    assert "\n" not in message


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a checkpoint in an object store: fsspec's own, in memory."""
    monkeypatch.setenv("LAKESCRIBE_CACHE", str(tmp_path / "cache"))
    filesystem = fsspec.filesystem("memory")
    filesystem.put(str(_write(tmp_path / "uploaded")), "/bucket/model", recursive=True)
    filesystem.pipe("/bucket/model/training.log", b"not of the model")
    filesystem.pipe("/bucket/model/older/model.safetensors", b"neither")
    yield "memory://bucket/model"
    filesystem.rm("/bucket", recursive=True)


def test_an_object_stores_folder_is_copied_once(store: str, tmp_path: Path) -> None:
    folder = local_folder(store, None, _WHAT)
    assert folder.is_relative_to(tmp_path / "cache")
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [*_FILES, "tokenizer.json", "chat_template.jinja", "model.safetensors"]
    )
    check_folder(folder, "recognizer", _WHAT)
    before = {path: path.stat().st_ino for path in folder.iterdir()}
    assert local_folder(f"{store}", None, _WHAT) == folder
    assert {path: path.stat().st_ino for path in folder.iterdir()} == before, "copied a second time"


def test_a_copy_that_was_cut_short_is_mended(store: str) -> None:
    weights = local_folder(store, None, _WHAT) / "model.safetensors"
    whole = weights.read_bytes()
    os.truncate(weights, 100)
    local_folder(store, None, _WHAT)
    assert weights.read_bytes() == whole


def test_weights_that_changed_in_the_store_are_copied_anew(store: str, tmp_path: Path) -> None:
    first = pin(store, None, _WHAT)
    _write_tensors(tmp_path / "tuned.safetensors", _TENSORS, fill=b"\1")
    fsspec.filesystem("memory").put_file(str(tmp_path / "tuned.safetensors"), "/bucket/model/model.safetensors")
    assert pin(store, None, _WHAT) != first


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("memory://bucket/nothing", "nothing of a model at memory://bucket/nothing"),
        ("nosuchstore://bucket/model", "model nosuchstore://bucket/model cannot be fetched"),
    ],
)
def test_a_url_that_leads_nowhere_is_named(url: str, says: str, store: str) -> None:
    with pytest.raises(ConfigError, match=says):
        local_folder(url, None, _WHAT)


def test_what_a_stores_client_raises_is_told_in_a_sentence(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class ClientError(Exception):
        """As botocore's, which is no OSError."""

    def refuse(*_: Any, **__: Any) -> Any:
        raise ClientError("(403) Forbidden")

    expected = re.escape(f"model {store} cannot be fetched: (403) Forbidden")
    with monkeypatch.context() as patch:
        patch.setattr(type(fsspec.filesystem("memory")), "find", refuse)
        with pytest.raises(ConfigError, match=expected):
            local_folder(store, None, _WHAT)
