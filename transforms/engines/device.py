"""What CUDA says at the end of a GPU or of its memory, in the words of torch and of CTranslate2. Needs neither."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from transforms.engines import EngineLost

_NO_MEMORY = re.compile(
    r"out of memory|can't allocate memory|not enough memory|unable to allocate|CUBLAS_STATUS_ALLOC_FAILED",
    re.IGNORECASE,
)
_LOST = re.compile(r"CUDA (error|failed|driver)|cuDNN (error|failed)|CUBLAS_STATUS|cuBLAS failed", re.IGNORECASE)


@contextmanager
def device_errors() -> Iterator[None]:
    """Turns a RuntimeError that speaks of memory into MemoryError (the caller halves the batch), and one of a dead CUDA
    context into EngineLost."""
    try:
        yield
    except RuntimeError as error:
        message = str(error)
        if _NO_MEMORY.search(message):
            raise MemoryError(message) from error
        if _LOST.search(message):
            raise EngineLost(
                f"the GPU cannot go on in this process ({message.splitlines()[0]}); Spark starts the task anew"
            ) from error
        raise
