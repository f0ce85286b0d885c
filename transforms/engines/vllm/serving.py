"""vLLM's engine in this process, for one checkpoint: requests are added at any time, and a step computes all of them
one token further."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from schemas.config import SAMPLE_RATE_HZ
from transforms.engines import EngineLost
from transforms.engines.gpu import gpu_index
from transforms.engines.qwen.features import log_mel
from transforms.engines.qwen.languages import known
from transforms.engines.vllm.spec import VllmCheckpoint

_AUDIO_TOKENS_PER_S = 13
_TEXT_ROOM = 256
"""Tokens of the prompt beside audio, context and text."""
_ENVIRONMENT = {
    # In the worker's own process: a worker that is killed leaves nothing behind, and takes nothing over.
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "HF_HUB_OFFLINE": "1",
    # Spark runs a task a core: vLLM would bind each one's threads to the same cores.
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
}


class Serving:
    """`tokenizer` and `config` are the checkpoint's, `languages` the codes that it says it knows."""

    def __init__(self, spec: VllmCheckpoint, what: str, most_text_tokens: int, **arguments: Any) -> None:
        """`most_text_tokens`: of a request's prompt and answer together, beside the audio."""
        folder = spec.folder(what)
        os.environ.update(_ENVIRONMENT, OMP_NUM_THREADS=str(spec.cpu_threads))
        os.environ["VLLM_CPU_KVCACHE_SPACE"] = str(spec.cpu_cache_gib)
        import torch
        from vllm.engine.arg_utils import EngineArgs
        from vllm.v1.engine.llm_engine import LLMEngine

        if torch.cuda.is_available():
            torch.cuda.set_device(gpu_index(torch.cuda.device_count()))
        audio_tokens = int(_AUDIO_TOKENS_PER_S * spec.max_audio_s) + _AUDIO_TOKENS_PER_S
        most_tokens = audio_tokens + most_text_tokens + _TEXT_ROOM
        self._engine: Any = LLMEngine.from_engine_args(
            EngineArgs(
                model=str(folder),
                dtype=spec.dtype if spec.dtype != "auto" or torch.cuda.is_available() else "float32",
                quantization=spec.quantization,
                enforce_eager=spec.enforce_eager or not torch.cuda.is_available(),
                gpu_memory_utilization=spec.gpu_memory_utilization,
                max_num_seqs=spec.max_num_seqs,
                max_model_len=most_tokens,
                # The longest clip's audio in one step: else it does not fit into the encoder's cache.
                max_num_batched_tokens=max(8192, most_tokens),
                limit_mm_per_prompt={"audio": 1},
                enable_mm_embeds=True,
                # No request shares anything with another: its answer is to depend on itself alone.
                enable_prefix_caching=False,
                mm_processor_cache_gb=0,
                disable_log_stats=True,
                **arguments,
            )
        )
        self.tokenizer: Any = self._engine.get_tokenizer()
        self.config: Any = self._engine.model_config.hf_config
        self.languages = known(self.config.support_languages)
        extractor = self._processor().feature_extractor
        self._mel_filters = torch.tensor(extractor.mel_filters, dtype=torch.float32)

    def _processor(self) -> Any:
        from vllm.transformers_utils.processor import cached_processor_from_config

        return cached_processor_from_config(self._engine.model_config)

    def add(self, id: str, ids: Sequence[int], samples: Any, params: Any) -> None:
        """A request: `ids` with one placeholder for the audio. Raises ValueError for one that vLLM does not take.

        The encoder's convolutions pad each clip's last block to the longest block of all that is encoded with it, a
        second but where all are shorter, and their bias leaks from there: clips of at least a second have no company.
        """
        import torch

        missing = max(0, SAMPLE_RATE_HZ - len(samples))
        features = log_mel(np.pad(samples, (0, missing)), self._mel_filters)
        frames = features.shape[1]
        audio = {
            "input_audio_features": features,
            "audio_feature_lengths": torch.tensor([frames]),
            "feature_attention_mask": torch.ones(1, frames, dtype=torch.bool),
        }
        self._engine.add_request(id, {"prompt_token_ids": list(ids), "multi_modal_data": {"audio": audio}}, params)

    def drop(self, ids: Sequence[str]) -> None:
        """Requests that nobody waits for any more."""
        self._engine.abort_request(list(ids))

    def step(self) -> list[Any]:
        """vLLM's outputs of the requests that are done; none while there is nothing to do."""
        if not self._engine.has_unfinished_requests():
            return []
        with _engine_errors():
            return [output for output in self._engine.step() if output.finished]


@contextmanager
def _engine_errors() -> Iterator[None]:
    """What a step raises, no request is to blame for: vLLM does not go on after it."""
    try:
        yield
    except Exception as error:
        message = f"vLLM cannot go on in this process ({type(error).__name__}: {error}); Spark starts the task anew"
        raise EngineLost(message) from error
