"""The driver and the executors without an engine must not need one, nor wait for torch to load."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

_ENGINES = [
    "torch",
    "qwen_asr",
    "vllm",
    "faster_whisper",
    "ctranslate2",
    "pocketsphinx",
    "transformers",
    "sentence_transformers",
]
_LOADED_WITH_THE_MODEL = {
    f"transforms.engines.qwen.{name}" for name in ("attention", "network", "decoding", "graphs", "growing", "packed")
}
"""Import torch, as modules that nothing imports before a model is loaded."""
_ROOT = Path(__file__).parent.parent
_SCRIPT = """
import importlib, json, sys
for name in json.loads(sys.argv[1]):
    importlib.import_module(name)
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def _modules() -> list[str]:
    paths = [path for room in ("jobs", "transforms", "schemas") for path in (_ROOT / room).rglob("*.py")]
    paths = [path for path in paths if path.parent.name != "dags"]  # Airflow's, in an environment of its own
    return [".".join(path.relative_to(_ROOT).with_suffix("").parts).removesuffix(".__init__") for path in paths]


def test_importing_the_whole_project_imports_no_engine() -> None:
    modules = _modules()
    assert {"jobs.transcribe", "transforms.recognition.task", "transforms.engines.whisper", "schemas.config"} <= set(
        modules
    )
    assert set(modules) >= _LOADED_WITH_THE_MODEL
    modules = [name for name in modules if name not in _LOADED_WITH_THE_MODEL]
    assert {"transforms.engines.qwen.recognizer", "transforms.engines.qwen.aligner"} <= set(modules)
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, json.dumps(modules)],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert set(_ENGINES) & set(json.loads(done.stdout)) == set()
