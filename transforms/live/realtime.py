"""`/v1/realtime`: a transcription session as OpenAI's Realtime API has it, for its clients.

An item is an utterance by server VAD, or all that is committed at once where turn_detection is null.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fastapi import WebSocket

from schemas.config import Config
from transforms.live.answers import logprob
from transforms.live.asked import Refused, language_of, model_of
from transforms.live.exchange import Exchange, Host, live_config
from transforms.live.session import Event
from transforms.live.sound import SOUNDS, Sound
from transforms.text.words import separator

_LOGPROBS = "item.input_audio_transcription.logprobs"
_PREFIX_MS, _SILENCE_MS = 300, 500
"""OpenAI's own defaults."""
_FORMATS = {"audio/pcm": ("pcm16", 24_000), "audio/pcmu": ("pcmu", 8_000), "audio/pcma": ("pcma", 8_000)}
_TRANSCRIPTION = "conversation.item.input_audio_transcription"
_TAKEN = {
    "session": {"type", "audio", "include"},
    "audio": {"input"},
    "input": {"format", "noise_reduction", "transcription", "turn_detection"},
    "transcription": {"model", "language", "prompt"},
    "turn_detection": {
        "type", "threshold", "prefix_padding_ms", "silence_duration_ms", "create_response", "interrupt_response",
    },
}  # fmt: skip


@dataclass
class _Item:
    id: str
    rows: dict[int, dict[str, Any] | None] = field(default_factory=dict)
    """By utterance; None until it is read."""
    told: str = ""
    closed: bool = False

    @property
    def done(self) -> bool:
        return self.closed and all(row is not None for row in self.rows.values())


