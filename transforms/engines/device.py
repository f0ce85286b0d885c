<<<<<<< HEAD """What CUDA says at the end of a GPU or of its memory, in the words of torch and of CTranslate2. Needs
neither."""

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
=======
"""Which GPU this task may use: the one place that asks Spark for it."""

from __future__ import annotations


def gpu_address() -> str | None:
    """The address of the GPU that Spark gave this task, as its discovery script told it; None without one, or outside
    a task."""
    from pyspark import TaskContext

    context = TaskContext.get()
    gpu = context.resources().get("gpu") if context is not None else None
    return gpu.addresses[0] if gpu is not None else None


def gpu_index(visible: int) -> int:
    """The task's GPU among the `visible` ones of this process; the first one where Spark gave none.

    An address that this process cannot see counts from what it does see: cluster managers that hide the other GPUs
    number the only visible one 0.
    """
    address = int(gpu_address() or 0)
    return address if address < visible else 0
>>>>>>> cluster
