"""Stands in for the package where a job is started by its file, as `spark-submit jobs/transcribe.py` does: that puts
this folder on the path instead of the project's root, so that `import jobs` finds this file. It puts the root there and
gives way to the package. On a cluster, where the job's file comes alone, the zip of --py-files brings the package."""

import importlib
import sys
from pathlib import Path

if __name__ == "jobs":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    del sys.modules["jobs"]
    importlib.import_module("jobs")
