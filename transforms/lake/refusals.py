"""What a store has against the tables or the manifest, out of Hadoop's own words, in a sentence for people."""

from __future__ import annotations

import re
from dataclasses import dataclass

_CREDENTIALS = "the job's credentials for S3 are missing, wrong or have expired; renew them and run again"
_NO_ANSWER = "the store does not answer as it should; run again, which goes on from there"
_NO_ROOM = re.compile(r"(?i)no space left on device|not enough space|disk quota exceeded")
_REASONS = {
    r"ExpiredToken|InvalidAccessKeyId|SignatureDoesNotMatch|InvalidToken|TokenRefreshRequired|NoAuthWithAWSException|"
    r"Unable to load credentials": _CREDENTIALS,
    r"UnknownStoreException|NoSuchBucket": "there is no such bucket; correct the address, or fs.s3a.endpoint",
    r"AuthorizationHeaderMalformed|PermanentRedirect|AWSRedirectException": (
        "the bucket lies in another region; set fs.s3a.endpoint.region"
    ),
    r"AccessDeniedException|Status Code: 403": "access denied; give the job's credentials the right, or correct them",
    r"S3AFileSystem not found|No FileSystem for scheme \"s3\"": (
        "Spark has nothing that opens it; use s3a://, and start it with --packages org.apache.hadoop:hadoop-aws:3.4.2"
    ),
    r"SocketException|SocketTimeoutException|SdkClientException|AWSServiceThrottled|AWSStatus500|"
    r"ConnectException": _NO_ANSWER,
}
"""Of S3. In order: what is denied may be so since the credentials have expired."""
_WHERE = re.compile(r"s3a?://[^\s:'\"`,;)]+")


@dataclass(frozen=True)
class Refusal:
    """`may_pass`: the same may be asked again later."""

    sentence: str
    may_pass: bool


def refusal(error: Exception) -> Refusal | None:
    """The sentence begins with the first address that is named; None for what is no refusal of a store."""
    text = str(error)
    if _NO_ROOM.search(text):
        return Refusal(
            "no room is left on the disk of the tables, or on Spark's own (SPARK_LOCAL_DIRS, TMPDIR); make room and "
            "run again, which goes on from there",
            True,
        )
    where = _WHERE.search(text)
    for pattern, reason in _REASONS.items():
        if "s3" in text and re.search(pattern, text):
            return Refusal(f"{where.group() if where else 'S3'}: {reason}", reason == _NO_ANSWER)
    return None
