"""What a request asks for, out of the fields of its form, as OpenAI's API names them."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Literal, cast

from schemas.config import AUTO_PER_CHUNK, Config, PackingConfig, VadConfig
from schemas.languages import code, is_unsaid

ENGINE_LOST = "engine_lost"
UNAVAILABLE = HTTPStatus.SERVICE_UNAVAILABLE
Form = Literal["json", "verbose_json", "text", "srt", "vtt", "diarized_json"]
_FORMS = ("json", "verbose_json", "text", "srt", "vtt", "diarized_json")
SUBTITLES = ("srt", "vtt")
_GRANULARITIES = ("word", "segment")
_FIELDS = frozenset(
    "model language prompt response_format timestamp_granularities include temperature chunking_strategy stream "
    "channels".split()
)
_NOT_HAD = {
    "known_speaker_names": "speakers are known by their channels only",
    "known_speaker_references": "speakers are known by their channels only",
    "keywords": "put names and terms into prompt",
    "languages": "give one language, or none",
}
_SERVER_VAD = ("threshold", "silence_duration_ms", "prefix_padding_ms")


class Refused(Exception):
    """A request that cannot be done; told in the shape of OpenAI's errors. `param` is the field at fault, `code` a
    short word to know the reason by."""

    def __init__(
        self,
        message: str,
        status: HTTPStatus = HTTPStatus.BAD_REQUEST,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message, self.status, self.param, self.code = message, status, param, code
        self.retry_after_s = retry_after_s

    @property
    def body(self) -> dict[str, Any]:
        kinds = {HTTPStatus.UNAUTHORIZED: "authentication_error", HTTPStatus.TOO_MANY_REQUESTS: "rate_limit_error"}
        kind = kinds.get(self.status, "server_error" if self.status >= 500 else "invalid_request_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}


@dataclass(frozen=True)
class Asked:
    """`config` is the server's, with what the request sets of it."""

    form: Form
    config: Config
    language: str | None
    context: str | None
    channels: Literal["mix", "split"]
    words: bool
    segments: bool
    logprobs: bool
    subtitles: tuple[str, ...]
    stream: bool


def asked(
    fields: Sequence[tuple[str, str]], config: Config, models: Collection[str], known: Collection[str] | None
) -> Asked:
    """`fields`: those of the form that are no file, in order. `models`: what the server calls its model; `known`: the
    languages that it speaks, None for any. Raises Refused."""
    single, lists, nested = _sorted(fields)
    if unknown := sorted({*single, *lists, *nested} - _FIELDS):
        had = _NOT_HAD.get(unknown[0])
        reason = f"{unknown[0]} cannot be had here: {had}" if had else f"there is no field {unknown[0]}"
        raise Refused(reason, param=unknown[0], code="unsupported_field" if had else "unknown_field")
    model_of(single.get("model"), models)
    form = single.get("response_format") or "json"
    _among(form, _FORMS, "response_format")
    granularities = lists.get("timestamp_granularities") or ["segment"]
    for one in granularities:
        _among(one, _GRANULARITIES, "timestamp_granularities")
    if "timestamp_granularities" in lists and form != "verbose_json":
        raise Refused("timestamp_granularities go with response_format=verbose_json", param="timestamp_granularities")
    include = lists.get("include") or []
    for one in include:
        _among(one, ("logprobs", *SUBTITLES), "include")
        if (one in SUBTITLES) != (form == "verbose_json") or (one == "logprobs") != (form == "json"):
            raise Refused("include: logprobs go with json, srt and vtt with verbose_json", param="include")
    _number(single.get("temperature") or "0", "temperature", 1.0)  # no engine here draws lots
    stream = (single.get("stream") or "false").lower()
    _among(stream, ("true", "false"), "stream")
    channels = single.get("channels") or config.audio.channels
    _among(channels, ("mix", "split"), "channels")
    return Asked(
        cast(Form, form),
        _with_chunking(config, single.get("chunking_strategy"), nested.get("chunking_strategy", {})),
        language_of(single.get("language"), config, known),
        single.get("prompt") or config.context,
        cast(Literal["mix", "split"], channels),
        "word" in granularities,
        "segment" in granularities,
        "logprobs" in include,
        tuple(one for one in SUBTITLES if one in include),
        stream == "true",
    )


