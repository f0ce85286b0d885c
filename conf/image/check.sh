#!/bin/sh
# Builds the image cpu where there is no Docker, and transcribes in it as its user: `make image-check`, as root on Debian, with
# the packages buildah and debootstrap. In place of python:3.11-slim-bookworm, a bare Debian 12 with its own Python 3.11.
set -eu
scratch=$(mktemp -d)
export BUILDAH_ISOLATION=chroot
image() { buildah --root "$scratch/storage" --runroot "$scratch/run" "$@"; }
trap 'image rm --all >/dev/null; rm -rf "$scratch"' EXIT

mirror=$(sed -n 's/^URIs: *//p' /etc/apt/sources.list.d/debian.sources | head -n 1)
mkdir "$scratch/base"
debootstrap --variant=minbase --include=ca-certificates,python3,python3-venv bookworm "$scratch/base/root" "$mirror" >/dev/null
ln -s /usr/bin/python3 "$scratch/base/root/usr/local/bin/python"
# A company's certificates, as this machine has them.
cp -r /usr/local/share/ca-certificates/. "$scratch/base/root/usr/local/share/ca-certificates"
chroot "$scratch/base/root" update-ca-certificates >/dev/null 2>&1
printf 'FROM scratch\nCOPY root /\n' >"$scratch/base/Dockerfile"
image build --quiet --tag localhost/base "$scratch/base"

image build --build-arg PYTHON_IMAGE=localhost/base --target cpu --tag localhost/lakescribe .
container=$(image from localhost/lakescribe)
# buildah's host name, unlike Docker's, leads nowhere.
in_image() { image run --env SPARK_LOCAL_HOSTNAME=localhost "$@"; }
try='python -m jobs.manifest examples/audio/voice_memo.m4a --out calls.parquet &&
    python -m jobs.transcribe --config local --manifest calls.parquet --tables ./lakehouse &&
    python -m jobs.sql --tables ./lakehouse "SELECT file, language, word_count, text FROM transcripts"'
in_image "$container" -- /opt/entrypoint.sh sh -c "[ \"\$(id -u)\" = 185 ] && $try"
# As --user and OpenShift have it: a number without a name.
in_image --user 1234:0 "$container" -- /opt/entrypoint.sh sh -c "cd ~ && ln -s /data/examples . && $try"
