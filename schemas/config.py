"""The job's configuration: YAML in, a frozen typed model out.

Every field says what it means and in which unit; `python -m jobs.transcribe --show-config` prints them all. Unknown
keys are refused with the nearest valid one, wrong values with what is allowed. Spark's own settings are not here: they
stay in `conf/*.conf`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from schemas.languages import code, is_unsaid
from schemas.secrets import without_secrets
from schemas.shipped import configurations

AUTO_PER_CHUNK = "auto-per-chunk"
SAMPLE_RATE_HZ = 16_000
"""The one rate of all audio between decoding and the engines: what Silero, Whisper and Qwen3-ASR were trained on."""
MAX_WAVES_AT_ONCE = 8


class ConfigError(ValueError):
    """A configuration that cannot be used; the message names the key, the value and what is allowed."""


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def field(default: Any, meaning: str, **limits: Any) -> Any:
    return Field(default, description=meaning, validate_default=True, **limits)


class EngineConfig(Section):
    name: str = field("whisper", "recognizer: 'qwen', 'vllm', 'whisper', or 'module:Class' for one's own")
    options: dict[str, Any] = field({}, "the recognizer's own options, checked by it; model first of all")


class FetchConfig(Section):
    connect_timeout_s: float = field(10.0, "seconds to wait for a remote server to answer", gt=0)
    read_timeout_s: float = field(30.0, "seconds without a byte after which a download is given up", gt=0)
    min_bytes_per_s: float = field(
        4_000.0, "a download that is slower than this, read_timeout_s after it began, is given up; 0 for any", ge=0
    )
    attempts: int = field(
        3, "tries for an error that may pass (network, throttling), before it becomes a failure row", ge=1
    )
    allowed_roots: tuple[str, ...] = field(
        (),
        "folders, buckets and addresses that recordings may come from, as in [/mnt/calls, s3://calls, https://]; "
        "empty: from anywhere, but over http from no private network. A private host must be named: http://10.0.0.5:8080",
    )
    storage_options: dict[str, dict[str, Any]] = field(
        {}, "options for fsspec by protocol, as in {s3: {anon: true}}; credentials are better left to the environment"
    )


class AudioConfig(Section):
    channels: Literal["mix", "split"] = field(
        "mix", "'mix' averages the channels, 'split' transcribes each by itself; the manifest's column wins"
    )
    stall_s: float = field(
        600.0, "seconds that decoding a block may take before the recording is given up as one that hangs", gt=0
    )
    block_s: float = field(30.0, "seconds of audio decoded at a time; bounds memory, changes no result", gt=0, le=300)


class VadConfig(Section):
    threshold: float = field(0.5, "Silero's probability from which a 32 ms frame starts speech", gt=0, lt=1)
    end_threshold: float = field(0.35, "probability below which a frame may end speech", gt=0, lt=1)
    min_speech_ms: int = field(100, "shorter speech is dropped as a click", ge=0)
    min_silence_ms: int = field(160, "silence that ends a span of speech", ge=32)
    pad_ms: int = field(400, "audio kept before and after a span, as far as the neighbours leave room", ge=0)

    @model_validator(mode="after")
    def _ordered(self) -> VadConfig:
        if self.end_threshold > self.threshold:
            raise ValueError(f"end_threshold {self.end_threshold} must not be above threshold {self.threshold}")
        return self


class PackingConfig(Section):
    max_chunk_s: float = field(
        28.0, "longest stretch sent to the engine at once; an aligner that takes less lowers it", ge=2, le=1200
    )
    max_gap_s: float = field(2.0, "a silence longer than this always ends a chunk", ge=0)
    part_minutes: float = field(
        10.0,
        "a long recording is tasks of about this length, cut where it is quiet; its first, done alone, is half as long",
        ge=0.5,
    )


class BatchingConfig(Section):
    max_padded_audio_s: float = field(120.0, "audio in one batch, each clip counted as long as the longest", gt=0)
    lookahead_audio_s: float = field(1000.0, "audio held ready to choose batches of like length from", gt=0)
    prefetch_mib: int = field(64, "decoded audio that may wait for the engine, in MiB a task", ge=1)
    front_threads: int = field(2, "threads a task that fetch, decode and run VAD ahead of the engine", ge=1, le=64)


class RetryConfig(Section):
    min_audio_ms: int = field(2_000, "chunks shorter than this are not halved for a second try", ge=200)
    low_confidence: float = field(0.4, "confidence below which a chunk is flagged 'low_confidence'", ge=0, le=1)
    missed_speech_s: float = field(
        0.3,
        "speech that VAD may miss in a chunk; text that cannot be said in this and what it heard is read again there",
        ge=0,
    )


class SegmentsConfig(Section):
    max_chars: int = field(
        84, "longest segment in characters (two subtitle lines of 42), where punctuation or a pause allows", ge=10
    )
    max_ms: int = field(7_000, "longest segment in milliseconds, where punctuation or a pause allows", ge=500)
    max_pause_ms: int = field(1_500, "a pause longer than this always ends a segment", ge=100)


class SubtitlesConfig(Section):
    max_lines: int = field(2, "lines of a subtitle", ge=1, le=3)
    max_line_chars: int = field(42, "longest line; wide characters (Chinese, Japanese, Korean) count two", ge=10)
    chars_per_second: float = field(17.0, "how fast a subtitle may have to be read; wide characters count two", gt=0)
    min_ms: int = field(1_000, "shortest time a subtitle is shown, where the next one leaves room", ge=1)
    max_ms: int = field(7_000, "longest time a subtitle is shown", ge=500)
    gap_ms: int = field(80, "time between two subtitles, two frames by default", ge=0, le=500)
    max_slip_ms: int = field(
        1_000, "how far a subtitle may begin before or after its words, where they are said too fast to read", ge=0
    )


class RunConfig(Section):
    wave_minutes: float = field(
        10.0, "work of all slots that is committed together, by their measured speed: what a killed job may lose", gt=0
    )
    waves_at_once: int = field(
        2,
        "waves in flight, so that the next starts while the last one's stragglers finish",
        ge=1,
        le=MAX_WAVES_AT_ONCE,
    )
    wave_audio_hours: float | None = field(
        None, "audio hours committed together; null: what the slots do in wave_minutes", gt=0
    )
    task_minutes: float = field(2.0, "work of one slot in one Spark task, by its measured speed", gt=0)
    task_audio_minutes: float | None = field(
        None, "audio minutes in one Spark task; null: what a slot does in task_minutes", gt=0
    )
    claim_minutes: float = field(
        10.0,
        "a run without a sign of life for so long is dead, and other runs may do the recordings it holds",
        gt=0,
    )
    alike_failures: int = field(
        20,
        "recordings in a row that fail alike before the run stops, since the store or the machine must be at fault; "
        "0 never stops",
        ge=0,
    )
    progress_s: float = field(5.0, "seconds between progress lines in a log", gt=0)
    log: Literal["text", "json"] = field(
        "text", "what is told on the standard error: sentences, or a JSON object a line, of tasks and recordings too"
    )


class ServeConfig(Section):
    keys: str | None = field(None, "a file of hashed keys (jobs.serve --new-key NAME); null lets everybody ask")
    addresses: tuple[str, ...] = field(
        (), "addresses that requests may name in place of audio, as in [https://calls.example.com/]; empty: none"
    )
    max_upload_mib: int = field(1024, "largest request that jobs.serve takes, in MiB", ge=1)
    max_requests: int = field(64, "requests at work at once; more are told to come again", ge=1)
    max_waiting_audio_s: float = field(
        3600.0, "audio that may wait for the engines; while there is more, requests are told to come again", gt=0
    )
    partial_s: float = field(0.3, "how much more must be said before an utterance is read again while it goes on", gt=0)
    silence_ms: int = field(800, "the pause that ends an utterance of a live session, where it does not say", ge=100)
    idle_s: float = field(60.0, "a live session in which nothing comes for so long is ended", gt=0)
    max_session_minutes: float = field(240.0, "longest live session", gt=0)
    spool: str | None = field(
        None,
        "with jobs.serve --tables: a folder of the machine, where the sound of open sessions lies; null: beside the "
        "finished ones, if these are local",
    )
    retry_after_s: int = field(10, "after how many seconds they are told to", ge=1)


class Config(Section):
    engine: EngineConfig = field(EngineConfig(), "what turns audio into text")
    aligners: tuple[str, ...] = field(
        ("sphinx", "recognizer"),
        "what times the words, in order: 'qwen', 'vllm', 'sphinx', 'recognizer', 'module:Class'; [] for none",
    )
    aligner_options: dict[str, dict[str, Any]] = field(
        {}, "options of aligners by name, checked by them, as in {qwen: {model: /models/aligner}}"
    )
    language: str | None = field(
        None,
        "language of all recordings that name none in the manifest ('de', 'de-AT', 'German'); null detects it once a "
        "recording, "
        "'auto-per-chunk' in every chunk by itself (code-switching)",
    )
    context: str | None = field(None, "names and terms that the model should expect in every recording")
    fetch: FetchConfig = field(FetchConfig(), "opening local and remote files")
    audio: AudioConfig = field(AudioConfig(), "decoding")
    vad: VadConfig = field(VadConfig(), "voice activity detection")
    packing: PackingConfig = field(PackingConfig(), "speech spans to chunks")
    batching: BatchingConfig = field(BatchingConfig(), "chunks to batches; changes speed and memory, no result")
    retry: RetryConfig = field(RetryConfig(), "second tries and flags of doubtful chunks")
    segments: SegmentsConfig = field(SegmentsConfig(), "words to sentences; applied by publish, needs no engine")
    subtitles: SubtitlesConfig = field(SubtitlesConfig(), "how jobs.export cuts words into SRT and VTT")
    run: RunConfig = field(RunConfig(), "how the work is cut into commits and tasks; changes no result")
    serve: ServeConfig = field(ServeConfig(), "what jobs.serve takes")

    @field_validator("language", mode="before")
    @classmethod
    def _normal_code(cls, language: Any) -> Any:
        if language is False:  # YAML 1.1 reads the code of Norwegian as that
            return "no"
        if not isinstance(language, str) or language == AUTO_PER_CHUNK:
            return language
        if is_unsaid(language):
            return None
        if (normal := code(language)) is None:
            raise ValueError(f"no language is called so; give a code such as 'en' or 'yue', null or '{AUTO_PER_CHUNK}'")
        return normal


def load_config(path: str | Path | None, overrides: Sequence[str] = ()) -> Config:
    """The configuration in the YAML file `path`, or of that name in conf/ ('local', 'gpu'; None: all defaults), with
    `section.key=value` overrides applied last.

    Raises ConfigError for a missing file, bad YAML, an unknown key or a value that is not allowed.
    """
    values = _read_yaml(path) if path is not None else {}
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals:
            raise ConfigError(f"--set {override}: write it as section.key=value, for example vad.threshold=0.6")
        _set(values, key.strip().split("."), _parse(text, f"--set {override}"), override)
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(e) for e in error.errors())) from None


def _read_yaml(path: str | Path) -> dict[str, Any]:
    shipped = configurations()
    try:
        text = shipped.get(str(path), Path(path)).read_text(encoding="utf-8")
    except OSError as error:
        names = ", ".join(sorted(shipped))
        raise ConfigError(
            f"configuration {path}: {error.strerror}; give --config the path of a YAML file, or a name of: {names}"
        ) from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"configuration {path} is not UTF-8: {error}; save it as UTF-8") from None
    values = _parse(text, f"configuration {path}")
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"configuration {path}: expected 'section: …' lines, found a {type(values).__name__}")
    return values


_MERGE = "tag:yaml.org,2002:merge"
"""Of the key '<<', which brings another section's keys and may stand twice."""


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice, of which YAML's own loader silently keeps the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: list[Any] = []
        for key_node in (key_node for key_node, _ in node.value if key_node.tag != _MERGE):
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                problem = f"the key '{key}' stands twice; leave one, with all that is below both"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            seen.append(key)
        return super().construct_mapping(node, deep)


