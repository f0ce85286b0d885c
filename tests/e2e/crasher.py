"""An engine that takes its process with it when it hears a certain recording, as a decoder's bug does."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass

from tests.kit.engine import Recognizer, Spec
from transforms.engines import Hypothesis, Utterance


@dataclass(frozen=True)
class CrashingSpec(Spec):
    """`deadly`: the context that marks the recordings to die on."""

    deadly: str = "deadly"

    def load(self) -> CrashingRecognizer:
        return CrashingRecognizer(self)


class CrashingRecognizer(Recognizer):
    def __init__(self, spec: CrashingSpec) -> None:
        super().__init__(spec)
        self._deadly = spec.deadly

    def recognize(self, utterances: Sequence[Utterance]) -> list[Hypothesis]:
        if any(utterance.context == self._deadly for utterance in utterances):
            os.kill(os.getpid(), signal.SIGSEGV)
        return super().recognize(utterances)
