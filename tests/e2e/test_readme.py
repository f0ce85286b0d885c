"""The commands of the README and of the pages in docs/, run as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.e2e.checkout import ROOT, copy_project, run
from tests.kit.lake import QUICK_SUBMIT

BLOCK = re.compile(r"<!-- tested -->\n```sh\n(.*?)```", re.DOTALL)
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
"""Each page goes on from what the README's commands have made."""


@pytest.mark.drivers
def test_the_commands_of_readme_and_docs_work_in_order(tmp_path: Path) -> None:
    copy_project(tmp_path)
    quickly = f"export PYSPARK_SUBMIT_ARGS='{QUICK_SUBMIT['PYSPARK_SUBMIT_ARGS']}'"
    outputs: dict[str, list[str]] = {}
    for page in PAGES:
        for block in BLOCK.findall(page.read_text(encoding="utf-8")):
            done = run(["bash", "-euo", "pipefail", "-c", f"{quickly}\n{block}"], tmp_path)
            assert done.returncode == 0, f"{page.name}\n{block}\n{done.stdout}\n{done.stderr}"
            outputs.setdefault(page.stem, []).append(done.stdout + done.stderr)
    transcribed, asked = outputs.pop("README")
    assert "2 recordings (0 failed" in transcribed
    assert re.search(r"voice_memo\.m4a\s*\|\s*en\s*\|", transcribed)
    assert asked.count("|") > 20, "the query over words shows rows"
    (submitted,) = outputs.pop("cluster")
    assert "nothing to do" in submitted, "spark-submit finds what the first command made"
    shown, published = outputs.pop("configuration")
    assert "threshold: 0.6" in shown
    assert "2 recordings published" in published
    (exported,) = outputs.pop("exports")
    assert exported.count("2 files of 2 recordings") == 3
    (measured,) = outputs.pop("monitoring")
    assert 'lakescribe_recordings{status="ok"} 2.0' in measured
    (watched,) = outputs.pop("watching")
    assert "1 recordings (0 failed" in watched
    assert not outputs
