"""Packed linear layers compute what torch's own do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.random_qwen import make
from tests.kit.sounds import noise
from transforms.engines.qwen.decoding import Prompt, greedy
from transforms.engines.qwen.features import shared_log_mel
from transforms.engines.qwen.packed import PackedLinear, can_pack, pack

pytestmark = pytest.mark.skipif(
    not can_pack(),
    reason="packed layers are for x86-64 CPUs and builds of torch with oneDNN",
)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1,), (24,), (3, 1), (2, 700)])
def test_a_packed_layer_computes_what_the_layer_does(shape: tuple[int, ...], bias: bool) -> None:
    torch.manual_seed(0)
    layer = torch.nn.Linear(256, 1024, bias=bias)
    rows = torch.randn(*shape, 256)
    found = PackedLinear(layer)(rows)
    assert found.shape == (*shape, 1024)
    torch.testing.assert_close(found, layer(rows), rtol=1e-4, atol=1e-5)


def test_only_large_layers_of_float32_are_packed() -> None:
    small, large, half = torch.nn.Linear(64, 64), torch.nn.Linear(512, 512), torch.nn.Linear(512, 512).bfloat16()
    network = torch.nn.ModuleDict({"inner": torch.nn.Sequential(small, large), "narrow": half})
    pack(network)
    assert [type(layer) for layer in network["inner"]] == [torch.nn.Linear, PackedLinear]
    assert network["narrow"] is half


def test_where_torch_lacks_the_operators_layers_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    network = torch.nn.Sequential(torch.nn.Linear(512, 512))
    monkeypatch.setattr(torch.ops, "mkldnn", object())
    pack(network)
    assert type(network[0]) is torch.nn.Linear


def test_a_packed_network_says_the_same_tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transforms.engines.qwen import network as loading
    from transforms.engines.qwen.recognizer import QwenSpec

    spec = QwenSpec(model=str(make("mid", tmp_path / "mid")))
    packed = loading.Network(spec, "a test")
    monkeypatch.setattr(loading, "pack", lambda network: None)
    plain = loading.Network(spec, "a test")
    assert isinstance(packed.thinker.lm_head, PackedLinear)
    assert isinstance(plain.thinker.lm_head, torch.nn.Linear)
    ours, theirs = (_said(network) for network in (packed, plain))
    assert [one.ids for one in ours] == [one.ids for one in theirs]
    for one, other in zip(ours, theirs, strict=True):
        assert len(one.ids) == 12
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-3)


def _said(network: Any) -> list[Any]:
    network.end_ids = set()
    audio = network.encode([shared_log_mel(noise(seconds, seed=1), network.mel_filters) for seconds in (1.0, 2.5, 9.0)])
    return greedy(network, [Prompt([1, 2, *[network.audio_token] * len(one), 3], one, 12) for one in audio])
