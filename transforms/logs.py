"""What is told on the standard error: sentences for people, or with run.log=json an object a line.

The objects are those of Spark's own structured logs, and pyspark.logger.SPARK_LOG_SCHEMA reads both: ts (UTC), level,
logger, msg, context, exception.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

Form = Literal["text", "json"]

_LOG = logging.getLogger("lakescribe")
_TASKS = logging.getLogger("lakescribe.task")
_TASKS.addHandler(logging.NullHandler())
"""In text, tasks say nothing."""
_context: dict[str, Any] = {}
_RELAYED_S = 0.2


def speak(form: Form, **context: Any) -> None:
    """From now on this process tells things in this form, and with each what it is about."""
    handler = _StandardError()
    handler.setFormatter(_json() if form == "json" else _Sentences())
    _LOG.handlers[:] = [handler]
    _LOG.propagate = False
    _LOG.setLevel(logging.INFO)
    if form == "json":
        sys.excepthook = _tell_trace
    elif sys.excepthook is _tell_trace:
        sys.excepthook = sys.__excepthook__
    _context.clear()
    about(**context)


def about(**context: Any) -> None:
    """What this process is at work on, from now on."""
    _context.update(context)


def in_json() -> bool:
    return any(not isinstance(handler.formatter, _Sentences) for handler in _LOG.handlers)


def tell(sentence: str, level: int = logging.INFO, /, **context: Any) -> None:
    _LOG.log(level, sentence, extra={"context": context})


def tell_of_task(sentence: str, level: int = logging.INFO, /, **context: Any) -> None:
    """From a task, which is silent in text."""
    _TASKS.log(level, sentence, extra={"context": context})


class _StandardError(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        record.__dict__["context"] = _context | record.__dict__.get("context", {})
        print(self.format(record), file=sys.stderr, flush=True)


class _Sentences(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return f"error: {record.getMessage()}" if record.levelno >= logging.ERROR else record.getMessage()


def _json() -> logging.Formatter:
    from pyspark.logger.logger import JSONFormatter

    formatter = JSONFormatter()
    formatter.converter = time.gmtime
    formatter.default_time_format, formatter.default_msec_format = "%Y-%m-%dT%H:%M:%S", "%s.%03dZ"
    return formatter


def _tell_trace(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    _LOG.critical(f"{kind.__name__}: {error}", exc_info=(kind, error, trace))


class Relay:
    """Passes on what tasks of this machine write into Spark's log: the objects, and no other line."""

    def __init__(self, log: Path) -> None:
        self._file, self._begun = log.open(encoding="utf-8", errors="replace"), ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, daemon=True, name="relay")
        self._thread.start()

    def end(self) -> None:
        self._stop.set()
        self._thread.join()
        self._pass_on()
        self._file.close()

    def _loop(self) -> None:
        while not self._stop.wait(_RELAYED_S):
            self._pass_on()

    def _pass_on(self) -> None:
        *lines, self._begun = (self._begun + self._file.read()).split("\n")
        for line in lines:
            if line.startswith("{"):
                print(line, file=sys.stderr, flush=True)
