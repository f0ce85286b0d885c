# Three images from one file: docker build --target cpu|gpu|vllm -t lakescribe:cpu .
# Each runs any command on one machine, and is driver and executor of Spark on Kubernetes (conf/image/entrypoint.sh).
# Models are not in them, but for Whisper base, which is a Python package: mount a folder, and name it in the configuration.

# The same images from a company's registry: --build-arg PYTHON_IMAGE=…
ARG PYTHON_IMAGE=python:3.11.15-slim-bookworm
ARG CUDA_IMAGE=nvidia/cuda:12.8.1-devel-ubuntu22.04

# Spark: Java, pyspark with Delta's jars where Spark's own images have them, and whom to run as.
FROM ${PYTHON_IMAGE} AS spark
# 185 is the user of Spark's own images. Group 0 may write what it may, for clusters that give each container a number of
# its own; such a user must have a name, or Java finds none (entrypoint.sh).
RUN apt-get update \
    && apt-get install -y --no-install-recommends openjdk-17-jre-headless tini \
    && rm -rf /var/lib/apt/lists/* \
    && ln -s "java-17-openjdk-$(dpkg --print-architecture)" /usr/lib/jvm/java-17 \
    && useradd --system --uid 185 --gid 0 --create-home spark \
    && mkdir /data \
    && ln -s /opt/lakescribe/examples /data/examples \
    && chown 185:0 /data \
    && chmod -R g=u /home/spark /data /etc/passwd \
    && python -m venv /opt/venv
ENV JAVA_HOME=/usr/lib/jvm/java-17 \
    SPARK_HOME=/opt/spark \
    PATH=/opt/venv/bin:/opt/spark/bin:$PATH \
    PYSPARK_PYTHON=/opt/venv/bin/python \
    PYTHONPATH=/opt/lakescribe \
    PYTHONUNBUFFERED=1 \
    HOME=/home/spark
WORKDIR /opt/setup
COPY conf/requirements.txt conf/
# Not below /opt/venv, so that Kubernetes finds /opt/spark as in Spark's own images. The lists are whole: nothing is resolved.
RUN pip install --no-cache-dir --no-deps --constraint conf/requirements.txt py4j pyspark \
    && mv /opt/venv/lib/python3.11/site-packages/pyspark /opt/spark \
    && ln -s /opt/spark /opt/venv/lib/python3.11/site-packages/pyspark
COPY conf/spark-gpu.conf conf/
COPY conf/setup/delta_jars.py conf/setup/delta-jars.sha256 conf/setup/
RUN python conf/setup/delta_jars.py
WORKDIR /data
ENTRYPOINT ["/opt/entrypoint.sh"]
CMD ["python", "-m", "jobs"]

# What is ours. Last in each image: a change of the code is a layer of some MB.
FROM scratch AS project
COPY LICENSE README.md /opt/lakescribe/
COPY schemas /opt/lakescribe/schemas
COPY transforms /opt/lakescribe/transforms
COPY jobs /opt/lakescribe/jobs
COPY conf/*.yaml conf/*.conf conf/*.tsv conf/log-store.jar /opt/lakescribe/conf/
COPY conf/image/entrypoint.sh /opt/entrypoint.sh
COPY conf/image/gpus.sh /opt/spark/examples/src/main/scripts/getGpusResources.sh
COPY examples/recordings.tsv /opt/lakescribe/examples/
COPY examples/audio /opt/lakescribe/examples/audio

FROM spark AS packages
RUN --mount=type=bind,source=conf/requirements.txt,target=/tmp/list \
    pip install --no-cache-dir --no-deps --requirement /tmp/list

FROM packages AS cpu
COPY --from=project /opt /opt
USER 185

# Qwen3-ASR on torch. CUDA's libraries are 4 GB of the 7: they have a layer of their own, which a new torch seldom changes.
FROM packages AS qwen
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
RUN --mount=type=bind,source=conf/requirements-qwen.txt,target=/tmp/list \
    grep -E '^(nvidia|cuda)-' /tmp/list | pip install --no-cache-dir --no-deps --requirement /dev/stdin
RUN --mount=type=bind,source=conf/requirements-qwen.txt,target=/tmp/list \
    pip install --no-cache-dir --no-deps --constraint /tmp/list torch triton
RUN --mount=type=bind,source=conf/requirements-qwen.txt,target=/tmp/list \
    pip install --no-cache-dir --no-deps --requirement /tmp/list

# FlashAttention has no wheel for this torch: it is compiled, for A100 (80) and H100, H200 (90), with the CUDA of that torch. A
# job takes about 2 GB of memory for each of MAX_JOBS.
FROM ${CUDA_IMAGE} AS cuda
FROM qwen AS flash-attention
COPY --from=cuda /usr/local/cuda-12.8 /usr/local/cuda
ARG FLASH_ATTN_CUDA_ARCHS="80;90"
ARG MAX_JOBS=4
ENV CUDA_HOME=/usr/local/cuda \
    FLASH_ATTENTION_FORCE_BUILD=TRUE
RUN apt-get update \
    && apt-get install -y --no-install-recommends g++ \
    && rm -rf /var/lib/apt/lists/* \
    && pip install --no-cache-dir ninja==1.13.2 setuptools==80.9.0 wheel==0.45.1 \
    && FLASH_ATTN_CUDA_ARCHS="$FLASH_ATTN_CUDA_ARCHS" MAX_JOBS="$MAX_JOBS" \
        pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheels flash-attn==2.8.3

FROM qwen AS gpu
RUN --mount=type=bind,from=flash-attention,source=/wheels,target=/wheels \
    pip install --no-cache-dir --no-deps einops==0.8.2 /wheels/*.whl
# What NVIDIA's container runtime brings in: the driver and nvidia-smi, which tells Spark of the GPUs.
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=project /opt /opt
USER 185

# Qwen3-ASR in vLLM, whose packages are not those of qwen. It compiles kernels as it starts, for which it wants a C compiler.
FROM spark AS vllm
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc g++ \
    && rm -rf /var/lib/apt/lists/*
RUN --mount=type=bind,source=conf/requirements-vllm-gpu.txt,target=/tmp/list \
    grep -E '^(nvidia|cuda)-' /tmp/list | pip install --no-cache-dir --no-deps --requirement /dev/stdin
RUN --mount=type=bind,source=conf/requirements-vllm-gpu.txt,target=/tmp/list \
    pip install --no-cache-dir --no-deps --constraint /tmp/list torch triton
RUN --mount=type=bind,source=conf/requirements-vllm-gpu.txt,target=/tmp/list \
    pip install --no-cache-dir --no-deps --requirement /tmp/list
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=project /opt /opt
USER 185
