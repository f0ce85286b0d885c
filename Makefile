# `make` lists what there is. Everything runs in .venv, which `make setup` builds; later runs need no network.

PY := .venv/bin/python
AUDIO ?= examples/recordings.tsv
TABLES ?= ./lakehouse
TRIALS ?= 50
ARGS ?=

# zsh leaves the ~ of AUDIO=~/calls to us.
home = $(patsubst ~,$(HOME),$(patsubst ~/%,$(HOME)/%,$(1)))

# Stamps in .venv say which pinned lists it holds; a change of a list makes them old.
RUN_TIME := .venv/.run-time
CLASSES := .venv/spark.jsa
QWEN := .venv/.qwen
MEANING := .venv/.meaning
VLLM := .venv-vllm/.done
AIRFLOW := .venv-airflow/.done
S3 := .s3/.done
MINIO := v0.0.0-20260212201848-7aac2a2c5b7c
DEV := .venv/.dev

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup setup-qwen setup-meaning setup-vllm setup-airflow setup-s3 setup-dev demo demo-qwen serve test test-drivers test-lake test-cluster test-connect test-vllm test-airflow test-s3 check fix soak bench zip image-check log-store lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z%-]+:.*## / { printf "  make %-28s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(RUN_TIME) $(CLASSES) ## build .venv with the pinned packages, Delta's jars and the default model

setup-qwen: $(QWEN) ## the same and what the engine qwen needs (torch: 7 GB)

setup-meaning: $(MEANING) ## all of that and what search by meaning needs

setup-vllm: $(VLLM) ## build .venv-vllm beside it for the engine vllm, on a CPU (Linux; 7 GB)

setup-airflow: $(AIRFLOW) ## build .venv-airflow beside it, for the DAG in jobs/dags and its tests

setup-s3: $(S3) ## build the server (MinIO; needs Go) and fetch the jars (640 MB) for the tests on S3, into .s3

setup-dev: $(DEV) ## all of that and what tests and checks need

$(RUN_TIME): conf/requirements.txt conf/spark-gpu.conf $(addprefix conf/setup/,check.sh install.sh delta_jars.py delta-jars.sha256)
	@sh conf/setup/install.sh conf/requirements.txt
	@$(PY) conf/setup/delta_jars.py
	@$(PY) -c "from transforms.engines.model_files import model_folder; print('default model:', model_folder('base'))"
	@touch $@

# Not for the demo: it takes longer than one session gains by it.
$(CLASSES): $(RUN_TIME) conf/setup/java_classes.py
	@$(PY) conf/setup/java_classes.py

$(QWEN): $(RUN_TIME) conf/requirements-qwen.txt
	@sh conf/setup/install.sh conf/requirements-qwen.txt
	@touch $@

$(MEANING): $(QWEN) conf/requirements-meaning.txt
	@sh conf/setup/install.sh conf/requirements-meaning.txt
	@touch $@

# Not resolved again: vLLM's pins and ours agree only as conf/overrides-vllm.txt has it.
$(VLLM): conf/requirements-vllm.txt conf/setup/install.sh conf/setup/delta_jars.py
	@VENV=.venv-vllm OPTIONS=--no-deps sh conf/setup/install.sh conf/requirements-vllm.txt
	@.venv-vllm/bin/python conf/setup/delta_jars.py
	@touch $@

# Neither the project nor Spark: as conf/overrides-airflow.txt has it.
$(AIRFLOW): conf/requirements-airflow.txt conf/setup/install.sh
	@VENV=.venv-airflow OPTIONS=--no-deps sh conf/setup/install.sh conf/requirements-airflow.txt
	@touch $@

# A server of its own: neither the project nor what it is installed with.
$(S3): $(RUN_TIME) conf/setup/s3_jars.py conf/setup/s3-jars.sha256
	@command -v go >/dev/null || { echo "the tests on S3 build their server with Go: see https://go.dev/dl" >&2; exit 1; }
	@GOBIN="$(CURDIR)/.s3" go install github.com/minio/minio@$(MINIO)
	@$(PY) conf/setup/s3_jars.py .s3/jars
	@touch $@

$(DEV): $(MEANING) $(CLASSES) conf/requirements-dev.txt
	@sh conf/setup/install.sh conf/requirements-dev.txt
	@touch $@

