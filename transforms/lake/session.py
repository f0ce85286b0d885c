"""The Spark session: spark-submit's own if it started us, else a local one with the settings of
conf/spark-local.conf."""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.resources.abc import Traversable
from pathlib import Path

import pyspark
from pyspark.sql import SparkSession

from schemas.config import ConfigError
from schemas.shipped import conf
from transforms.errors import MachineError
from transforms.lake.context import has_context, is_over_connect
from transforms.logs import Relay, in_json, tell
from transforms.packages import require_packages
from transforms.stores.scratch import hold, sweep

_ROOT = Path(__file__).resolve().parents[2]
"""What must be on the Python workers' path: the checkout, or the environment's packages."""
_MIN_JAVA = 17
_LOG_PREFIX = "lakescribe-spark-"
_LOG_KEPT_S = 86_400.0
"""A log that its process could not remove, since it failed or was killed, is there for so long at least."""
_BYTES_PER_ARROW_BATCH = 32 << 20
_ANSWERS_WITHIN_S = 30.0
_OVER_CONNECT = [f"jobs.{name}" for name in ("publish", "search", "export", "evaluate", "report", "sql")]


class NoJava(RuntimeError):
    """Java is missing or too old; the message says how to install it."""


def session(verbose: bool = False, *, over_connect: bool = False) -> SparkSession:
    """Quiet unless `verbose`: what Java and the decoders' libraries say goes to a file. Raises NoJava before Spark
    could fail in its own words. `over_connect`: the caller can do without a driver of its own; raises ConfigError if
    it cannot, and SPARK_REMOTE names a Spark Connect server; MachineError if that does not answer."""
    builder = SparkSession.builder.appName("lakescribe")
    if is_over_connect():
        return _connected(builder, over_connect)
    if "PYSPARK_GATEWAY_PORT" in os.environ:  # spark-submit started us and has set all this
        return builder.getOrCreate()
    check_java()
    spark_home = Path(os.environ.get("SPARK_HOME") or Path(pyspark.__file__).parent)
    settings = read_conf(conf() / "spark-local.conf") | log_store() | missing_jars(spark_home)
    for key, value in settings.items():
        builder = builder.config(key, value)
    # Python workers start as python3 from the PATH otherwise, which need not be this environment.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    os.environ["PYTHONPATH"] = os.pathsep.join(
        dict.fromkeys([str(_ROOT), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))])
    )
    if verbose:
        return builder.config("spark.log.level", "WARN").getOrCreate()
    logging.getLogger("SQLQueryContextLogger").setLevel(logging.CRITICAL)  # it repeats every exception as JSON
    sweep(_LOG_PREFIX, _LOG_KEPT_S)
    with tempfile.NamedTemporaryFile(prefix=_LOG_PREFIX, suffix=".log", delete=False) as log:
        hold(log.fileno())  # as Java does, too, which inherits it
        spark = _started_quietly(builder.config("spark.log.level", "ERROR"), log.fileno(), log.name)
    atexit.register(_end_log, Path(log.name))
    if in_json():
        atexit.register(Relay(Path(log.name)).end)
    return spark


def _connected(builder: SparkSession.Builder, over_connect: bool) -> SparkSession:
    """The settings are the server's."""
    if not over_connect:
        raise ConfigError(
            f"this command needs a driver of its own, and SPARK_REMOTE leads to a Spark Connect server, where "
            f"{', '.join(_OVER_CONNECT[:-1])} and {_OVER_CONNECT[-1]} run; unset SPARK_REMOTE, or use spark-submit"
        )
    require_packages("Spark Connect", ("grpc", "grpc_status", "zstandard"), "'lakescribe[connect]'")
    import delta.connect.exceptions  # noqa: F401  # so that its errors come with their names

    if (address := os.environ.get("SPARK_REMOTE", "")).startswith("sc:"):
        _reach(address)
    return builder.getOrCreate()


def _reach(address: str) -> None:
    """Raises ConfigError or MachineError: Spark's client would try in silence for ten minutes and more."""
    import grpc
    from pyspark.sql.connect.client import DefaultChannelBuilder

    where = address.partition(";")[0]  # a token may follow
    try:
        channel = DefaultChannelBuilder(address).toChannel()
    except ValueError as error:
        raise ConfigError(
            f"SPARK_REMOTE is {where}, which is no address as in sc://spark.example.com:15002: {first_line(error)}"
        ) from None
    with channel:
        try:
            grpc.channel_ready_future(channel).result(_ANSWERS_WITHIN_S)
        except grpc.FutureTimeoutError:
            raise MachineError(
                f"the Spark Connect server of SPARK_REMOTE, {where}, has not answered for {_ANSWERS_WITHIN_S:.0f} s; "
                f"start it, or correct the address"
            ) from None


