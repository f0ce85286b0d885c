"""What the commands share: arguments, errors told as one sentence, and tables for the terminal."""

from __future__ import annotations

import argparse
import logging
import os
import re
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from py4j.protocol import Py4JJavaError, Py4JNetworkError
from pyspark.errors import PySparkException

from jobs.status import Status
from schemas.config import Config, ConfigError, load_config
from schemas.shipped import configurations
from transforms.errors import ExportError, LostClaims, MachineError, ManifestError, NoRecordings, RecordingError
from transforms.lake.refusals import refusal
from transforms.lake.session import NoJava
from transforms.logs import speak, tell
from transforms.search.embedder import EMBEDDED

_STATUS: dict[type[BaseException], Status] = {
    NoRecordings: Status.NONE_THERE,
    ConfigError: Status.NOT_USABLE,
    ManifestError: Status.NOT_USABLE,
    RecordingError: Status.NOT_USABLE,
    ExportError: Status.NOT_USABLE,
    MachineError: Status.MACHINE,
    NoJava: Status.MACHINE,
    LostClaims: Status.HELD,
}
"""Of the errors that a person can mend; the first that fits."""
_UNITS_S = {"s": 1, "m": 60, "h": 3600}
_OF_A_TASK = re.compile(r"transforms\.errors\.MachineError: (.+)")
"""In what Spark says of a task that failed."""
_JAVA_ENDED = (
    "Spark's Java process has ended under the job: it was killed, as by a scheduler's time limit, or had no memory "
    "left (spark.driver.memory). What was committed is kept; run it again"
)


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    names = ", ".join(sorted(configurations()))
    parser.add_argument(
        "--config", help=f"YAML file, or one that comes with Lakescribe: {names}; without it all defaults"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override one key, for example vad.threshold=0.6",
    )


def add_tables_arguments(parser: argparse.ArgumentParser, required: bool = True) -> None:
    parser.add_argument(
        "--tables", required=required, help="where the Delta tables are: a path or uri, or catalog.schema"
    )
    parser.add_argument("--verbose", action="store_true", help="let Spark talk")


def add_model_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        default=EMBEDDED,
        help="for search by meaning: a model of sentence-transformers, by its folder or its name on the hub "
        "(%(default)s, which knows English and comes with the extra `meaning`)",
    )


def load_arguments_config(options: argparse.Namespace) -> Config:
    config = load_config(options.config, options.set)
    speak(config.run.log)
    return config


@contextmanager
def exit_with_reason() -> Iterator[None]:
    """Turns an error that a person can mend into its message and an exit status; all others keep their trace."""
    speak("text")
    try:
        yield
    except tuple(_STATUS) as error:
        tell(str(error), logging.ERROR)
        raise SystemExit(next(status for kind, status in _STATUS.items() if isinstance(error, kind))) from None
    except (PySparkException, Py4JJavaError) as error:
        if (of_a_task := _OF_A_TASK.search(str(error))) is not None:
            tell(of_a_task.group(1), logging.ERROR)
            raise SystemExit(Status.MACHINE) from None
        if (refused := refusal(error)) is None:
            raise
        tell(refused.sentence, logging.ERROR)
        raise SystemExit(Status.MACHINE if refused.may_pass else Status.NOT_USABLE) from None
    except (Py4JNetworkError, ConnectionError) as error:
        if not _is_of_java(error):
            raise
        sys.last_value = error  # so that Spark's log is kept, and named
        tell(_JAVA_ENDED, logging.ERROR)
        raise SystemExit(Status.MACHINE) from None


def _is_of_java(error: BaseException | None) -> bool:
    """True if the error came of a connection to Java that broke: what is raised while ending may be another."""
    while error is not None and not isinstance(error, Py4JNetworkError):
        error = error.__cause__ or error.__context__
    return error is not None


def stopped_by_signals(told: str) -> threading.Event:
    """Set by SIGTERM or SIGINT, when `told` is said; a second one ends the process at once, which loses nothing."""
    stop = threading.Event()

    def handle(number: int, _: Any) -> None:
        if stop.is_set():
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        stop.set()
        tell(told)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handle)
    return stop


def seconds(text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text)
    if found is None or not float(found.group(1)):
        raise argparse.ArgumentTypeError(f"{text!r} is no time; write it as in 30s, 5m or 1h")
    return float(found.group(1)) * _UNITS_S[found.group(2) or "s"]


def table(header: list[str], rows: list[list[str]]) -> str:
    """Columns padded to their widest cell."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = [header, ["-" * width for width in widths], *rows]
    return "\n".join(
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )
