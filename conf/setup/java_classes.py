"""Keeps what Java makes of Spark's classes in .venv/spark.jsa, from which conf/spark-local.conf lets every later
session start in two thirds of the time (class data sharing, JEP 350). Without the file, or with another Java, it starts
as ever.

Runs itself under spark-submit to use the classes that the jobs use, on tables in a temporary folder.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
ARCHIVE = Path(sys.prefix) / "spark.jsa"


def main() -> None:
    print("preparing Spark's classes for a quicker start")
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch) / "spark.jsa"
        # In place of the file's own options, which name the archive that is to be made.
        options = f"-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:ArchiveClassesAtExit={made} -Xlog:cds=off"
        programs = Path(sys.executable).parent
        environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "PYSPARK_PYTHON": sys.executable}
        submit = [str(programs / "spark-submit"), "--driver-java-options", options]
        submit += ["--properties-file", str(ROOT / "conf" / "spark-local.conf")]
        log = Path(scratch) / "log"
        with log.open("w") as output:
            done = subprocess.run(
                [*submit, str(Path(__file__).resolve()), "use"],
                cwd=scratch,
                env=environment,
                stdout=output,
                stderr=output,
                check=False,
            )
        if done.returncode or not made.exists():
            print(f"not prepared, so Spark starts slower; it said:\n{log.read_text()[-2000:]}", file=sys.stderr)
            return
        shutil.copyfile(made, ARCHIVE.with_suffix(".new"))
        ARCHIVE.with_suffix(".new").replace(ARCHIVE)


def use() -> None:
    """What most jobs do: tables made, appended to through Python, merged, asked."""
    sys.path.insert(0, str(ROOT))
    from schemas.tables import RECORDINGS
    from transforms.lake.session import session
    from transforms.lake.tables import Tables
    from transforms.lake.views import show_in_session

    spark = session()
    with tempfile.TemporaryDirectory() as folder:
        tables = Tables(spark, folder)
        tables.create()
        columns = ["'a' AS audio_id", *(f"NULL AS {name}" for name in RECORDINGS.names[1:])]
        rows = spark.range(2).selectExpr(*columns).to(tables.read(RECORDINGS).schema)
        tables.append(RECORDINGS, rows.repartition(2).mapInArrow(lambda batches: batches, rows.schema))
        tables.upsert(RECORDINGS, rows.limit(1), ["uri"])
        show_in_session(tables)
        spark.sql("SELECT * FROM spoken_words ORDER BY confidence LIMIT 5").toArrow()


if __name__ == "__main__":
    use() if sys.argv[1:] else main()