def _parse(text: str, where: str) -> Any:
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{where} is not valid YAML: {error}") from None


def _set(values: dict[str, Any], keys: list[str], value: Any, override: str) -> None:
    for key in keys[:-1]:
        values = values.setdefault(key, {})
        if not isinstance(values, dict):
            raise ConfigError(f"--set {override}: '{key}' has no keys below it")
    values[keys[-1]] = value


def _explain(error: Any) -> str:
    """One line a person can act on, from one of pydantic's error records."""
    path = [str(part) for part in error["loc"]]
    if error["type"] != "extra_forbidden":
        reason = error["msg"].removeprefix("Value error, ")
        return f"configuration key '{'.'.join(path)}': {reason} (found {error['input']!r})"
    siblings = type(_section_at(path[:-1])).model_fields
    close = difflib.get_close_matches(path[-1], siblings, n=1, cutoff=0.5)
    anywhere = [key for key, _, _ in _leaves(Config()) if key.split(".")[-1] == path[-1]]
    nearest = ".".join([*path[:-1], close[0]]) if close else (anywhere[0] if anywhere else None)
    hint = f"did you mean '{nearest}'?" if nearest else f"known keys here: {', '.join(siblings)}"
    return f"unknown configuration key '{'.'.join(path)}': {hint}"


def _section_at(path: Sequence[str]) -> Section:
    section: Any = Config()
    for key in path:
        section = getattr(section, key)
    return section  # type: ignore[no-any-return]


def _leaves(section: Section, prefix: str = "") -> Iterator[tuple[str, Any, str]]:
    for name, info in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, Section):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value, info.description or ""


def show_config(config: Config, *, redacted: bool = False) -> str:
    """The whole effective configuration as YAML that `load_config` reads back, with a comment above each field;
    `redacted`: with '***' for what is secret in the options."""
    lines: list[str] = []

    def write(section: Section, indent: str) -> None:
        for name, info in type(section).model_fields.items():
            value = getattr(section, name)
            lines.append(f"{indent}# {info.description}")
            if isinstance(value, Section):
                lines.append(f"{indent}{name}:")
                write(value, indent + "  ")
            else:
                plain = list(value) if isinstance(value, tuple) else value
                plain = without_secrets(plain) if redacted else plain
                text = yaml.safe_dump(plain, default_flow_style=True, allow_unicode=True, width=10_000)
                lines.append(f"{indent}{name}: {text.removesuffix(chr(10)).removesuffix('...').rstrip(chr(10))}")

    write(config, "")
    return "\n".join(lines) + "\n"
