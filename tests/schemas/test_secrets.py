"""What stands in runs.config and is printed holds no secret."""

from __future__ import annotations

import pytest
import yaml

import jobs.transcribe
from schemas.config import Config, load_config, show_config
from schemas.secrets import without_secrets

_STORAGE = {
    "s3": {
        "key": "AKIA-1",
        "secret": "S-2",
        "token": "S-3",
        "anon": False,
        "client_kwargs": {"endpoint_url": "https://joe:S-4@minio:9000"},
    },
    "abfs": {"account_name": "lake", "account_key": "S-5", "sas_token": "S-6", "connection_string": "S-7"},
    "https": {"headers": {"Authorization": "Bearer S-8", "Accept": "audio/*"}, "password": None},
}
_ENGINE = {"model": "https://host/model?v=2&sig=S-9&x=1", "tokens_per_s": 16.0, "apiKey": "S-10", "tokenizer": "a/b"}
_SETTINGS = {
    "fetch": {"storage_options": _STORAGE},
    "engine": {"name": "own.engine:Spec", "options": _ENGINE},
    "aligner_options": {"own": {"hf_token": "S-11", "names": ["s3://me:S-12@b/a", "plain"], "max_context_tokens": 7}},
}


def test_secrets_are_left_out_and_all_else_stays() -> None:
    config = Config.model_validate(_SETTINGS)
    shown = show_config(config, redacted=True)
    assert "S-" not in shown and "AKIA" not in shown
    told = yaml.safe_load(shown)
    assert told["fetch"]["storage_options"] == {
        "s3": {
            "key": "***",
            "secret": "***",
            "token": "***",
            "anon": False,
            "client_kwargs": {"endpoint_url": "https://***@minio:9000"},
        },
        "abfs": {"account_name": "lake", "account_key": "***", "sas_token": "***", "connection_string": "***"},
        "https": {"headers": {"Authorization": "***", "Accept": "audio/*"}, "password": None},
    }
    model = "https://host/model?v=2&sig=***&x=1"
    assert told["engine"]["options"] == _ENGINE | {"apiKey": "***", "model": model}
    own = {"hf_token": "***", "names": ["s3://***@b/a", "plain"], "max_context_tokens": 7}
    assert told["aligner_options"] == {"own": own}
    for section in ("vad", "packing", "run", "batching", "aligners", "context"):
        assert told[section] == yaml.safe_load(show_config(config))[section]


@pytest.mark.parametrize("name", ["keyboard", "monkeys", "tokens_per_s", "tokenizer", "author", "basalt", "passes"])
def test_names_that_only_look_like_it_stay(name: str) -> None:
    assert without_secrets({name: "x"}) == {name: "x"}


def test_the_command_shows_no_secret(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--show-config", "--set", "fetch.storage_options={s3: {secret: S-1}}"]
    jobs.transcribe.main(arguments)
    shown = capsys.readouterr().out
    assert "S-1" not in shown
    assert "{s3: {secret: '***'}}" in shown


def test_what_is_read_back_still_has_them() -> None:
    config = load_config(None, ["fetch.storage_options={s3: {secret: S-1}}"])
    assert "S-1" in show_config(config)
