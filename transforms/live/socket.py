"""`/v1/stream`: sound in, words out while they are said.

The client sends binary messages of sound, and text messages {"type": "commit"} (the utterance is over) and
{"type": "end"} (nothing more comes). The server sends JSON: see docs/live.md. Times are seconds of the session.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fastapi import WebSocket

from transforms.exports import FORMATS
from transforms.exports.recording import from_row
from transforms.live.answers import transcript
from transforms.live.asked import SUBTITLES, Refused, language_of, model_of
from transforms.live.exchange import Exchange, Host, live_config
from transforms.live.session import Event
from transforms.live.sound import SOUNDS
from transforms.publishing.transcript import speaker_of
from transforms.text.clock import seconds
from transforms.text.segments import confidence_of

_FIELDS = frozenset({"model", "language", "prompt", "format", "rate", "channels", "silence_ms", "formats"})
_RATES_HZ = (8_000, 192_000)
_MOST_CHANNELS = 8


class Conversation(Exchange):
    def __init__(self, socket: WebSocket, host: Host, number: str) -> None:
        """Raises Refused for what the address asks and cannot be had."""
        super().__init__(socket, host, number)
        query, config = socket.query_params, host.config
        if unknown := sorted(query.keys() - _FIELDS):
            raise Refused(f"there is no field {unknown[0]}", param=unknown[0], code="unknown_field")
        if "model" in query:
            model_of(query["model"], host.models)
        language = language_of(query.get("language"), config, host.known)
        form = query.get("format", "pcm16")
        if form not in SOUNDS:
            raise Refused(f"format is {form!r}; it is one of {', '.join(SOUNDS)}", param="format")
        rate_hz = _whole(query.get("rate", "16000"), "rate", *_RATES_HZ)
        channels = _whole(query.get("channels", "1"), "channels", 1, _MOST_CHANNELS)
        if channels > 1 and form == "container":
            raise Refused(
                "channels are for pcm16, f32, pcmu and pcma; those of a container are mixed", param="channels"
            )
        silence_ms = _whole(query.get("silence_ms", str(config.serve.silence_ms)), "silence_ms", 100, 60_000)
        self._config = live_config(config, silence_ms)
        self._formats = [one for one in query.get("formats", "").split(",") if one]
        if unknown := [one for one in self._formats if one not in SUBTITLES]:
            raise Refused(f"formats are {', '.join(SUBTITLES)}, not {unknown[0]!r}", param="formats")
        context = query.get("prompt") or config.context
        self.begin(SOUNDS[form](rate_hz, channels), self._config, language, context, channels)

    async def greet(self) -> None:
        kept = {} if self.kept_as is None else {"audio_id": self.kept_as}
        await self.socket.send_json({"type": "started", "session": self.number, **kept})

    async def obey(self, message: Mapping[str, Any]) -> bool:
        if (data := message.get("bytes")) is not None:
            await self.push(data)
            return False
        try:
            kind = json.loads(message.get("text") or "")["type"]
        except (ValueError, TypeError, KeyError):
            kind = None
        if kind == "commit" and self.session is not None:
            await self.commit()
        elif kind == "end":
            await self.finish()
        else:
            raise Refused('a text message is {"type": "commit"} or {"type": "end"}', code="unknown_message")
        return bool(kind == "end")

    def shown(self, event: Event) -> list[dict[str, Any]]:
        if event["type"] == "said":
            return []
        if event["type"] == "final":
            place = {name: value for name, value in event.items() if name in ("utterance", "channel")}
            return [{"type": "final", **place, **_utterance(event["row"])}]
        if event["type"] == "ended":
            whole = transcript(event["rows"], self._config)
            about = {"language": whole["language"], "duration": seconds(whole["duration_ms"]), "flags": whole["flags"]}
            recording = from_row(whole)
            about |= {name: FORMATS[name].render(recording, self._config) for name in self._formats}
            return [{"type": "ended", "text": whole["text"] or "", **about}]
        times = {name: seconds(value) for name, value in event.items() if name.endswith("_ms")}
        others = {name: value for name, value in event.items() if name not in times and name != "pushed_at"}
        return [others | {name.removesuffix("_ms"): value for name, value in times.items()}]


def _utterance(row: Mapping[str, Any]) -> dict[str, Any]:
    words = row["words"] or []
    speaker = {} if row["channel"] is None else {"speaker": speaker_of(row["channel"])}
    return {
        **speaker,
        "start": seconds(row["start_ms"]),
        "end": seconds(row["end_ms"]),
        "text": row["text"] or "",
        "language": row["language"],
        "confidence": confidence_of(words),
        "words": [
            {
                "word": word["word"],
                "start": seconds(word["start_ms"]),
                "end": seconds(word["end_ms"]),
                "confidence": word["confidence"],
            }
            for word in words
        ],
        "flags": row["flags"] or [],
        "error": row["error"]["message"] if row["error"] else None,
    }


def _whole(text: str, param: str, least: int, most: int) -> int:
    if not text.isdigit() or not least <= int(text) <= most:
        raise Refused(f"{param} is {text!r}; it is a whole number from {least} to {most}", param=param)
    return int(text)
