from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from schemas.config import Config, ConfigError, load_config, show_config
from transforms.audio.packing import Packer

_TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=40) | st.sampled_from(
    [
        "no",
        "null",
        "12",
        "…",
        "...",
        "wait...",
        "a: b",
        "- a",
        "# b",
        "'",
        '"',
        "two\nlines",
        " x ",
        "\u00a0",
        "{",
        "[1]",
    ]
)
_OPTIONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | _TEXT,
    lambda values: st.lists(values, max_size=3) | st.dictionaries(_TEXT, values, max_size=3),
    max_leaves=6,
)


def _file(folder: Path, text: str) -> Path:
    path = folder / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_changes_what_it_names_and_nothing_else(tmp_path: Path) -> None:
    config = load_config(_file(tmp_path, "vad: {threshold: 0.7}\naligners: []\nlanguage: sv\n"))
    defaults = Config().model_dump()
    named = {"vad": defaults["vad"] | {"threshold": 0.7}, "aligners": (), "language": "sv"}
    assert config.model_dump() == defaults | named


def test_an_empty_file_is_all_defaults(tmp_path: Path) -> None:
    assert load_config(_file(tmp_path, "# nothing yet\n")) == Config() == load_config(None)


@pytest.mark.parametrize(
    ("unknown", "nearest"),
    [
        ("vad.treshold", "'vad.threshold'"),
        ("threshold", "'vad.threshold'"),
        ("batch", "'batching'"),
        ("packing.max_chunk", "'packing.max_chunk_s'"),
        ("vad.max_chunk_s", "'packing.max_chunk_s'"),
        ("run.zzz", "wave_minutes, waves_at_once"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_valid_one(unknown: str, nearest: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load_config(None, [f"{unknown}=1"])
    assert f"unknown configuration key '{unknown}'" in str(refused.value)
    assert nearest in str(refused.value)


@pytest.mark.parametrize(
    ("override", "key", "allowed"),
    [
        ("audio.channels=left", "audio.channels", "'mix' or 'split'"),
        ("vad.threshold=1.5", "vad.threshold", "less than 1"),
        ("vad.threshold=0.2", "vad", "end_threshold 0.35 must not be above threshold 0.2"),
        ("fetch.attempts=many", "fetch.attempts", "valid integer"),
        ("fetch.attempts=2.5", "fetch.attempts", "valid integer"),
        ("aligners=sphinx", "aligners", "tuple"),
        ("language=yes", "language", "string"),
        ("packing.part_minutes=.inf", "packing.part_minutes", "finite"),
        ("packing.max_gap_s=.nan", "packing.max_gap_s", "finite"),
        ("vad=", "vad", "dictionary"),
    ],
)
def test_a_wrong_value_is_refused_with_what_is_allowed(override: str, key: str, allowed: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load_config(None, [override])
    assert f"configuration key '{key}'" in str(refused.value)
    assert allowed in str(refused.value)


def test_all_faults_of_a_file_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        load_config(_file(tmp_path, "vad: {treshold: 1}\nrun: {progress_s: -1}\n"))
    assert "vad.treshold" in str(refused.value)
    assert "run.progress_s" in str(refused.value)


def test_parts_are_longer_than_the_window_in_which_they_are_cut() -> None:
    """Else the cut after a part could lie before the one that starts it."""
    with pytest.raises(ConfigError, match="part_minutes"):
        load_config(None, ["packing.part_minutes=0.4"])


def test_the_command_line_wins_over_the_file_and_the_last_word_wins(tmp_path: Path) -> None:
    path = _file(tmp_path, "vad: {threshold: 0.7, pad_ms: 100}\n")
    config = load_config(path, ["vad.threshold=0.6", "vad.threshold=0.8", "engine.options.model=tiny.en"])
    assert (config.vad.threshold, config.vad.pad_ms) == (0.8, 100)
    assert config.engine.options == {"model": "tiny.en"}


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("vad.threshold", "section.key=value"),
        ("language.code=en", "'language' has no keys below it"),
        ('context="[a', "--set context"),
    ],
)
def test_an_override_that_cannot_be_read_is_refused(tmp_path: Path, override: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says.replace(".", r"\.")):
        load_config(_file(tmp_path, "language: en\n"), [override])


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"- a list\n", "found a list"), (b"vad: [\n", "not valid YAML"), ("Gerät: 1".encode("latin-1"), "not UTF-8")],
)
def test_a_file_that_is_no_configuration_is_named(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=says) as refused:
        load_config(path)
    assert str(path) in str(refused.value)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.yaml"):
        with pytest.raises(ConfigError, match="--config") as refused:
            load_config(path)
        assert str(path) in str(refused.value)


