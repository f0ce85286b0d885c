"""What a person should look at in a recording or chunk."""

from __future__ import annotations

import pyarrow as pa

FLAGS = pa.list_(pa.string())
FLAGS_COMMENT = (
    "what a person should look at: repetition, truncated, no_speech, low_confidence, language_mismatch, unaligned, "
    "duration_mismatch (the file's header claims another length), damaged (a part could not be decoded), "
    "incomplete (a chunk failed), context_echo (only words of the context), context_cut (the context was too long)"
)
