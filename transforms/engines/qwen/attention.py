"""Attention by PyTorch's SDPA: within the encoder's windows, where FlashAttention 2 is not installed, and of one new
token of a decoder whose heads share keys. Registered with transformers under the names below."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

WINDOWED = "lakescribe_windowed"
GROUPED = "lakescribe_grouped"


def _windowed_attention(
    module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *_: Any, **options: Any
) -> tuple[torch.Tensor, None]:
    """Attention within the encoder's windows, as FlashAttention's variable-length kernel does it.

    query, key, value: (1, heads, tokens, head width) of all windows one after another, whose ends are in
    `cu_seq_lens_q`. Returns (1, tokens, heads, head width).
    """
    ends, longest = options["cu_seq_lens_q"], int(options["max_length_q"])
    tokens = torch.arange(query.shape[2], device=query.device)
    window = torch.searchsorted(ends, tokens, right=True) - 1
    place = window * longest + tokens - ends[window]
    count = len(ends) - 1

    def spread(packed: torch.Tensor) -> torch.Tensor:
        padded = packed.new_zeros(count * longest, *packed[0].transpose(0, 1).shape[1:])
        padded[place] = packed[0].transpose(0, 1)
        return padded.view(count, longest, *padded.shape[1:]).transpose(1, 2)

    real = torch.zeros(count * longest, dtype=torch.bool, device=query.device)
    real[place] = True
    attended = F.scaled_dot_product_attention(
        spread(query),
        spread(key),
        spread(value),
        attn_mask=real.view(count, 1, 1, longest),
        scale=options["scaling"],
    )
    return attended.transpose(1, 2).flatten(0, 1)[place][None], None


def _grouped_attention(
    module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None, **options: Any
) -> tuple[torch.Tensor, None]:
    """The library's SDPA, but for one new token: there, the query heads that share a key head become rows of one query
    instead of copies of all keys and values.

    query: (rows, query heads, new tokens, head width); key, value: (rows, key heads, all tokens, head width). Returns
    (rows, new tokens, query heads, head width).
    """
    if query.shape[2] > 1:
        return _sdpa(module, query, key, value, mask, **options)  # type: ignore[no-any-return]
    grouped = query.reshape(query.shape[0], key.shape[1], -1, query.shape[3])
    attended = F.scaled_dot_product_attention(grouped, key, value, attn_mask=mask, scale=options["scaling"])
    return attended.reshape(query.shape).transpose(1, 2), None


@contextmanager
def grouped(config: Any) -> Iterator[None]:
    """For one new token a row, whatever the decoder of `config` uses else: FlashAttention asks the GPU in each layer
    how long padded rows are, and copies their keys and values together."""
    usual, config._attn_implementation = config._attn_implementation, GROUPED
    try:
        yield
    finally:
        config._attn_implementation = usual


_sdpa: Any = ALL_ATTENTION_FUNCTIONS["sdpa"]
ALL_ATTENTION_FUNCTIONS.register(WINDOWED, _windowed_attention)
ALL_ATTENTION_FUNCTIONS.register(GROUPED, _grouped_attention)
ALL_MASK_ATTENTION_FUNCTIONS.register(GROUPED, ALL_MASK_ATTENTION_FUNCTIONS["sdpa"])
