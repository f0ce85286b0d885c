"""Whose fault an error is that a filesystem raised: the recording's, the credentials' or this machine's."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

import transforms.stores.fetch
from schemas.config import FetchConfig
from transforms.errors import MachineError, RecordingError
from transforms.stores.fetch import fetched

_ONCE = FetchConfig(attempts=1)


class Store:
    """A filesystem whose downloads all raise `error`, or write it, as a full disk would have it."""

    def __init__(self, error: BaseException | None) -> None:
        self._error = error

    def get_file(self, path: str, target: str, callback: object) -> None:
        if self._error is None:
            Path("/dev/full").write_bytes(b"a recording")
        else:
            raise self._error


def _fetch(monkeypatch: pytest.MonkeyPatch, error: BaseException | None) -> None:
    monkeypatch.setattr(transforms.stores.fetch, "open_filesystem", lambda uri, config: (Store(error), "a.wav"))
    with fetched("s3://bucket/a.wav", None, _ONCE):
        pass


def _failure(monkeypatch: pytest.MonkeyPatch, error: Exception) -> RecordingError:
    with pytest.raises(RecordingError) as failed:
        _fetch(monkeypatch, error)
    return failed.value


class ClientError(Exception):
    """As botocore's."""

    def __init__(self, code: str) -> None:
        super().__init__(f"An error occurred ({code}) when calling the GetObject operation")
        self.response = {"Error": {"Code": code}}


class NoCredentialsError(Exception):
    """As botocore's."""


class ClientAuthenticationError(Exception):
    """As Azure's."""

    status_code = 403
    error_code = "AuthenticationFailed"


class HttpError(Exception):
    """As gcsfs's."""

    code = 401


def _denied(code: str) -> PermissionError:
    """As s3fs raises it."""
    error = PermissionError(code)
    error.__cause__ = ClientError(code)
    return error


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE])
def test_a_full_disk_is_the_machines_fault(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    with pytest.raises(MachineError, match=r"cannot fetch s3://bucket/a\.wav: .*TMPDIR"):
        _fetch(monkeypatch, OSError(number, os.strerror(number)))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_disk_that_is_really_full_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MachineError, match="No space left on device"):
        _fetch(monkeypatch, None)


def test_no_memory_is_the_machines_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MachineError):
        _fetch(monkeypatch, MemoryError())


@pytest.mark.parametrize(
    "error",
    [
        _denied("ExpiredToken"),
        _denied("InvalidAccessKeyId"),
        PermissionError("The provided token has expired."),
        NoCredentialsError("Unable to locate credentials"),
        ClientAuthenticationError("Server failed to authenticate the request"),
        HttpError("Invalid Credentials, 401"),
    ],
    ids=repr,
)
def test_credentials_that_expired_are_no_lasting_failure(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    failure = _failure(monkeypatch, error)
    assert (failure.stage, failure.kind, failure.transient) == ("fetch", "credentials", True)
    assert "renew them" in failure.message


@pytest.mark.parametrize("error", [_denied("AccessDenied"), PermissionError("Forbidden")], ids=repr)
def test_an_object_that_must_not_be_read_is_a_lasting_failure(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    failure = _failure(monkeypatch, error)
    assert (failure.kind, failure.transient) == ("forbidden", False)


def test_causes_that_go_in_a_circle_are_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = OSError("one"), OSError("two")
    first.__cause__, second.__cause__ = second, first
    assert _failure(monkeypatch, first).kind == "network"
