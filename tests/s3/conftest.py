"""A store for all tests of this folder, and the environment of a user who works on it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from tests.kit.object_store import BUCKET, Proxy, minio, proxy, settings


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """The store as its clients see it; BUCKET is there."""
    folder = tmp_path_factory.mktemp("store")
    with minio(folder) as port, proxy(port) as before, pytest.MonkeyPatch.context() as environment:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            environment.delenv(name)
        for name, value in settings(before.port, folder).items():
            environment.setenv(name, value)
        fsspec.filesystem("s3").mkdir(BUCKET)
        yield before


@pytest.fixture(autouse=True)
def _undisturbed(store: Proxy) -> Iterator[None]:
    yield
    store.clear()


def put(path: Path, key: str) -> str:
    """The uri of a copy of `path` in the store."""
    fsspec.filesystem("s3").put_file(str(path), f"{BUCKET}/{key}")
    return f"s3://{BUCKET}/{key}"
