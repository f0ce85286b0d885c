"""Options as they may be shown and kept in tables: without keys, passwords and tokens."""

from __future__ import annotations

import re
from typing import Any

REDACTED = "***"
_SECRET_NAME = re.compile(
    r"secret|passw|pwd|passphrase|credential|authori[sz]ation|cookie|connection_?string"
    r"|token(?!s|iz)|(?<![a-z])(sas|auth)(?![a-z])"
    r"|key(?![a-z])|key_?id",
    re.IGNORECASE,
)
"""Names of what is secret: account_key, apiKey, aws_session_token, sas_token; not tokens_per_s, nor tokenizer."""
_IN_ADDRESS = re.compile(
    r"(?<=://)[^/@\s]+(?=@)|(?<=[?&])((?:sig|[\w-]*(?:token|key|signature|credential))=)[^&\s]+", re.IGNORECASE
)
"""user:password before a host, and signatures after it."""


def without_secrets(value: Any, name: str = "") -> Any:
    """`value`, an option of that name or a mapping or list of options, with '***' for what is secret in it."""
    if value is None or isinstance(value, bool):
        return value
    if _SECRET_NAME.search(name):
        return REDACTED
    if isinstance(value, dict):
        return {key: without_secrets(item, str(key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_secrets(item) for item in value]
    return _IN_ADDRESS.sub(lambda found: (found[1] or "") + REDACTED, value) if isinstance(value, str) else value
