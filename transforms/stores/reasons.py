"""What a filesystem raised → whose fault it is: the recording's (a failure row), or this machine's (raised)."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Iterator
from urllib.parse import urlsplit

from transforms.errors import MachineError, RecordingError

_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs", "abfs": "azure", "abfss": "azure", "az": "azure"}
_MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM}
"""Disk full, over quota, read-only; files and memory used up."""
_CREDENTIAL_ERRORS = frozenset(
    "NoCredentialsError PartialCredentialsError CredentialRetrievalError TokenRetrievalError SSOTokenLoadError "
    "UnauthorizedSSOTokenError RefreshError DefaultCredentialsError ClientAuthenticationError "
    "CredentialUnavailableError NoAuthTokenError".split()
)
"""Classes of botocore, google-auth and azure-identity; by name, since none of them need be installed."""
_CREDENTIAL_CODES = frozenset(
    "ExpiredToken ExpiredTokenException ExpiredAuthenticationToken InvalidToken InvalidAccessKeyId RequestExpired "
    "RequestTimeTooSkewed SignatureDoesNotMatch TokenRefreshRequired AuthenticationFailed "
    "InvalidAuthenticationInfo".split()
)
"""Error codes of S3 and Azure that speak of the caller, not of the object."""
_CREDENTIAL_TEXTS = ("token has expired", "token is expired", "expired token", "expiredtoken", "invalid credentials")


_PASSING_CODES = frozenset("RequestTimeout Throttling ThrottlingException RequestLimitExceeded SlowDown".split())
"""Of S3, which answers some of them with a status that means 'never'."""
_REGION_CODES = frozenset("AuthorizationHeaderMalformed PermanentRedirect IllegalLocationConstraintException".split())


class NotAllowed(OSError):
    """What may not be opened; says why and what to do. An OSError, as a connection that fails."""


def explain(error: Exception, name: str) -> RecordingError:
    """`error` met at opening `name` as a failure of that recording, stage 'fetch'. Raises MachineError where no other
    recording would do better here: disk full, no memory."""
    if isinstance(error, MemoryError) or getattr(error, "errno", None) in _MACHINE:
        raise MachineError(
            f"this machine cannot fetch {name}: {_words(error)}; give its temporary folder (TMPDIR) room and try again"
        ) from error
    refusal = next((cause for cause in _causes(error) if isinstance(cause, NotAllowed)), None)
    if refusal is not None:
        return RecordingError("fetch", "not_allowed", f"{name}: {refusal}")
    code, status = code_of(error), _status(error)
    if code == "NoSuchBucket":
        return RecordingError("fetch", "no_folder", f"{name}: there is no such bucket; correct the uri or the endpoint")
    if code in _REGION_CODES:
        reason = f"{name}: the bucket lies in another region ({_words(error)}); set that, as AWS_REGION or in"
        return RecordingError("fetch", "region", f"{reason} fetch.storage_options, and try --reprocess failed")
    if code == "InvalidObjectState":
        return RecordingError("fetch", "archived", f"{name} is archived; restore it, and try --reprocess failed")
    no_such_name = getattr(error, "errno", None) in (errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP)
    if isinstance(error, FileNotFoundError) or status in (404, 410) or no_such_name:
        return RecordingError(
            "fetch", "missing", f"{name} does not exist; correct the uri or take it out of the manifest"
        )
    if isinstance(error, IsADirectoryError):
        return RecordingError("fetch", "folder", f"{name} is a folder; list its files with python -m jobs.manifest")
    if status == 401 or _is_of_credentials(error):
        reason = f"{name}: the job's credentials are missing or have expired ({_words(error)})"
        return RecordingError(
            "fetch", "credentials", f"{reason}; renew them, and the next run tries again", transient=True
        )
    if isinstance(error, PermissionError) or status == 403:
        return RecordingError(
            "fetch", "forbidden", f"{name}: access denied; give the job's user or its credentials the right"
        )
    if isinstance(error, ImportError) or (isinstance(error, ValueError) and "rotocol" in str(error)):
        scheme = urlsplit(name).scheme
        extra = _EXTRAS.get(scheme)
        install = (
            f"install it with pip install 'lakescribe[{extra}]' on driver and executors"
            if extra
            else "install the fsspec plug-in for it"
        )
        return RecordingError("fetch", "unsupported", f"{name}: nothing here opens {scheme}:// ({error}); {install}")
    if isinstance(error, ValueError) and "URL" in f"{type(error).__name__} {error}".upper():  # of aiohttp and urllib
        return RecordingError("fetch", "missing", f"{name} is no address ({_words(error)}); correct the uri")
    if isinstance(error, TimeoutError | asyncio.TimeoutError):
        return RecordingError(
            "fetch", "timeout", f"{name}: the server did not answer in time; the next run tries again", transient=True
        )
    if status is not None and 400 <= status < 500 and status != 429 and code not in _PASSING_CODES:
        return RecordingError(
            "fetch", "refused", f"{name}: the server answered {status}; open the address by hand to see why"
        )
    return RecordingError("fetch", "network", f"{name}: {_words(error)}; the next run tries again", transient=True)


def _is_of_credentials(error: Exception) -> bool:
    """Plug-ins turn what the store said into a PermissionError, and leave it in the chain of causes."""
    return any(
        type(cause).__name__ in _CREDENTIAL_ERRORS
        or _own_code(cause) in _CREDENTIAL_CODES
        or any(text in str(cause).casefold() for text in _CREDENTIAL_TEXTS)
        for cause in _causes(error)
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in seen:
        seen.append(cause)
        yield cause
        cause = cause.__cause__ or cause.__context__


def code_of(error: BaseException) -> str | None:
    """The store's word for what `error`, or what it came from, is."""
    return next(filter(None, map(_own_code, _causes(error))), None)


def _own_code(error: BaseException) -> str | None:
    """botocore has it in `response`, Azure's client in `error_code`."""
    response = getattr(error, "response", None)
    told = response.get("Error", {}).get("Code") if isinstance(response, dict) else getattr(error, "error_code", None)
    return None if told is None else str(getattr(told, "value", told))


def _status(error: BaseException) -> int | None:
    """The HTTP status, which aiohttp, Azure's client, gcsfs and botocore name each in its own way."""
    for name in ("status", "status_code", "code"):
        if isinstance(value := getattr(error, name, None), int):
            return value
    answers = (getattr(cause, "response", None) for cause in _causes(error))
    told = (answer.get("ResponseMetadata", {}).get("HTTPStatusCode") for answer in answers if isinstance(answer, dict))
    return next((value for value in told if isinstance(value, int)), None)


def _words(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
