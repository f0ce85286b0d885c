"""The engine `vllm` beside `qwen`: the same checkpoints, the same answers. Runs in .venv-vllm: make test-vllm."""

from __future__ import annotations

import json
import random
import subprocess
import threading
from typing import Any

import numpy as np
import pytest
from pyspark.sql import SparkSession

from schemas.config import SAMPLE_RATE_HZ, ConfigError
from tests.e2e.checkout import environment
from tests.kit import delta_log
from tests.kit.driver import Driver, outlived
from tests.kit.lake import PUBLIC, ROOT, Lake, file_row, set_options, write_manifest
from tests.vllm.asked import TINY, answers, read, spec, utterances
from transforms.engines import Utterance, load_once
from transforms.errors import RecordingError
from transforms.recognition.second_try import recognizer_stream
from transforms.run.job import transcribe

QWEN = ROOT / ".venv" / "bin" / "python"
CONFIG = TINY / "config.yaml"


def in_the_other_environment(*arguments: str) -> str:
    done = subprocess.run(
        [QWEN, "-m", *arguments], cwd=ROOT, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def by_qwen() -> list[dict[str, Any]]:
    return json.loads(in_the_other_environment("tests.vllm.asked", "qwen").splitlines()[-1])


@pytest.fixture(scope="module")
def by_vllm() -> list[dict[str, Any]]:
    return json.loads(json.dumps(list(answers("vllm"))))


def test_texts_languages_and_flags_are_those_of_qwen(by_qwen: Any, by_vllm: Any) -> None:
    names = ("text", "language", "token_count", "finish", "flags")
    assert [{n: one[n] for n in names} for one in by_vllm] == [{n: one[n] for n in names} for one in by_qwen]
    assert sum(bool(one["text"]) for one in by_vllm) > 12
    assert any(not one["text"] for one in by_vllm)
    assert not any("<" in one["text"] for one in by_vllm)


def test_probabilities_are_those_of_qwen(by_qwen: Any, by_vllm: Any) -> None:
    """But for clips below a second, which are asked with silence behind them."""
    for asked, ours, theirs in zip(utterances(), by_vllm, by_qwen, strict=True):
        if len(asked.samples) < SAMPLE_RATE_HZ:
            continue
        assert ours["mean_logprob"] == pytest.approx(theirs["mean_logprob"], abs=0.01)
        theirs_of = [token["probability"] for token in theirs["tokens"]]
        assert [token["probability"] for token in ours["tokens"]] == pytest.approx(theirs_of, abs=0.01)
        for name in ("language_probability", "no_speech_probability"):
            assert ours[name] == pytest.approx(theirs[name], abs=0.01)


def test_word_times_are_those_of_qwen(by_qwen: Any, by_vllm: Any) -> None:
    names = ("word", "start_ms", "end_ms", "estimated", "char_start", "char_end")
    for ours, theirs in zip(by_vllm, by_qwen, strict=True):
        assert ours["timed"] == theirs["timed"]
        assert [[w[n] for n in names] for w in ours["words"]] == [[w[n] for n in names] for w in theirs["words"]]


def test_no_answer_is_that_of_another_request() -> None:
    """Whatever is computed beside it, and whatever was before."""
    asked = utterances()
    first = read(spec("recognizer", "vllm"), asked)
    places = list(range(len(asked))) * 3
    random.Random(1).shuffle(places)
    again = read(spec("recognizer", "vllm"), [asked[place] for place in places])
    assert [one.text for one in again] == [first[place].text for place in places]


def test_what_a_task_left_behind_is_no_answer_of_the_next_one() -> None:
    engine, asked = load_once(spec("recognizer", "vllm")), utterances()
    left = recognizer_stream(engine, None, threading.Condition())  # type: ignore[arg-type]
    for utterance in asked[5:]:
        left.submit("left", utterance)
    assert [one.text for one in read(spec("recognizer", "vllm"), asked[:5])] == [
        one.text for one in read(spec("recognizer", "vllm"), asked[:5])
    ]
    assert not engine.engine._asked


@pytest.mark.parametrize(
    ("bad", "kind"),
    [
        (Utterance(np.full(16_000, np.nan, np.float32)), "not_finite"),
        (Utterance(np.zeros(16_000, np.float32), language="sw"), "language"),
        (Utterance(np.zeros(61 * 16_000, np.float32)), "too_long"),
    ],
)
def test_a_bad_utterance_costs_only_itself(bad: Utterance, kind: str) -> None:
    good = utterances()[0]
    error, fine = read(spec("recognizer", "vllm"), [bad, good])
    assert isinstance(error, RecordingError) and error.kind == kind
    assert fine.text == read(spec("recognizer", "vllm"), [good])[0].text != ""


def test_a_checkpoint_that_it_does_not_know_is_refused_on_the_driver() -> None:
    from transforms.engines.vllm.recognizer import VllmSpec

    with pytest.raises(ConfigError, match="an aligner of the Qwen3-ASR family where a recognizer is asked for"):
        VllmSpec(model=str(TINY / "aligner")).checked()
    with pytest.raises(ConfigError, match="gpu_memory_utilization"):
        VllmSpec(model=str(TINY / "recognizer"), gpu_memory_utilization=1.5).checked()


SETTINGS = (
    f"engine.options.model={TINY / 'recognizer'}",
    "engine.name=vllm",
    "aligners=[vllm]",
    f"aligner_options.vllm.model={TINY / 'aligner'}",
)
NOISY = delta_log.RUN_COLUMNS | {"confidence", "engine", "aligner", "run_key", "model"}
"""The last digits of confidence depend on the engine; the others name it."""


@pytest.fixture(scope="module")
def manifest() -> list[dict[str, Any]]:
    return [file_row(path) for path in sorted((TINY / "speech").glob("*.flac"))]


@pytest.fixture(scope="module")
def lake(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory, manifest: list[dict[str, Any]]) -> Lake:
    from schemas.config import load_config

    made = Lake(spark, tmp_path_factory.mktemp("vllm"))
    path = write_manifest(made.folder / "manifest.parquet", manifest)
    config = load_config(CONFIG, [*SETTINGS, "run.progress_s=60"])
    summary = transcribe(spark, config, str(path), str(made.root))
    assert (summary.recordings, summary.failed) == (len(manifest), 0)
    return made


def test_the_job_s_tables_are_those_of_qwen(lake: Lake, manifest: list[dict[str, Any]]) -> None:
    path, root = lake.folder / "manifest.parquet", lake.folder / "by_qwen"
    models = set_options(SETTINGS[0], f"aligner_options.qwen.model={TINY / 'aligner'}")
    where = ("--manifest", str(path), "--tables", str(root))
    in_the_other_environment("jobs.transcribe", "--config", str(CONFIG), *models, *where)
    for table in ("segments", "words"):
        assert delta_log.contents(lake.root, table, NOISY) == delta_log.contents(root, table, NOISY), table
    texts = [
        {row["uri"]: (row["text"], row["status"], row["flags"]) for row in delta_log.rows(r, "recordings")}
        for r in (lake.root, root)
    ]
    assert texts[0] == texts[1]


def test_killed_in_the_middle_it_leaves_no_process_and_ends_in_the_same_tables(
    lake: Lake, manifest: list[dict[str, Any]], tmp_path: Any
) -> None:
    path = write_manifest(tmp_path / "manifest.parquet", manifest)
    settings = ("--config", str(CONFIG), *set_options(*SETTINGS, "run.wave_audio_hours=0.008", "run.waves_at_once=1"))
    job = Driver(path, tmp_path / "tables", tmp_path / "calls_0.log", settings)
    while delta_log.version(job.root, "chunks") < 1 and not job.ended:
        assert job.seconds < 400
        threading.Event().wait(0.2)
    assert not job.ended, job.said()[-3000:]
    processes = job.all_processes()
    job.kill()
    assert not outlived(processes)
    again = Driver(path, tmp_path / "tables", tmp_path / "calls_1.log", settings)
    assert again.wait() == 0, again.said()[-3000:]
    for table in PUBLIC:
        noisy = delta_log.RUN_COLUMNS | {"confidence"}
        assert delta_log.contents(job.root, table, noisy) == delta_log.contents(lake.root, table, noisy), table
