"""The README's commands, run in order as they stand."""

from __future__ import annotations

import re
from pathlib import Path

from tests.e2e.checkout import ROOT, copy_project, run
from tests.kit.lake import QUICK_SUBMIT

BLOCK = re.compile(r"<!-- tested -->\n```sh\n(.*?)```", re.DOTALL)


def test_the_commands_of_the_readme_work_in_order(tmp_path: Path) -> None:
    blocks = BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    assert len(blocks) >= 5
    copy_project(tmp_path)
    outputs = []
    for block in blocks:
        quickly = f"export PYSPARK_SUBMIT_ARGS='{QUICK_SUBMIT['PYSPARK_SUBMIT_ARGS']}'"
        done = run(["bash", "-euo", "pipefail", "-c", f"{quickly}\n{block}"], tmp_path)
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
        outputs.append(done.stdout + done.stderr)
    assert "2 recordings (0 failed" in outputs[0]
    assert re.search(r"voice_memo\.m4a\s*\|\s*en\s*\|", outputs[0])
    assert outputs[1].count("|") > 20, "the query over words shows rows"
    assert "threshold: 0.6" in outputs[2]
    assert "2 recordings published" in outputs[3]
    assert outputs[4].count("2 files of 2 recordings") == 2
    assert "nothing to do" in outputs[5], "spark-submit finds what the first command made"