def _sorted(
    fields: Sequence[tuple[str, str]],
) -> tuple[dict[str, str], dict[str, list[str]], dict[str, dict[str, str]]]:
    """Fields with one value, with several (include[]), and with parts (chunking_strategy[type])."""
    single: dict[str, str] = {}
    lists: dict[str, list[str]] = {}
    nested: dict[str, dict[str, str]] = {}
    for name, value in fields:
        if (found := re.fullmatch(r"(\w+)\[(\w*)\]", name)) is None:
            if name in ("include", "timestamp_granularities"):
                lists.setdefault(name, []).append(value)
            else:
                single[name] = value
        elif found[2]:
            nested.setdefault(found[1], {})[found[2]] = value
        else:
            lists.setdefault(found[1], []).append(value)
    return single, lists, nested


def _among(value: str, allowed: Sequence[str], param: str) -> None:
    if value not in allowed:
        reason = f"{param} is {value!r}; it is one of {', '.join(allowed)}"
        raise Refused(reason, param=param, code="invalid_value")


def _number(text: str, param: str, most: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= most:
        raise Refused(f"{param} is {text!r}; it is a number from 0 to {most:g}", param=param, code="invalid_value")
    return value


def model_of(model: str | None, models: Collection[str]) -> None:
    """Raises Refused if it is none of them."""
    if not model:
        raise Refused("model is missing", param="model", code="missing_field")
    if model not in models:
        reason = f"there is no model {model!r} here, but {', '.join(sorted(models))}"
        raise Refused(reason, HTTPStatus.NOT_FOUND, param="model", code="model_not_found")


def language_of(given: str | None, config: Config, known: Collection[str] | None) -> str | None:
    """The normal code of what a request asks for, or what the configuration says. Raises Refused."""
    if is_unsaid(given):
        return config.language
    language = given if given == AUTO_PER_CHUNK else code(given or "")
    if language is None:
        raise Refused(f"language is {given!r}, which is no language", param="language", code="invalid_value")
    if known is not None and language != AUTO_PER_CHUNK and language not in known:
        reason = f"the model does not know the language {given!r}; it knows {', '.join(sorted(known))}"
        raise Refused(reason, param="language", code="unsupported_language")
    return language


def _with_chunking(config: Config, whole: str | None, parts: Mapping[str, str]) -> Config:
    """chunking_strategy is 'auto', or an object of type server_vad, as JSON or field by field."""
    if not parts and whole in (None, "", "auto"):
        return config
    param = "chunking_strategy"
    try:
        given = dict(parts) or json.loads(whole or "")
    except ValueError:
        given = None
    if not isinstance(given, dict) or given.pop("type", None) != "server_vad" or not given.keys() <= {*_SERVER_VAD}:
        reason = f"{param} is 'auto', or an object of type server_vad with {', '.join(_SERVER_VAD)}"
        raise Refused(reason, param=param, code="invalid_value")
    try:
        vad, packing = config.vad.model_dump(), config.packing.model_dump()
        if "threshold" in given:
            vad["threshold"] = float(given["threshold"])
            vad["end_threshold"] = min(vad["end_threshold"], vad["threshold"])
        if "silence_duration_ms" in given:
            vad["min_silence_ms"] = int(given["silence_duration_ms"])
            packing["max_gap_s"] = vad["min_silence_ms"] / 1000
        if "prefix_padding_ms" in given:
            vad["pad_ms"] = int(given["prefix_padding_ms"])
        sections = {"vad": VadConfig(**vad), "packing": PackingConfig(**packing)}
    except (ValueError, TypeError) as error:
        reason = f"{param} cannot be used: {' '.join(str(error).split())}"
        raise Refused(reason, param=param, code="invalid_value") from None
    return config.model_copy(update=sections)
