"""What is in this process's memory."""

from __future__ import annotations

import gc
from typing import Any


def in_memory(kind: type) -> list[Any]:
    """The objects of this class that the garbage collector knows.

    By their type: isinstance asks a weak reference's proxy for the class of what it refers to, which raises
    ReferenceError once that is gone, and any library may leave such proxies.
    """
    return [thing for thing in gc.get_objects() if issubclass(type(thing), kind)]
