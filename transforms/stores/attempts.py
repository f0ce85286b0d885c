"""What a store refuses today it may grant in a second: tried again, at longer and longer intervals of random length."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential, wait_random

from schemas.config import FetchConfig
from transforms.errors import RecordingError
from transforms.stores.reasons import explain

_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 20.0

Result = TypeVar("Result")


def tried(action: Callable[[], Result], name: str, config: FetchConfig) -> Result:
    """What `action` returns, asked `config.attempts` times at most while its error may pass. `name` is for messages.

    Raises RecordingError or MachineError, as reasons.explain has it. No other layer may try again, or their numbers
    multiply: see fetch.open_filesystem.
    """
    again = Retrying(
        stop=stop_after_attempt(config.attempts),
        wait=wait_exponential(_FIRST_WAIT_S, _LONGEST_WAIT_S) + wait_random(0, _FIRST_WAIT_S),
        retry=retry_if_exception(lambda error: isinstance(error, RecordingError) and error.transient),
        reraise=True,
    )
    result: Result = again(_explained, action, name)
    return result


def _explained(action: Callable[[], Result], name: str) -> Result:
    try:
        return action()
    except RecordingError:
        raise
    except Exception as error:  # what a filesystem raises is its plug-in's choice: all is explained, none is dropped
        raise explain(error, name) from error