def _end_log(log: Path) -> None:
    """At the end of the process: what Spark said is of interest where something was raised that nobody caught."""
    if hasattr(sys, "last_value"):
        tell(f"what Spark said is in {log}", logging.WARNING)
    else:
        log.unlink(missing_ok=True)


def _started_quietly(builder: SparkSession.Builder, log: int, name: str) -> SparkSession:
    """Java and the Python workers inherit what they are started with: for that moment the output and the errors of this
    process go to the log file. On the output are a command's results alone; VACUUM, for one, would talk there."""
    sys.stdout.flush()
    sys.stderr.flush()
    terminal = {number: os.dup(number) for number in (1, 2)}
    try:
        for number in terminal:
            os.dup2(log, number)
        return builder.getOrCreate()
    except Exception:
        os.dup2(terminal[2], 2)
        tell(f"Spark did not start; what it said is in {name}", logging.WARNING)
        raise
    finally:
        for number, own in terminal.items():
            os.dup2(own, number)
            os.close(own)


def log_store() -> dict[str, str]:
    """The settings with which commits on a disk are made by hard links (conf/log_store): as Delta makes them there, two
    drivers may both have written one version, and what one of them wrote is lost."""
    return {
        "spark.driver.extraClassPath": str(conf() / "log-store.jar"),
        "spark.delta.logStore.file.impl": "lakescribe.LinkedLogStore",
    }


def missing_jars(spark_home: Path) -> dict[str, str]:
    """The settings that fetch Delta's jars, where Spark's own folder lacks them: `make setup` puts them there, an
    installation by pip does not. Ivy keeps what it has fetched from Maven Central."""
    if any((spark_home / "jars").glob("*delta-spark_*.jar")):
        return {}
    tell("Delta's jars are not beside Spark's own: Spark takes them from Maven Central", logging.WARNING)
    cluster = read_conf(conf() / "spark-gpu.conf")
    return {key: cluster[key] for key in ("spark.jars.packages", "spark.jars.excludes")}


def read_conf(path: Traversable) -> dict[str, str]:
    """A Spark properties file: 'key value' lines, # comments."""
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    pairs = [line.split(None, 1) for line in lines if line and not line.startswith("#")]
    return {key: value.strip() for key, value in pairs}


def check_java() -> None:
    java = str(Path(os.environ["JAVA_HOME"]) / "bin" / "java") if os.environ.get("JAVA_HOME") else shutil.which("java")
    install = "install it with 'apt-get install openjdk-17-jre-headless' or 'brew install openjdk@17'"
    if java is None:
        raise NoJava(f"Spark needs Java {_MIN_JAVA} or newer and there is none; {install}")
    text = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    major = text.partition('version "')[2].partition('"')[0].split(".")[0]
    if not major.isdigit() or int(major) < _MIN_JAVA:
        raise NoJava(
            f"Spark needs Java {_MIN_JAVA} or newer and {java} is {text.splitlines()[0] if text else 'none'}; {install}"
        )


def first_line(error: Exception) -> str:
    """What Spark says, without the plan or the Java stack that it prints below."""
    return str(error).strip().splitlines()[0]


def own_session(spark: SparkSession) -> SparkSession:
    """Another session on the same executors, with settings of its own that begin as those of `spark`."""
    if not has_context(spark):
        return spark.cloneSession()  # type: ignore[attr-defined, no-any-return]
    other = spark.newSession()
    for key, value in spark.conf.getAll.items():
        if spark.conf.isModifiable(key):
            other.conf.set(key, value)
    return other


def limit_arrow_batches(spark: SparkSession) -> None:
    """So that rows of any size (a recording's bytes, all its words) stream into a task, instead of arriving whole."""
    spark.conf.set("spark.sql.execution.arrow.maxBytesPerBatch", str(_BYTES_PER_ARROW_BATCH))


@contextmanager
def settings(spark: SparkSession, values: Mapping[str, str]) -> Iterator[None]:
    """Settings of the session that hold for a while; other threads on it see them too."""
    before = {key: spark.conf.get(key, None) for key in values}
    try:
        for key, value in values.items():
            spark.conf.set(key, value)
        yield
    finally:
        for key, old in before.items():
            spark.conf.unset(key) if old is None else spark.conf.set(key, old)
