"""What stands in for parts of transformers gives what those parts give."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers.cache_utils import Cache, DynamicCache
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from tests.engines.qwen.conftest import Clip
from transforms.engines import Utterance
from transforms.engines.qwen.attention import GROUPED
from transforms.engines.qwen.decoding import RoomyLayer


class _Module(torch.nn.Module):
    num_key_value_groups = 3


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("new_tokens", [1, 5])
def test_attention_of_heads_that_share_keys_equals_the_librarys(new_tokens: int, masked: bool) -> None:
    draw = torch.Generator().manual_seed(new_tokens)
    query = torch.randn(4, 6, new_tokens, 8, generator=draw)
    key, value = (torch.randn(4, 2, 11, 8, generator=draw) for _ in range(2))
    mask = (
        (torch.arange(11) >= torch.arange(4)[:, None])[:, None, None].expand(4, 1, new_tokens, 11) if masked else None
    )
    ours, theirs = (
        ALL_ATTENTION_FUNCTIONS[name](_Module(), query, key, value, mask, scaling=0.3, is_causal=False)[0]
        for name in (GROUPED, "sdpa")
    )
    assert ours.shape == (4, new_tokens, 6, 8)
    torch.testing.assert_close(ours, theirs)


def test_the_cache_holds_what_the_librarys_holds_while_it_grows_and_rows_leave() -> None:
    draw = torch.Generator().manual_seed(0)
    ours, theirs = Cache(layer_class_to_replicate=RoomyLayer), DynamicCache()
    rows = 3
    for step in range(200):
        new = torch.randn(2, 2, rows, 2, 40 if step == 0 else 1, 4, generator=draw)  # layers, keys and values, …
        for layer in range(2):
            for got, expected in zip(ours.update(*new[layer], layer), theirs.update(*new[layer], layer), strict=True):
                assert torch.equal(got, expected)
        if step in (10, 100):
            left = torch.tensor([2, 0] if rows == 3 else [1])
            rows = len(left)
            ours.batch_select_indices(left)
            theirs.batch_select_indices(left)
    assert ours.get_seq_length() == theirs.get_seq_length() == 239


def test_no_layer_keeps_what_only_training_needs(recognizer: Any) -> None:
    """It was 5 GB for 32 clips of 30 s."""
    (embeddings,) = recognizer._network.encode([torch.zeros(128, 200)])
    assert not embeddings.requires_grad
    hidden = recognizer._network.hidden(embeddings[None], torch.ones(1, len(embeddings), dtype=torch.long))
    assert not hidden.requires_grad


def test_a_step_never_asks_the_attention_of_prompts(
    recognizer: Any, sentences: list[Clip], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where FlashAttention is installed, which takes a prompt's rows well, and badly those of a step."""
    new_tokens: list[int] = []

    def attention(module: Any, query: torch.Tensor, *rest: Any, **options: Any) -> Any:
        new_tokens.append(query.shape[2])
        return ALL_ATTENTION_FUNCTIONS["sdpa"](module, query, *rest, **options)

    ALL_ATTENTION_FUNCTIONS.register("of_prompts", attention)
    ALL_MASK_ATTENTION_FUNCTIONS.register("of_prompts", ALL_MASK_ATTENTION_FUNCTIONS["sdpa"])
    utterances = [Utterance(clip.samples) for clip in sentences[:5]]
    expected = recognizer.recognize(utterances)
    config = recognizer._network.thinker.model.config
    monkeypatch.setattr(config, "_attn_implementation", "of_prompts")
    found = recognizer.recognize(utterances)
    assert config._attn_implementation == "of_prompts"
    assert [one.text for one in found] == [one.text for one in expected]
    assert new_tokens
    assert min(new_tokens) > 1
