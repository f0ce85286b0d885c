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
from transforms.live.answers import Told
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
    stream = bool(body.get("stream"))
    asked = Asked("json", config, language, said, config.audio.channels, False, False, False, (), stream)
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
    tokens = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    message = {"role": "assistant", "content": _header(recording.language) + (recording.text or "")}
    choice = {"message": message, "finish_reason": "stop"}
    usage = {**tokens, "seconds": (recording.duration_ms or 0) / 1000}
    return {**_body("chat.completion", chat, number, choice), "usage": usage}


class ChatStream:
    """The same as it is read: the language, and pieces of the text."""

    def __init__(self, chat: Chat, number: str) -> None:
        self._chat, self._number, self._begun = chat, number, False

    def more(self, told: Told) -> list[dict[str, Any]]:
        begin = {} if self._begun else {"role": "assistant"}
        text = told.text if self._begun else _header(told.language) + told.text
        self._begun = True
        return [self._chunk({**begin, "content": text}, None)]

    def last(self, row: dict[str, Any], rest: str) -> list[dict[str, Any]]:
        more = self.more(Told(rest, [], row["language"])) if rest or not self._begun else []
        return [*more, self._chunk({}, "stop")]

    def _chunk(self, delta: dict[str, Any], finish: str | None) -> dict[str, Any]:
        choice = {"delta": delta, "finish_reason": finish}
        return _body("chat.completion.chunk", self._chat, self._number, choice)


def _header(language: str | None) -> str:
    name = "None" if language is None else langcodes.get(language).display_name()
    return f"language {name}<asr_text>"


def _body(kind: str, chat: Chat, number: str, choice: dict[str, Any]) -> dict[str, Any]:
    about = {"id": f"chatcmpl-{number}", "object": kind, "created": int(time.time()), "model": chat.model}
    return {**about, "choices": [{"index": 0, **choice, "logprobs": None}]}
