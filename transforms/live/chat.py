"""A chat with audio in it → what is asked, and its answer, as Qwen3-ASR's own server (vLLM) has it: `content` is
'language English<asr_text>' and the text, which qwen_asr's parse_asr_output takes apart."""

from __future__ import annotations

import base64
import binascii
import re
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import langcodes

from schemas.config import Config
from transforms.exports.recording import from_row
from transforms.live.asked import Asked, Refused, language_of, model_of

_FIELDS = frozenset(
    {"model", "messages", "stream", "temperature", "language", "n", "max_tokens", "max_completion_tokens"}
)
_DATA = re.compile(r"data:[\w/+.-]*(?:;[\w=.-]+)*;base64,(?P<data>.*)", re.DOTALL)


@dataclass(frozen=True)
class Chat:
    """`audio` is what was sent, or the address of what is meant."""

    model: str
    audio: bytes | str
    asked: Asked


def chat(body: Any, config: Config, models: Collection[str], known: Collection[str] | None) -> Chat:
    """Raises Refused. The system's text is the context."""
    if not isinstance(body, dict) or not isinstance(body.get("messages"), list):
        raise Refused("the body is no JSON object with messages", param="messages", code="missing_field")
    if unknown := sorted(body.keys() - _FIELDS):
        raise Refused(f"{unknown[0]} cannot be had here", param=unknown[0], code="unsupported_field")
    model_of(body.get("model"), models)
    if body.get("stream"):
        reason = "stream cannot be had here: /v1/audio/transcriptions streams files, /v1/realtime speech"
        raise Refused(reason, param="stream", code="unsupported_field")
    context: list[str] = []
    sounds: list[bytes | str] = []
    for message in body["messages"]:
        role, parts = (message.get("role"), message.get("content")) if isinstance(message, dict) else (None, None)
        parts = [{"type": "text", "text": parts}] if isinstance(parts, str) else parts
        if role not in ("system", "user") or not isinstance(parts, list):
            raise Refused("a message is of the system or the user, and has content", param="messages")
        for part in parts:
            found = _part(part)
            if isinstance(found, str) and part["type"] == "text":
                context += [found] if role == "system" else []
            else:
                sounds.append(found)
    if len(sounds) != 1:
        raise Refused(f"the messages have {len(sounds)} audio parts; one is taken", param="messages")
    language = language_of(body.get("language"), config, known)
    said = " ".join(filter(None, context)) or config.context
    asked = Asked("json", config, language, said, config.audio.channels, False, False, False, (), False)
    return Chat(body["model"], sounds[0], asked)


def _part(part: Any) -> bytes | str:
    """Text, sound, or an address."""
    try:
        kind = part["type"]
        if kind == "text":
            return str(part["text"])
        if kind == "input_audio":
            return base64.b64decode(part["input_audio"]["data"], validate=True)
        if kind == "audio_url":
            url = str(part["audio_url"]["url"])
            sent = _DATA.fullmatch(url)
            return url if sent is None else base64.b64decode(sent["data"], validate=True)
    except (TypeError, KeyError, ValueError, binascii.Error):
        raise Refused("a part has a type and what belongs to it; audio is in base64", param="messages") from None
    raise Refused(f"a part of type {kind!r} cannot be had here", param="messages", code="unsupported_field")


def completion(row: Mapping[str, Any], chat: Chat, number: str) -> dict[str, Any]:
    recording = from_row(dict(row))
    language = "None" if recording.language is None else langcodes.get(recording.language).display_name()
    tokens = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    content = f"language {language}<asr_text>{recording.text or ''}"
    message = {"role": "assistant", "content": content}
    return {
        "id": f"chatcmpl-{number}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": chat.model,
        "choices": [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}],
        "usage": {**tokens, "seconds": (recording.duration_ms or 0) / 1000},
    }
