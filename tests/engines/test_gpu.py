"""A task computes on the GPU that Spark gave it, whatever its Python worker computed on before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, Self

import pyspark
import pytest
from pyspark.resource import ResourceInformation

import transforms.engines
from transforms.engines import load_once
from transforms.engines.gpu import gpu_address, gpu_index
from transforms.engines.whisper import WhisperSpec


@dataclass(frozen=True)
class AddressSpec:
    """Its engine is a list that holds the address that it was loaded for."""

    name: str = "recognizer"

    @property
    def key(self) -> Mapping[str, Any]:
        return {"name": self.name}

    def checked(self) -> Self:
        return self

    def load(self) -> list[str | None]:
        return [gpu_address()]


@pytest.fixture(autouse=True)
def fresh_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(transforms.engines, "_loaded", {})
    monkeypatch.setattr(transforms.engines, "_loaded_for", None)
    return iter([None])


def give(monkeypatch: pytest.MonkeyPatch, address: str | None) -> None:
    """As if a task began to which Spark gave the GPU `address`."""

    class Context:
        def resources(self) -> dict[str, ResourceInformation]:
            return {"gpu": ResourceInformation("gpu", [address])} if address is not None else {}

    monkeypatch.setattr(pyspark.TaskContext, "get", lambda: Context())


def test_an_engine_is_loaded_anew_for_another_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, "0")
    first = load_once(AddressSpec())
    assert load_once(AddressSpec()) is first
    aligner = load_once(AddressSpec("aligner"))
    give(monkeypatch, "1")
    assert load_once(AddressSpec()).engine == ["1"]
    assert load_once(AddressSpec("aligner")).engine == ["1"]
    give(monkeypatch, "0")
    assert load_once(AddressSpec("aligner")) is not aligner


def test_what_was_loaded_for_another_gpu_is_gone_before_the_next_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    alive: list[str] = []

    class Engine:
        def __init__(self) -> None:
            assert not alive, "two engines at once would fill the GPU"
            alive.append("engine")
            self.itself = self  # models do hold themselves

        def __del__(self) -> None:
            alive.clear()

    class Spec(AddressSpec):
        def load(self) -> Any:
            return Engine()

    for address in ("0", "1", None):
        give(monkeypatch, address)
        load_once(Spec())
        load_once(Spec())


def test_an_address_beyond_what_the_process_sees_is_the_only_gpu_it_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, "3")
    assert [gpu_index(4), gpu_index(1), gpu_index(0)] == [3, 0, 0]
    give(monkeypatch, None)
    assert [gpu_address(), gpu_index(4)] == [None, 0]


@pytest.mark.parametrize(("device", "index"), [("cuda", 2), ("cpu", 0)])
def test_whisper_loads_onto_the_gpu_of_its_task(monkeypatch: pytest.MonkeyPatch, device: str, index: int) -> None:
    asked: dict[str, Any] = {}

    def model(_: str, **options: Any) -> NoReturn:
        asked.update(options)
        raise KeyboardInterrupt  # there is no such GPU here

    monkeypatch.setattr("faster_whisper.WhisperModel", model)
    monkeypatch.setattr("ctranslate2.get_cuda_device_count", lambda: 4)
    give(monkeypatch, "2")
    with pytest.raises(KeyboardInterrupt):
        WhisperSpec(device=device).load()
    assert (asked["device"], asked["device_index"]) == (device, index)


def test_qwen_loads_onto_the_gpu_of_its_task(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("qwen_asr", reason="needs the extra qwen: make setup-qwen")
    from transforms.engines.qwen.network import task_device

    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    give(monkeypatch, "1")
    assert [task_device("auto"), task_device("cuda:0"), task_device("cpu")] == ["cuda:1", "cuda:0", "cpu"]
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert task_device("auto") == "cpu"
