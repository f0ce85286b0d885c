from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from schemas.config import Config
from tests.kit.reader import Reader
from tests.kit.works import work
from transforms.recognition.keys import config_key, content_key


@dataclass(frozen=True)
class Dear(Reader):
    """A spec that has to look into its model's files."""

    looks = 0

    @property
    def key(self) -> Mapping[str, Any]:
        type(self).looks += 1
        return {"name": "dear"}


def test_a_model_is_looked_at_once_a_process_not_once_a_recording() -> None:
    keys = {content_key("0", work(str(index)), Config(), Dear(), ()) for index in range(20)}
    assert (len(keys), Dear.looks) == (1, 1)
    config_key(Config(), Dear(), ())
    assert Dear.looks == 2, "a run looks again: the model may be another by now"


def test_a_content_key_depends_on_what_is_asked_and_not_on_the_address() -> None:
    def key(content: str = "0", config: Config | None = None, **changes: Any) -> str:
        return content_key(content, work("a.wav", **changes), config or Config(), Reader(), ())

    detected = {"language": "en", "language_source": "detected"}
    assert key() == key(uri="b.wav", audio_id="b", source_key="other", metadata={"a": "b"}, **detected)
    given = {"language": "en", "language_source": "given"}
    asked: list[dict[str, Any]] = [given, {"context": "x"}, {"channels": "split"}, {"start_ms": 5}, {"audio_track": 1}]
    others = [key("1"), key(config=Config.model_validate({"vad": {"threshold": 0.6}})), *(key(**one) for one in asked)]
    assert len({key(), *others}) == 1 + len(others)
