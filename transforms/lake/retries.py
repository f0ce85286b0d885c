"""Delta's commits are optimistic: whoever comes second over the same files starts anew."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from delta.exceptions import (
    ConcurrentAppendException,
    ConcurrentDeleteDeleteException,
    ConcurrentDeleteReadException,
    ConcurrentWriteException,
    MetadataChangedException,
    ProtocolChangedException,
)

_CONFLICTS = (
    ConcurrentAppendException,
    ConcurrentDeleteDeleteException,
    ConcurrentDeleteReadException,
    ConcurrentWriteException,
    MetadataChangedException,
    ProtocolChangedException,
)
"""Not ConcurrentTransactionException: its writer was fenced off (Tables.fence), or wrote twice."""
_TRIES = 12
_LONGEST_WAIT_S = 8.0

Result = TypeVar("Result")


def retried(write: Callable[[], Result]) -> Result:
    """`write`, again where another writer or jobs.maintain came between: 12 times at most, at longer and longer
    intervals."""
    for attempt in range(1, _TRIES + 1):
        try:
            return write()
        except _CONFLICTS:
            if attempt == _TRIES:
                raise
            time.sleep(random.uniform(0.1, 1.0) * min(_LONGEST_WAIT_S, 0.2 * 2**attempt))
    raise AssertionError("unreachable")
