"""Recordings in S3 while the store fails: what is read is the recording or a failure of it, never a shorter one."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import soundfile

from schemas.config import SAMPLE_RATE_HZ, Config, load_config
from tests.kit.lake import cut, write_clip
from tests.kit.object_store import BUCKET, SECRET, Asked, Fault, Proxy, reads
from tests.kit.works import work as a_work
from tests.s3.conftest import put
from transforms.audio.front import Closing, StageClock, front
from transforms.errors import RecordingError
from transforms.stores.ranged import Ranged, source_of

_LONG_S = 400
_PART_MINUTES = 1.0


def _config(*overrides: str) -> Config:
    quick = ("fetch.connect_timeout_s=5", "fetch.read_timeout_s=2", f"packing.part_minutes={_PART_MINUTES}")
    return load_config(None, [*quick, *overrides])


def _heard(uri: str, config: Config | None = None, part_index: int = 0) -> tuple[list[Any], Closing]:
    """What the front end makes of a recording: its chunks, but for their address, and its last word."""
    *chunks, closing = front(a_work(uri, part_index=part_index), config or _config(), StageClock())
    assert isinstance(closing, Closing)
    return [(chunk.start_ms, chunk.end_ms, chunk.samples.tobytes()) for chunk in chunks], closing


def _plain(closing: Closing) -> dict[str, Any]:
    """Without the work, whose address differs, the seconds it took, and the hash of the bytes, which takes all of them."""
    return {**dataclasses.asdict(closing), "work": None, "seconds": None, "content_sha256": None}


def _failure(uri: str, config: Config | None = None) -> RecordingError:
    error = _heard(uri, config)[1].error
    assert error is not None
    assert error.stage == "fetch"
    assert uri in error.message
    return error


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One recording of several parts, in several containers; noisy, and in a rich encoding, for many blocks of each."""
    folder = tmp_path_factory.mktemp("long")
    samples = cut(0, _LONG_S) + np.random.default_rng(1).normal(0, 0.02, _LONG_S * SAMPLE_RATE_HZ).astype(np.float32)
    rich = {
        "wav": {"subtype": "FLOAT"},
        "flac": {"subtype": "PCM_24"},
        "mp3": {"compression_level": 0.0, "bitrate_mode": "CONSTANT"},
    }
    for suffix, encoding in rich.items():
        soundfile.write(folder / f"long.{suffix}", np.clip(samples, -1, 1), SAMPLE_RATE_HZ, **encoding)
    return {path.suffix[1:]: path for path in folder.iterdir()}


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("short") / "short.wav", cut(3, 6))


@pytest.fixture
def short_uri(store: Proxy, short: Path) -> str:
    uri = put(short, "short.wav")
    store.clear()
    return uri


@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3"])
@pytest.mark.parametrize("part_index", [0, 4])
def test_a_part_in_s3_is_that_of_a_local_file(
    store: Proxy, long: dict[str, Path], suffix: str, part_index: int
) -> None:
    uri = put(long[suffix], f"long.{suffix}")
    store.clear()
    chunks, closing = _heard(uri, part_index=part_index)
    own_chunks, own_closing = _heard(str(long[suffix]), part_index=part_index)
    assert chunks == own_chunks
    assert closing.error is None and closing.continues
    assert _plain(closing) == _plain(own_closing)


@pytest.mark.parametrize(("suffix", "share"), [("wav", 0.5), ("flac", 0.7)])
def test_a_part_of_a_long_recording_does_not_read_all_of_it(
    store: Proxy, long: dict[str, Path], suffix: str, share: float
) -> None:
    """A minute of seven: of 13 blocks 3 of its own, the first one, and those beside it. FLAC looks for the place by
    halving."""
    uri = put(long[suffix], f"long.{suffix}")
    for part_index in (0, 4):
        store.clear()
        _heard(uri, part_index=part_index)
        read_bytes = sum(asked.body_bytes for asked in store.of(f"long.{suffix}"))
        assert 0 < read_bytes < share * long[suffix].stat().st_size


@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3"])
def test_the_hash_of_a_recording_is_known_once_all_of_it_was_read(
    store: Proxy, long: dict[str, Path], suffix: str
) -> None:
    uri = put(long[suffix], f"long.{suffix}")
    closing = _heard(uri, _config("packing.part_minutes=60"))[1]
    assert closing.content_sha256 == hashlib.sha256(long[suffix].read_bytes()).hexdigest()
    assert _heard(uri)[1].content_sha256 is None


def test_a_short_recording_is_one_request(store: Proxy, short: Path, short_uri: str) -> None:
    assert _heard(short_uri)[0] == _heard(str(short))[0]
    assert [(asked.method, asked.status) for asked in store.asked] == [("GET", 206)]


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (503, "SlowDown"),
        (503, "ServiceUnavailable"),
        (429, "TooManyRequests"),
        (500, "InternalError"),
        (400, "RequestTimeout"),
    ],
)
def test_what_a_store_refuses_for_a_moment_is_asked_again_later_and_later(
    store: Proxy, short: Path, short_uri: str, status: int, code: str
) -> None:
    store.faults.append(Fault(2, reads("short.wav"), status, code))
    chunks, closing = _heard(short_uri)
    assert chunks == _heard(str(short))[0] and closing.error is None
    first, second, third = store.of("short.wav")
    assert [first.status, second.status, third.status] == [status, status, 206]
    assert 0.5 <= second.at - first.at < third.at - second.at + 0.5