demo: $(RUN_TIME) ## transcribe AUDIO (examples, or AUDIO=~/calls) into TABLES and show them
	@$(PY) -m jobs.demo --audio "$(call home,$(AUDIO))" --tables "$(call home,$(TABLES))"

demo-qwen: $(QWEN) ## the same job with the engine qwen on the tiny checkpoints of examples/tiny_qwen
	@$(PY) -m jobs.demo --config examples/tiny_qwen/config.yaml --audio examples/tiny_qwen/speech/recordings.tsv --tables ./lakehouse-qwen

test: $(DEV) ## run the tests, on two cores (ARGS="-k packing")
	@$(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not drivers" $(ARGS)

test-drivers: $(DEV) ## the tests that start drivers of their own: kills, several at once, README's commands, the package
	@$(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m drivers $(ARGS)

test-lake: $(DEV) ## the tests of lake and publishing with Spark's settings as they ship
	@SPARK_SETTINGS=shipped $(PY) -m pytest tests/lake/test_tables.py tests/lake/test_migration.py tests/publishing $(ARGS)

test-cluster: $(DEV) ## run the job on a standalone cluster on this machine, with feigned GPUs
	@$(PY) -m pytest tests/cluster $(ARGS)

test-connect: $(DEV) ## run what reads and publishes over Spark Connect, on a server on this machine
	@$(PY) -m pytest tests/connect $(ARGS)

test-vllm: $(DEV) $(VLLM) ## compare the engine vllm with qwen, and run the job on it
	@.venv-vllm/bin/python -m pytest tests/vllm tests/engines/test_contract.py -k vllm $(ARGS)

test-airflow: $(DEV) $(AIRFLOW) ## run the DAG in a real Airflow, with real spark-submit
	@.venv-airflow/bin/python -m pytest --confcutdir=tests/airflow tests/airflow $(ARGS)

test-s3: $(DEV) $(S3) ## run the job on a real S3 server, also while it fails
	@$(PY) -m pytest tests/s3 $(ARGS)

check: $(DEV) ## lint, formatting, types, imports between rooms
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy
	@.venv/bin/lint-imports --no-cache

fix: $(DEV) ## mend what lint and formatting can mend by themselves
	@$(PY) -m ruff check --fix .
	@$(PY) -m ruff format .

soak: $(DEV) ## kill the job TRIALS times and compare its tables
	@$(PY) -m tests.soak --trials $(TRIALS) $(ARGS)

bench: $(DEV) $(VLLM) ## all comparisons with peers, two hours (ARGS="--only short padding")
	@$(PY) -m benchmarks.table $(ARGS)

bench-%: $(DEV) ## run one benchmark of benchmarks/ (ARGS="...")
	@$(PY) -m benchmarks.$* $(ARGS)

zip: ## dist/lakescribe.zip for spark-submit --py-files
	@python3 conf/setup/make_zip.py dist/lakescribe.zip

image-check: ## build the image cpu without Docker and transcribe in it (root, Debian; needs buildah and debootstrap)
	@sh conf/image/check.sh

lock: ## write conf/requirements*.txt anew from the .in files (needs uv; ARGS=--upgrade)
	@for list in requirements requirements-qwen requirements-meaning requirements-dev; do \
		uv pip compile --quiet --universal --python-version 3.11 --no-header --no-emit-index-url --no-emit-find-links \
			--annotation-style line $(ARGS) conf/$$list.in --output-file conf/$$list.txt || exit 1; done
	@for list in vllm vllm-gpu airflow; do \
		uv pip compile --quiet --python-version 3.11 --python-platform linux --no-header --no-emit-index-url --no-emit-find-links \
			--annotation-style line $(ARGS) --override conf/overrides-$${list%-gpu}.txt conf/requirements-$$list.in \
			--output-file conf/requirements-$$list.txt || exit 1; done

serve: $(RUN_TIME) ## transcribe what is sent to http://127.0.0.1:8000/v1 (ARGS="--port 9000 --name whisper-1")
	@$(PY) -m jobs.serve --config local $(ARGS)

log-store: $(RUN_TIME) ## build conf/log-store.jar from conf/log_store (needs a JDK 17)
	@$(PY) conf/setup/log_store.py

clean: ## remove what was built, but neither .venv nor tables
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis spark-warehouse metastore_db derby.log
	find jobs transforms schemas tests benchmarks examples conf -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true
