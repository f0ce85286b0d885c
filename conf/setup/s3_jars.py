"""s3_jars.py FOLDER: puts the jars there with which Spark reads and writes S3 (hadoop-aws, AWS's SDK: 640 MB), as
delta_jars.py does Delta's. They are for the tests; clusters on AWS have them.
"""

import shutil
import sys
import tempfile
from pathlib import Path

import pyspark
from delta_jars import HERE, fetch, present

CHECKSUMS = HERE / "s3-jars.sha256"
HADOOP = "3.4.2"
"""That of Spark's own jars."""


def main(folder: Path) -> None:
    wanted = dict(reversed(line.split()) for line in CHECKSUMS.read_text().splitlines())
    if present(folder, ("*.jar",)) == wanted:
        return
    print(f"fetching {len(wanted)} jars for S3")
    with tempfile.TemporaryDirectory() as scratch:
        packages = {"spark.jars.packages": f"org.apache.hadoop:hadoop-aws:{HADOOP}"}
        fetched = fetch(Path(pyspark.__file__).parent, Path(scratch), packages)
        if (got := present(fetched, ("*.jar",))) != wanted:
            lines = "\n".join(f"{digest}  {name}" for name, digest in sorted(got.items()))
            sys.exit(f"the jars that came are not those of {CHECKSUMS.name}; for a new version it should be:\n{lines}")
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(fetched, folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
