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