class Realtime(Exchange):
    def __init__(self, socket: WebSocket, host: Host, number: str) -> None:
        super().__init__(socket, host, number)
        if (intent := socket.query_params.get("intent", "transcription")) != "transcription":
            raise Refused(f"intent is {intent!r}; here it is transcription", param="intent")
        self._settings: dict[str, Any] = {
            "type": "transcription",
            "audio": {
                "input": {
                    "format": {"type": "audio/pcm", "rate": 24_000},
                    "noise_reduction": None,
                    "transcription": {"model": next(iter(host.models)), "language": None, "prompt": None},
                    "turn_detection": {
                        "type": "server_vad",
                        "threshold": host.config.vad.threshold,
                        "prefix_padding_ms": _PREFIX_MS,
                        "silence_duration_ms": _SILENCE_MS,
                    },
                }
            },
            "include": [],
        }
        self._count = 0
        self._items: list[_Item] = [_Item(self._name(0))]
        """Those that are not completed; the last one is open."""
        self._made = 1
        self._before: str | None = None

    async def greet(self) -> None:
        await self.socket.send_json(self._event("session.created", session=self._shown_settings()))

    async def obey(self, message: Mapping[str, Any]) -> bool:
        """What is wrong with a message is told, and the session goes on."""
        event_id = None
        try:
            try:
                asked = json.loads(message.get("text") or "")
                kind, event_id = asked["type"], asked.get("event_id")
            except (ValueError, TypeError, KeyError):
                raise Refused("a message is a JSON object with a type", code="invalid_message") from None
            await self._do(kind, asked)
        except Refused as refused:
            if refused.code == "too_long":
                raise
            error = {**refused.body["error"], "event_id": event_id}
            await self.socket.send_json(self._event("error", error=error))
        return False

    async def _do(self, kind: str, asked: Mapping[str, Any]) -> None:
        if kind == "session.update":
            self._update(asked.get("session"))
            await self.socket.send_json(self._event("session.updated", session=self._shown_settings()))
        elif kind == "input_audio_buffer.append":
            await self._append(asked.get("audio"))
        elif kind == "input_audio_buffer.commit":
            if self.session is None:
                raise Refused("there is no audio to commit", code="input_audio_buffer_commit_empty")
            await self.commit()
            self._deliver({"type": "committed"})
        elif kind == "input_audio_buffer.clear":
            if self.session is not None:
                await self.clear()
            await self.socket.send_json(self._event("input_audio_buffer.cleared"))
        else:
            raise Refused(f"there is no {kind!r} here, which transcribes only", param="type", code="unknown_message")

    async def _append(self, audio: Any) -> None:
        try:
            data = base64.b64decode(audio, validate=True)
        except (TypeError, ValueError, binascii.Error):
            raise Refused("audio is not in base64", param="audio", code="invalid_value") from None
        if self.session is None:
            sound, config, language, context = self._asked()
            self.begin(sound, config, language, context)
        await self.push(data)

    def _update(self, session: Any) -> None:
        """Takes what is given over what was set; before any audio only, since it was heard as that."""
        if self.session is not None:
            raise Refused("the session cannot be changed once audio has come", param="session", code="too_late")
        if not isinstance(session, dict) or session.get("type") != "transcription":
            raise Refused("session.type is 'transcription' here", param="session.type", code="invalid_value")
        before = self._settings
        try:
            self._settings = _over(before, session, "session")
            self._asked()
        except Refused:
            self._settings = before
            raise
        except (AttributeError, TypeError, ValueError, OverflowError) as error:
            self._settings = before
            raise Refused(f"the session has a value of the wrong kind: {error}", param="session") from None

    def _asked(self) -> tuple[Sound, Config, str | None, str | None]:
        """What is set, as a session takes it. Raises Refused."""
        given = self._settings["audio"]["input"]
        if {*self._settings["include"]} - {_LOGPROBS}:
            raise Refused(f"include is [{_LOGPROBS}] or empty", param="session.include")
        form, heard, turns = given["format"], given["transcription"] or {}, given["turn_detection"]
        if not isinstance(form, dict) or form.get("type") not in _FORMATS:
            raise Refused(f"format.type is one of {', '.join(_FORMATS)}", param="session.audio.input.format")
        if given["noise_reduction"] is not None:
            raise Refused("there is no noise reduction here", param="session.audio.input.noise_reduction")
        name, rate_hz = _FORMATS[form["type"]]
        if form.get("rate") not in (None, rate_hz):
            raise Refused(f"format.rate is {rate_hz}", param="session.audio.input.format.rate")
        if heard.get("model") is not None:
            model_of(heard["model"], self.host.models)
        language = language_of(heard.get("language"), self.host.config, self.host.known)
        config = self.host.config
        context = str(heard.get("prompt") or "") or config.context
        if turns is None:
            return SOUNDS[name](rate_hz, 1), live_config(config, None), language, context
        if turns.get("type") != "server_vad":
            raise Refused("turn_detection.type is server_vad", param="session.audio.input.turn_detection.type")
        threshold = float(turns.get("threshold") or config.vad.threshold)
        silence_ms = int(turns.get("silence_duration_ms") or _SILENCE_MS)
        pad_ms = int(turns.get("prefix_padding_ms") or 0)
        if not 0 < threshold < 1 or not 100 <= silence_ms <= 60_000 or not 0 <= pad_ms <= 10_000:
            reason = "threshold is between 0 and 1, silence_duration_ms from 100 to 60000, prefix_padding_ms to 10000"
            raise Refused(reason, param="session.audio.input.turn_detection")
        config = live_config(config, silence_ms, pad_ms)
        end_threshold = min(config.vad.end_threshold, threshold)
        vad = config.vad.model_copy(update={"threshold": threshold, "end_threshold": end_threshold})
        return SOUNDS[name](rate_hz, 1), config.model_copy(update={"vad": vad}), language, context

    @property
    def _by_voice(self) -> bool:
        return self._settings["audio"]["input"]["turn_detection"] is not None

    def _shown_settings(self) -> dict[str, Any]:
        return {"id": f"sess_{self.number}", "object": "realtime.transcription_session", **self._settings}

    def _name(self, number: int) -> str:
        return f"item_{self.number[:12]}_{number}"

    def _event(self, kind: str, **values: Any) -> dict[str, Any]:
        self._count += 1
        return {"type": kind, "event_id": f"event_{self.number[:12]}_{self._count}", **values}

    def shown(self, event: Event) -> list[dict[str, Any]]:
        kind, item = event["type"], self._items[-1]
        if kind == "speech_started" and self._by_voice:
            times = {"audio_start_ms": event["at_ms"]}
            return [self._event("input_audio_buffer.speech_started", item_id=item.id, **times)]
        if kind == "speech_stopped" and self._by_voice:
            times = {"audio_end_ms": event["at_ms"]}
            return [self._event("input_audio_buffer.speech_stopped", item_id=item.id, **times)]
        if kind == "said":
            item.rows[event["utterance"]] = None
            return self._committed(item) if self._by_voice else []
        if kind == "committed":
            return self._committed(item) if item.rows else []
        if kind == "partial":
            return self._deltas(item, event)
        if kind == "final":
            owner = next(one for one in self._items if event["utterance"] in one.rows)
            owner.rows[event["utterance"]] = event["row"]
        return self._completed()

    def _committed(self, item: _Item) -> list[dict[str, Any]]:
        """The open item is over, and another one opens."""
        item.closed = True
        self._items.append(_Item(self._name(self._made)))
        self._made += 1
        content = [{"type": "input_audio", "transcript": None}]
        message = {"id": item.id, "object": "realtime.item", "type": "message", "role": "user", "content": content}
        before, self._before = self._before, item.id
        return [
            self._event("input_audio_buffer.committed", item_id=item.id, previous_item_id=before),
            self._event("conversation.item.added", previous_item_id=before, item={**message, "status": "completed"}),
            *self._completed(),
        ]

    def _deltas(self, item: _Item, event: Event) -> list[dict[str, Any]]:
        """What stands newly. Of an item of several utterances those before are told as they are read."""
        if item.rows or not event["stable"].startswith(item.told):
            return []
        more, item.told = event["stable"][len(item.told) :], event["stable"]
        delta = {"item_id": item.id, "content_index": 0, "delta": more}
        return [self._event(f"{_TRANSCRIPTION}.delta", **delta)] if more else []

    def _completed(self) -> list[dict[str, Any]]:
        """In the order in which they were said."""
        events = []
        while self._items[0].done:
            item = self._items.pop(0)
            events += self._whole(item)
        return events

    def _whole(self, item: _Item) -> list[dict[str, Any]]:
        rows = [row for _, row in sorted(item.rows.items()) if row is not None]
        about: dict[str, Any] = {"item_id": item.id, "content_index": 0}
        text = ""
        for row in rows:
            text += separator(text, row["text"] or "") + (row["text"] or "")
        errors = [row["error"] for row in rows if row["error"]]
        if errors and not text:
            error = {"type": "server_error", "code": errors[0]["kind"], "message": errors[0]["message"], "param": None}
            return [self._event(f"{_TRANSCRIPTION}.failed", **about, error=error)]
        events = []
        if text.startswith(item.told) and (rest := text[len(item.told) :]):
            events.append(self._event(f"{_TRANSCRIPTION}.delta", **about, delta=rest))
        if _LOGPROBS in self._settings["include"]:
            words = [word for row in rows for word in row["words"] or ()]
            about["logprobs"] = [logprob(word["word"], word["confidence"]) for word in words]
        seconds = math.ceil(sum(row["end_ms"] - row["start_ms"] for row in rows) / 1000)
        usage = {"type": "duration", "seconds": seconds}
        return [*events, self._event(f"{_TRANSCRIPTION}.completed", **about, transcript=text, usage=usage)]


def _over(before: Mapping[str, Any], given: Mapping[str, Any], name: str) -> dict[str, Any]:
    """`before` with what is given of it, section by section. Raises Refused for what is not known."""
    if unknown := sorted(given.keys() - _TAKEN.get(name, given.keys())):
        raise Refused(f"{name}.{unknown[0]} cannot be had here", param=f"{name}.{unknown[0]}", code="unsupported_field")
    made = dict(before)
    for key, value in given.items():
        old = before.get(key)
        made[key] = _over(old or {}, value, key) if key in _TAKEN and isinstance(value, dict) else value
    return made
