"""A loaded checkpoint: features → audio embeddings, embeddings → hidden states, on the package's own layers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from qwen_asr.core.transformers_backend import Qwen3ASRForConditionalGeneration, Qwen3ASRProcessor
from transformers.utils.import_utils import is_flash_attn_2_available

from transforms.engines.device import device_errors
from transforms.engines.gpu import gpu_index
from transforms.engines.qwen.attention import GROUPED, WINDOWED, grouped
from transforms.engines.qwen.checkpoint import Checkpoint
from transforms.engines.qwen.languages import known
from transforms.engines.qwen.packed import pack

if TYPE_CHECKING:
    from transforms.engines.qwen.graphs import Graphs

# qwen_asr imports nagisa, and that DyNet, which rounds subnormal numbers to zero from then on, for all that this
# process computes: what others compute must not depend on whether this engine was loaded.
torch.set_flush_denormal(False)

_BLOCK_FRAMES = 100
"""The encoder's convolutions see blocks of one second."""
_CPU_BLOCKS = 16
"""At once through the convolutions on a CPU: so many stay in its cache."""
_END_TOKENS = ["<|im_end|>", "<|endoftext|>"]
"""What ends an answer, beside what the checkpoint's generation_config.json names."""


class Network:
    """Model, tokenizer and device of one checkpoint. `languages`: the ISO 639 codes that it says it knows. `graphs`:
    what replays its steps of decoding, where that is wanted."""

    def __init__(self, checkpoint: Checkpoint, what: str) -> None:
        """Loads the pinned checkpoint; `what` begins messages."""
        torch.set_num_threads(checkpoint.cpu_threads)
        folder = checkpoint.folder(what)
        self.device = torch.device(task_device(checkpoint.device))
        on_gpu = self.device.type == "cuda"
        if on_gpu:
            torch.cuda.empty_cache()  # what an engine left that was dropped for this one
        dtype, attention = checkpoint.dtype, checkpoint.attention
        if dtype == "auto":
            dtype = "bfloat16" if on_gpu else "float32"
        if attention == "auto":
            attention = "flash_attention_2" if on_gpu and is_flash_attn_2_available() else "sdpa"
        model = Qwen3ASRForConditionalGeneration.from_pretrained(
            folder, dtype=getattr(torch, dtype), attn_implementation=attention, local_files_only=True
        )
        self.config: Any = model.config
        self.graphs: Graphs | None = None
        # Nothing is trained here: what each layer would keep for that is gigabytes a batch.
        self.thinker: Any = model.thinker.to(self.device).eval().requires_grad_(False)
        self.dtype: torch.dtype = self.thinker.lm_head.weight.dtype
        if attention != "flash_attention_2":  # which does right and fast what SDPA needs to be told
            self.thinker.audio_tower.config._attn_implementation = WINDOWED
            self.thinker.model.config._attn_implementation = GROUPED
        if not on_gpu:
            self.thinker.audio_tower.conv_chunksize = _CPU_BLOCKS
            pack(self.thinker)
        self.processor: Any = Qwen3ASRProcessor.from_pretrained(folder, fix_mistral_regex=True, local_files_only=True)
        self.tokenizer: Any = self.processor.tokenizer
        filters = self.processor.feature_extractor.mel_filters
        self.mel_filters = torch.tensor(filters, dtype=torch.float32, device=self.device)
        self.audio_token = int(self.thinker.config.audio_token_id)
        self.languages = known(model.config.support_languages)
        ends = model.generation_config.eos_token_id
        named = self.tokenizer.convert_tokens_to_ids(_END_TOKENS)
        self.end_ids = {int(end) for end in [*(ends if isinstance(ends, list) else [ends]), *named] if end is not None}

    def encode(self, features: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Features (bins, frames) each → audio embeddings (tokens, width) each, 13 tokens a second, all in one pass.

        Clips below one second go in passes of their own, one for each length: the convolution pads them to the longest
        block of the pass, and its bias leaks from the padding into the last token.
        """
        groups: dict[int, list[int]] = defaultdict(list)
        for index, clip in enumerate(features):
            groups[min(_BLOCK_FRAMES, clip.shape[1])].append(index)
        found: dict[int, torch.Tensor] = {}
        for indexes in groups.values():
            clips = [features[index].to(self.dtype) for index in indexes]
            lengths = torch.tensor([clip.shape[1] for clip in clips], device=self.device)
            embeddings = self.thinker.audio_tower(torch.cat(clips, dim=1), feature_lens=lengths).last_hidden_state
            parts = embeddings.split([audio_tokens(clip.shape[1]) for clip in clips])
            found.update(zip(indexes, parts, strict=True))
        return [found[index] for index in range(len(features))]

    def embed(self, ids: Sequence[int], audio: torch.Tensor) -> torch.Tensor:
        """Token ids with one run of audio placeholders → embeddings (tokens, width). Raises RuntimeError if there are
        not as many placeholders as audio embeddings."""
        tokens = torch.tensor(ids, device=self.device)
        places = tokens == self.audio_token
        count = sum(1 for token in ids if token == self.audio_token)
        if count != len(audio):
            raise RuntimeError(f"the prompt has {count} audio placeholders for {len(audio)} audio embeddings")
        embeddings: torch.Tensor = self.thinker.get_input_embeddings()(tokens)
        embeddings[places] = audio.to(embeddings.dtype)
        return embeddings

    def padded(self, rows: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Rows (tokens, width) → (rows, longest, width) padded on the left, and the mask (rows, longest) of what is
        real."""
        longest = max(len(row) for row in rows)
        embeddings = torch.stack([F.pad(row, (0, 0, longest - len(row), 0)) for row in rows])
        lengths = torch.tensor([len(row) for row in rows], device=self.device)
        mask = torch.arange(longest, device=self.device)[None] >= longest - lengths[:, None]
        return embeddings, mask.long()

    def hidden(self, embeddings: torch.Tensor, mask: torch.Tensor, cache: Any = None) -> torch.Tensor:
        """The decoder's last hidden states for the newest tokens: (rows, tokens, width). `mask` (rows, all tokens)
        counts those in `cache`, too; without a cache none is built."""
        new_tokens, decoder = embeddings.shape[1], self.thinker.model
        with grouped(decoder.config) if new_tokens == 1 else nullcontext():
            states: torch.Tensor = decoder(
                inputs_embeds=embeddings,
                attention_mask=self._seen(mask, new_tokens),
                position_ids=(mask.cumsum(-1) - 1).clamp(min=0)[:, -new_tokens:],
                past_key_values=cache,
                use_cache=cache is not None,
            ).last_hidden_state
        return states

    def _seen(self, mask: torch.Tensor, new_tokens: int) -> torch.Tensor | None:
        """What the newest tokens see of all, (rows, 1, new tokens, all tokens), as the library would make it of `mask`,
        for which it takes a millisecond each step; None: all before them. FlashAttention takes `mask` itself."""
        if self.thinker.model.config._attn_implementation != GROUPED:
            return mask
        real, tokens = mask.bool(), mask.shape[1]
        if new_tokens == 1:
            return real[:, None, None]
        if new_tokens == tokens and real.all():
            return None
        before = torch.ones(new_tokens, tokens, dtype=torch.bool, device=mask.device).tril(tokens - new_tokens)
        return real[:, None, None] & before

    def forget(self) -> None:
        """Gives the memory back that later batches would use again."""
        if self.graphs is not None:
            self.graphs.forget()

    def logits(self, states: torch.Tensor) -> torch.Tensor:
        """Of the token that follows each of the last hidden states (n, width): float32 (n, vocabulary)."""
        logits: torch.Tensor = self.thinker.lm_head(states)
        return logits.float()

    def most_probable(self, states: torch.Tensor) -> torch.Tensor:
        """The same states → (2, n) float64, to be fetched at once: the log-probability of the most probable token that
        follows each, and that token's id."""
        logits = self.logits(states)
        best, tokens = logits.max(dim=-1)
        return torch.stack([(best - logits.logsumexp(dim=-1)).double(), tokens.double()])


def audio_tokens(frames: int) -> int:
    """Audio embeddings of so many frames: three convolutions of stride 2 on each block of 100."""
    whole, rest = divmod(frames, _BLOCK_FRAMES)
    for _ in range(3):
        rest = (rest + 1) // 2
    return 13 * whole + rest


@contextmanager
def memory_and_device_errors(forget: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Turns torch's out-of-memory errors into MemoryError (the caller halves the batch), and a dead CUDA context into
    EngineLost. `forget` gives back what is kept for later."""
    try:
        with device_errors():
            yield
    except MemoryError:
        forget()
        torch.cuda.empty_cache()
        raise


def task_device(wanted: str) -> str:
    """`wanted`, or for 'auto' the GPU that Spark gave this task, else the first one, else 'cpu'."""
    if wanted != "auto":
        return wanted
    return f"cuda:{gpu_index(torch.cuda.device_count())}" if torch.cuda.is_available() else "cpu"
