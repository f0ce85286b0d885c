"""The same arithmetic as qwen-asr's network, for whole batches and several times as fast on one core.

The package runs its encoder one recording at a time. largest_difference in scores.py compares the two.
"""

import ctypes

import torch
import torch.nn.functional as F
from corpus import MEL_BINS
from qwen_asr.core.transformers_backend.modeling_qwen3_asr import apply_rotary_pos_emb

CHUNK_FRAMES, CHUNK_TOKENS, FRAMES_PER_TOKEN = 100, 13, 8
WINDOW_TOKENS = 8 * CHUNK_TOKENS  # encoder attention stays within 8 s


MALLOC_TRIM_THRESHOLD, MALLOC_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


def use_one_fast_thread() -> None:
    """One thread, bf16 products, and freed memory kept: else much time goes into fetching fresh pages."""
    keep = getattr(ctypes.CDLL(None), "mallopt", None)
    if keep:
        keep(MALLOC_TRIM_THRESHOLD, 1 << 30)
        keep(MALLOC_MMAP_THRESHOLD, 1 << 30)
    torch.set_num_threads(1)
    torch.set_float32_matmul_precision("medium")  # bf16 products inside float32 matmuls
    torch.backends.mkldnn.conv.fp32_precision = "bf16"


def use_exact_arithmetic() -> None:
    """Plain float32 again, for scores."""
    torch.set_float32_matmul_precision("highest")
    torch.backends.mkldnn.conv.fp32_precision = "ieee"


def audio_tokens(frames: int) -> int:
    """How many tokens the encoder makes of so many 10 ms frames: 13 a second."""
    whole, tail = divmod(frames, CHUNK_FRAMES)
    return whole * CHUNK_TOKENS + -(-tail // FRAMES_PER_TOKEN)


def token_times_s(tokens: int) -> torch.Tensor:
    """The time at which each audio token begins."""
    at = torch.arange(tokens)
    return at // CHUNK_TOKENS + at % CHUNK_TOKENS * (FRAMES_PER_TOKEN / 100)


def _attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """(batch, heads, tokens, width) each; on a CPU at these sizes faster than scaled_dot_product_attention."""
    scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
    joined = scores.masked_fill(~mask, -1e9).softmax(-1) @ value
    return joined.transpose(1, 2).flatten(2)


def encode(
    tower: torch.nn.Module, features: torch.Tensor, frames: list[int], *, windowed: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """features (batch, seconds * 100, 128), zeros after each recording's own `frames`.

    Returns the audio tokens (batch, seconds * 13, width) and which of them are real (batch, seconds * 13).
    windowed: attention within blocks of 8 s, as the architecture has it; otherwise over everything, as the package's
    plain attention has it.
    """
    batch, length, _ = features.shape
    sound = features.view(batch * length // CHUNK_FRAMES, CHUNK_FRAMES, MEL_BINS).transpose(1, 2).unsqueeze(1)
    for conv in (tower.conv2d1, tower.conv2d2, tower.conv2d3):
        sound = F.gelu(conv(sound))
    sound = tower.conv_out(sound.permute(0, 3, 1, 2).flatten(2))
    sound = sound + tower.positional_embedding.positional_embedding[: sound.shape[1]]
    tokens = length // CHUNK_FRAMES * CHUNK_TOKENS
    hidden = sound.reshape(batch, tokens, -1)
    at = torch.arange(tokens)
    real = at[None] < torch.tensor([audio_tokens(count) for count in frames])[:, None]
    mask = real[:, None, None, :] | torch.eye(tokens, dtype=torch.bool)
    if windowed:
        mask = mask & (at[:, None] // WINDOW_TOKENS == at[None] // WINDOW_TOKENS)
    for layer in tower.layers:
        own, normed = layer.self_attn, layer.self_attn_layer_norm(hidden)
        query, key, value = (
            project(normed).view(batch, tokens, own.num_heads, -1).transpose(1, 2)
            for project in (own.q_proj, own.k_proj, own.v_proj)
        )
        hidden = hidden + own.out_proj(_attention(query, key, value, mask))
        hidden = hidden + layer.fc2(F.gelu(layer.fc1(layer.final_layer_norm(hidden))))
    return tower.proj2(F.gelu(tower.proj1(tower.ln_post(hidden)))), real


def decode(decoder: torch.nn.Module, embedded: torch.Tensor) -> list[torch.Tensor]:
    """embedded (batch, tokens, width), padded on the right.

    Returns what leaves each layer, then the last one normed; the same shape each.
    """
    batch, tokens, _ = embedded.shape
    positions = torch.arange(tokens).expand(3, batch, -1)
    rotation = decoder.rotary_emb(embedded, positions)
    mask = torch.ones(tokens, tokens, dtype=torch.bool).tril()
    hidden, layers = embedded, []
    for layer in decoder.layers:
        own, normed = layer.self_attn, layer.input_layernorm(hidden)
        query = own.q_norm(own.q_proj(normed).view(batch, tokens, -1, own.head_dim)).transpose(1, 2)
        key = own.k_norm(own.k_proj(normed).view(batch, tokens, -1, own.head_dim)).transpose(1, 2)
        value = own.v_proj(normed).view(batch, tokens, -1, own.head_dim).transpose(1, 2)
        query, key = apply_rotary_pos_emb(query, key, *rotation)
        shared_by = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(shared_by, 1), value.repeat_interleave(shared_by, 1)
        hidden = hidden + own.o_proj(_attention(query, key, value, mask))
        hidden = hidden + layer.mlp(layer.post_attention_layernorm(hidden))
        layers.append(hidden)
    return [*layers, decoder.norm(hidden)]