def test_a_store_that_goes_on_refusing_is_a_failure_that_may_pass(store: Proxy, short_uri: str) -> None:
    store.faults.append(Fault(100, reads("short.wav"), 503, "SlowDown"))
    failure = _failure(short_uri, _config("fetch.attempts=2"))
    assert (failure.kind, failure.transient) == ("network", True)
    assert len(store.of("short.wav")) == 2  # no other layer tries again


@pytest.mark.parametrize("name", ["short.wav", "long.wav", "long.mp3", "long.flac"])
def test_a_body_that_is_cut_is_read_again(store: Proxy, long: dict[str, Path], short: Path, name: str) -> None:
    path = short if name == "short.wav" else long[name[5:]]
    uri = put(path, name)
    store.faults.append(Fault(2, reads(name), cut_bytes=100_000))
    chunks, closing = _heard(uri, part_index=0)
    assert closing.error is None
    assert chunks == _heard(str(path))[0]


@pytest.mark.parametrize("name", ["long.wav", "long.mp3", "long.flac"])
@pytest.mark.parametrize("from_request", [0, 1, 2])
def test_a_body_that_is_always_cut_is_a_failure_and_never_a_shorter_recording(
    store: Proxy, long: dict[str, Path], name: str, from_request: int
) -> None:
    uri = put(long[name[5:]], name)
    whole = _config("packing.part_minutes=60", "fetch.attempts=2")
    store.clear()

    def late(asked: Asked) -> bool:
        return reads(name)(asked) and len([one for one in store.asked if reads(name)(one)]) > from_request

    store.faults.append(Fault(100, late, cut_bytes=100_000))
    failure = _failure(uri, whole)
    assert (failure.kind, failure.transient) == ("network", True)
    assert _heard(uri, whole)[1].duration_ms is None


def test_a_body_that_trickles_is_given_up(store: Proxy, short_uri: str) -> None:
    store.faults.append(Fault(100, reads("short.wav"), bytes_per_s=1000))
    slow = _config("fetch.attempts=1", "fetch.min_bytes_per_s=1000000", "fetch.read_timeout_s=0.5")
    began = time.monotonic()
    failure = _failure(short_uri, slow)
    assert (failure.kind, failure.transient) == ("timeout", True)
    assert time.monotonic() - began < 10


def test_credentials_that_expire_while_a_recording_is_read_are_no_fault_of_it(
    store: Proxy, long: dict[str, Path]
) -> None:
    uri = put(long["wav"], "long.wav")
    store.clear()
    store.faults.append(Fault(100, lambda asked: len(store.asked) > 3, 403, "ExpiredToken"))
    failure = _failure(uri, _config("packing.part_minutes=60", "fetch.attempts=1"))
    assert (failure.kind, failure.transient) == ("credentials", True)
    assert "renew them" in failure.message


def test_a_recording_that_changes_while_it_is_read_is_read_again_by_the_next_run(
    store: Proxy, long: dict[str, Path], tmp_path: Path
) -> None:
    uri = put(long["wav"], "long.wav")
    opened = source_of(uri, None, _config().fetch)
    assert isinstance(opened.__enter__(), Ranged)
    put(write_clip(tmp_path / "other.wav", cut(9, _LONG_S)), "long.wav")
    with pytest.raises(RecordingError, match="changed while it was read"):
        opened.__exit__(None, None, None)


@pytest.mark.parametrize(
    ("options", "kind", "transient", "words"),
    [
        ({"anon": True}, "forbidden", False, "access denied"),
        ({"key": "nobody", "secret": SECRET}, "credentials", True, "renew them"),
        ({"key": "lakescribe", "secret": "wrong-secret"}, "credentials", True, "renew them"),
    ],
    ids=["no rights", "no such key", "wrong secret"],
)
def test_what_credentials_may_not_is_told(
    short_uri: str, options: dict[str, Any], kind: str, transient: bool, words: str
) -> None:
    failure = _failure(short_uri, _config(f"fetch.storage_options={{s3: {options}}}", "fetch.attempts=1"))
    assert (failure.kind, failure.transient) == (kind, transient)
    assert words in failure.message


def test_a_bucket_of_another_region_is_read_there_or_told(store: Proxy, short: Path, short_uri: str) -> None:
    elsewhere = _config("fetch.storage_options={s3: {client_kwargs: {region_name: us-west-2}}}", "fetch.attempts=1")
    assert _heard(short_uri, elsewhere)[0] == _heard(str(short))[0]
    store.faults.append(Fault(100, reads("short.wav"), 400, "AuthorizationHeaderMalformed"))  # without saying which one
    failure = _failure(short_uri, elsewhere)
    assert (failure.kind, failure.transient) == ("region", False)


@pytest.mark.parametrize(
    ("uri", "kind"), [(f"s3://{BUCKET}/none.wav", "missing"), ("s3://no-such-bucket/a.wav", "no_folder")]
)
def test_what_is_not_there_is_told(store: Proxy, uri: str, kind: str) -> None:
    failure = _failure(uri)
    assert (failure.kind, failure.transient) == (kind, False)


def test_an_object_without_bytes_is_empty(store: Proxy) -> None:
    fsspec.filesystem("s3").pipe_file(f"{BUCKET}/empty.wav", b"")
    assert _failure(f"s3://{BUCKET}/empty.wav").kind == "empty"