@given(context=_TEXT | st.none(), options=st.dictionaries(_TEXT, _OPTIONS, max_size=3), threshold=st.floats(0.36, 0.99))
def test_show_config_is_read_back_as_the_same(
    tmp_path_factory: pytest.TempPathFactory, context: str | None, options: dict[str, object], threshold: float
) -> None:
    config = Config.model_validate(
        {"context": context, "engine": {"options": options}, "vad": {"threshold": threshold}, "aligners": ["a:B"]}
    )
    path = tmp_path_factory.getbasetemp() / "shown.yaml"
    path.write_text(show_config(config), encoding="utf-8")
    assert load_config(path) == config


def test_show_config_has_every_key_with_a_comment_above_it() -> None:
    lines = show_config(Config()).splitlines()
    keys = [index for index, line in enumerate(lines) if not line.lstrip().startswith("#")]
    assert all(lines[index - 1].lstrip().startswith("# ") for index in keys)

    def count(values: dict[str, object]) -> int:
        sections = [value for value in values.values() if isinstance(value, dict)]
        return len(values) + sum(count(section) for section in sections)

    assert len(keys) == count(Config().model_dump())
    assert set(yaml.safe_load("\n".join(lines))) == set(Config.model_fields)


def test_a_configuration_cannot_be_changed_after_it_was_checked() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Config().vad.threshold = 2.0


@given(pad_ms=st.integers(0, 100_000), max_chunk_s=st.floats(2, 1200))
def test_every_padding_that_is_allowed_leaves_room_for_speech(pad_ms: int, max_chunk_s: float) -> None:
    config = Config.model_validate({"vad": {"pad_ms": pad_ms}, "packing": {"max_chunk_s": max_chunk_s}})
    assert Packer(config.vad, config.packing).max_span_samples >= 16_000


def test_a_key_that_stands_twice_is_refused_and_named(tmp_path: Path) -> None:
    for text, key in (
        ("vad: {threshold: 0.7}\nlanguage: de\nvad: {pad_ms: 200}\n", "vad"),
        ("vad:\n  pad_ms: 1\n  pad_ms: 2\n", "pad_ms"),
        ("fetch: {storage_options: {s3: {anon: true, anon: false}}}\n", "anon"),
    ):
        with pytest.raises(ConfigError, match=f"the key '{key}' stands twice"):
            load_config(_file(tmp_path, text))
    merged = "aligner_options:\n  a: &a {x: 1, y: 1}\n  b: {<<: *a, x: 2}\n"
    assert load_config(_file(tmp_path, merged)).aligner_options["b"] == {"x": 2, "y": 1}


@pytest.mark.parametrize(
    ("written", "language"),
    [("EN", "en"), ("en-US", "en"), ("German", "de"), ("no", "no"), ("''", None), ("null", None), ("iw", "he")],
)
def test_the_language_may_be_spelled_in_any_way(written: str, language: str | None) -> None:
    assert load_config(None, [f"language={written}"]).language == language
    with pytest.raises(ConfigError, match="'language': no language is called so"):
        load_config(None, ["language=xx"])
