"""Puts Delta's jars beside Spark's own in this environment: no later run needs the network or `spark.jars.packages`.

Which jars: `spark.jars.packages` less `spark.jars.excludes` of conf/spark-gpu.conf, fetched by Spark's own Ivy and held
against delta-jars.sha256 before any of them is used. With a company's mirror, LAKESCRIBE_IVY_SETTINGS names its
ivysettings.xml.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).parent
SPARK_CONF = HERE.parent / "spark-gpu.conf"
CHECKSUMS = HERE / "delta-jars.sha256"
OURS = (
    "io.delta_*.jar",
    "io.unitycatalog_*.jar",
)  # Ivy's names begin with the group, those of pyspark's own jars do not


def main() -> None:
    spec = find_spec("pyspark")
    if spec is None or spec.origin is None:
        sys.exit("pyspark is not installed for this Python: run `make setup`")
    spark_home = Path(spec.origin).parent
    wanted = dict(reversed(line.split()) for line in CHECKSUMS.read_text().splitlines())
    if present(spark_home / "jars") == wanted:
        return
    print(f"fetching Delta's {len(wanted)} jars")
    with tempfile.TemporaryDirectory() as scratch:
        fetched = fetch(spark_home, Path(scratch), spark_conf("spark.jars.packages", "spark.jars.excludes"))
        if (got := present(fetched)) != wanted:
            lines = "\n".join(f"{digest}  {name}" for name, digest in sorted(got.items()))
            sys.exit(f"the jars that came are not those of {CHECKSUMS.name}; for a new version it should be:\n{lines}")
        for pattern in OURS:
            for old in (spark_home / "jars").glob(pattern):
                old.unlink()
        for name in wanted:
            shutil.copy(fetched / name, spark_home / "jars" / name)


def present(folder: Path, patterns: tuple[str, ...] = OURS) -> dict[str, str]:
    """Name and sha256 of each jar in a folder: of Delta's, or of those that are called so."""
    jars = [jar for pattern in patterns for jar in folder.glob(pattern)]
    return {jar.name: hashlib.sha256(jar.read_bytes()).hexdigest() for jar in jars}


def fetch(spark_home: Path, scratch: Path, packages: dict[str, str]) -> Path:
    """The folder that Spark's Ivy put the jars of `packages` (settings of Spark) into, by way of a Spark program that
    does nothing."""
    nothing = scratch / "nothing.py"
    nothing.touch()
    settings = {"spark.jars.ivy": str(scratch / "ivy"), **packages}
    if mirror := os.environ.get("LAKESCRIBE_IVY_SETTINGS"):
        settings["spark.jars.ivySettings"] = mirror
    command = [str(spark_home / "bin" / "spark-submit"), "--master", "local[1]"]
    command += [word for key, value in settings.items() for word in ("--conf", f"{key}={value}")]
    # Another home, since Ivy would trust the user's Maven cache, where a pom without its jar makes it fail.
    options = f"{os.environ.get('SPARK_SUBMIT_OPTS', '')} -Duser.home={scratch}"
    environment = {
        **os.environ,
        "SPARK_HOME": str(spark_home),
        "SPARK_SUBMIT_OPTS": options,
        "SPARK_LOCAL_HOSTNAME": "localhost",  # while an image is built, the machine's own name may lead nowhere
        "PYSPARK_PYTHON": sys.executable,
        "PYSPARK_DRIVER_PYTHON": sys.executable,
    }
    done = subprocess.run([*command, str(nothing)], env=environment, capture_output=True, text=True)
    if done.returncode:
        print(done.stderr[-3000:], file=sys.stderr)
        sys.exit(
            "the jars could not be fetched: is Maven Central reachable? "
            "For a mirror, set LAKESCRIBE_IVY_SETTINGS to your ivysettings.xml"
        )
    return scratch / "ivy" / "jars"


def spark_conf(*keys: str) -> dict[str, str]:
    lines = [line.split(maxsplit=1) for line in SPARK_CONF.read_text().splitlines()]
    return {words[0]: words[1].strip() for words in lines if len(words) == 2 and words[0] in keys}


if __name__ == "__main__":
    main()
