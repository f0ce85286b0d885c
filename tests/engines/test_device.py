"""A dead GPU, or one whose memory is at an end, is not the utterance's fault."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from schemas.config import RetryConfig
from transforms.engines import EngineLost, Utterance
from transforms.engines.device import device_errors
from transforms.engines.whisper import WhisperSpec
from transforms.recognition.second_try import Tries, recognize_all


class DeadModel:
    """CTranslate2's Whisper after its context died: every call raises `message`."""

    is_multilingual = False

    def __init__(self, message: str) -> None:
        self._message = message

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(self._message)


@pytest.mark.parametrize(
    "message",
    [
        "CUDA failed with error an illegal memory access was encountered",
        "CUDA failed with error unspecified launch failure",
        "cuBLAS failed with status CUBLAS_STATUS_EXECUTION_FAILED",
        "cuDNN failed with status CUDNN_STATUS_EXECUTION_FAILED",
        "CUDA failed with error out of memory",
    ],
)
def test_a_dead_gpu_under_whisper_fails_the_task(message: str) -> None:
    engine = WhisperSpec("tiny.en").load()
    engine._model = DeadModel(message)
    utterances = [Utterance(np.zeros(16_000, np.float32), "en")] * 4
    with pytest.raises(EngineLost) as lost:
        recognize_all(engine, utterances, RetryConfig(), Tries())
    assert ("with one utterance of 1.0 s" in str(lost.value)) == ("out of memory" in message)


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("CUDA error: device-side assert triggered", EngineLost),
        ("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR", EngineLost),
        ("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm`", EngineLost),
        ("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", MemoryError),
        ("CUDA out of memory. Tried to allocate 2.00 GiB", MemoryError),
        ("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes", MemoryError),
        ("the input has 5 channels", RuntimeError),
    ],
)
def test_what_torch_says_is_told_apart(message: str, kind: type[Exception]) -> None:
    with pytest.raises(kind) as raised, device_errors():
        raise RuntimeError(message)
    assert raised.type is kind
