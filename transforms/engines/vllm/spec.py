"""What the specs of recognizer and aligner say of vLLM's engine. Needs neither vLLM nor torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from schemas.config import ConfigError
from transforms.engines.qwen.checkpoint import Checkpoint, Kind

PACKAGES = ("torch", "transformers", "vllm")
INSTALL = "'lakescribe[vllm]' in an environment of its own, or make setup-vllm"


@dataclass(frozen=True)
class VllmCheckpoint(Checkpoint):
    """`gpu_memory_utilization`: the share of the GPU's memory that this model and its cache may take (vLLM reserves it
    at once; recognizer and aligner share a GPU). `cpu_cache_gib`: of the cache, where there is no GPU. `max_num_seqs`:
    requests computed at once. `max_audio_s`: the longest clip; the encoder's cache is made for it. `quantization`: as
    vLLM calls it, such as 'fp8'. `enforce_eager`: no CUDA graphs; starts sooner, computes slower."""

    gpu_memory_utilization: float = 0.45
    cpu_cache_gib: int = 1
    max_num_seqs: int = 256
    max_audio_s: float = 60.0
    quantization: str | None = None
    enforce_eager: bool = False

    @property
    def thread(self) -> str:
        """vLLM keeps what is being computed in global variables."""
        return "vllm"

    @property
    def longest_s(self) -> float:
        return self.max_audio_s

    @property
    def vllm_key(self) -> Mapping[str, Any]:
        """What of this changes results."""
        return {**self.model_key, "name": "vllm", "quantization": self.quantization}

    def in_vllm(self, kind: Kind, what: str) -> tuple[Self, dict[str, Any]]:
        """As `pinned`. Raises ConfigError."""
        if not 0 < self.gpu_memory_utilization <= 1 or self.cpu_cache_gib < 1:
            raise ConfigError(f"{what}: gpu_memory_utilization is in (0, 1] and cpu_cache_gib at least 1: {self}")
        if self.max_num_seqs < 1 or self.max_audio_s <= 0:
            raise ConfigError(f"{what}: max_num_seqs ≥ 1 and max_audio_s > 0 are asked for: {self}")
        return self.pinned(kind, what, PACKAGES, INSTALL)
