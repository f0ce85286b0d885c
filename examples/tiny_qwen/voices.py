"""espeak-ng through its C library: speech at 16 kHz with the exact time of every word.

The library and its voices come in the Python package espeakng_loader, so nothing has to be installed beside it.
"""

import ctypes
from typing import Any

import espeakng_loader
import numpy as np
from scipy.signal import resample_poly

RATE_HZ = 16000
ACCENTS = {"English": ["en-us", "en", "en-gb-x-rp"], "German": ["de"]}
TRAINED_VARIANTS = (
    "m1 m2 m4 m5 m7 m8 f1 f2 f3 f5 Andy Alex Michael Denis belinda Gene Jacky Lee Mario Marco antonio boris edward "
    "linda max michel paul pablo rob robert sandro shelby travis zac john david benjamin caleb adam Annie Alicia "
    "steph2 grandma"
).split()
UNHEARD_VARIANTS = "m3 f4 m6 steph".split()  # for scores and demos only

# Of espeak-ng's speak_lib.h
SYNCHRONOUS, PHONEME_EVENTS, UTF8 = 2, 1, 1
LIST_END, WORD, END, PHONEME = 0, 1, 5, 7
SPEED, VOLUME, PITCH, PITCH_RANGE, WORD_GAP = 1, 2, 3, 4, 7


class _EventId(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),  # in characters, from 1
        ("length", ctypes.c_int),
        ("audio_position_ms", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _EventId),
    )


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


class Speaker:
    """espeak-ng. One a process: the library keeps its state in globals."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        data = espeakng_loader.get_data_path().encode()
        self._rate_hz = self._library.espeak_Initialize(SYNCHRONOUS, 200, data, PHONEME_EVENTS)
        if self._rate_hz <= 0:
            raise RuntimeError(f"espeak-ng does not start with the data in {data.decode()}")
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(1))  # breathy voices draw noise, by default from the clock
        self._callback = _Callback(self._receive)  # kept: C holds no reference to it
        self._library.espeak_SetSynthCallback(self._callback)
        self._pcm: list[np.ndarray] = []
        self._events: list[tuple[int, int, int, bytes]] = []

    def _receive(self, samples: Any, count: int, events: Any) -> int:
        if count > 0 and samples:
            self._pcm.append(np.ctypeslib.as_array(samples, (count,)).copy())
        at = 0
        while events[at].type != LIST_END:
            event = events[at]
            name = event.id.string if event.type == PHONEME else b""
            self._events.append((event.type, event.sample, event.text_position - 1, name))
            at += 1
        return 0

    def say(
        self, text: str, voice: str, *, words_per_minute: int = 160, pitch: int = 50, gap_10ms: int = 0
    ) -> tuple[np.ndarray, list[tuple[float, float]] | None]:
        """Speak `text`.

        Returns float32 samples at 16 kHz, and the start and end in seconds of each word that whitespace separates;
        None instead of times where espeak-ng speaks two words as one ("no one").
        """
        self._pcm, self._events = [], []
        if self._library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise ValueError(f"espeak-ng has no voice {voice}")
        settings = ((SPEED, words_per_minute), (VOLUME, 100), (PITCH, pitch), (PITCH_RANGE, 50), (WORD_GAP, gap_10ms))
        for parameter, value in settings:
            self._library.espeak_SetParameter(parameter, value, 0)
        raw = text.encode() + b"\0"
        self._library.espeak_Synth(raw, len(raw), 0, 0, 0, UTF8, None, None)
        self._library.espeak_Synchronize()
        pcm = np.concatenate(self._pcm).astype(np.float32) / 32768
        common = int(np.gcd(RATE_HZ, self._rate_hz))
        samples = resample_poly(pcm, RATE_HZ // common, self._rate_hz // common).astype(np.float32)
        return samples, self._word_times(text, len(pcm))

    def _word_times(self, text: str, total: int) -> list[tuple[float, float]] | None:
        """A word ends at its first pause that no sound of its own follows, or where the next word begins."""
        word_at = _word_of_each_character(text)
        starts: dict[int, int] = {}
        ends: dict[int, int] = {}
        current = -1
        for kind, sample, position, name in self._events:
            if kind == WORD and 0 <= position < len(word_at) and word_at[position] >= 0:
                word = word_at[position]
                starts.setdefault(word, sample)
                if current not in (-1, word):
                    ends.setdefault(current, sample)
                current = word
            elif kind == PHONEME and current >= 0:
                if name == b"" or name.startswith(b"_"):
                    ends.setdefault(current, sample)
                else:
                    ends.pop(current, None)
            elif kind == END and current >= 0:
                ends.setdefault(current, sample)
        ends.setdefault(current, total)
        words = range(len(text.split()))
        if any(word not in starts for word in words):
            return None
        return [(starts[word] / self._rate_hz, ends[word] / self._rate_hz) for word in words]


def _word_of_each_character(text: str) -> list[int]:
    """For each character the number of its word, or -1 for whitespace."""
    numbers, word = [], -1
    for at, character in enumerate(text):
        if character.isspace():
            numbers.append(-1)
            continue
        if at == 0 or text[at - 1].isspace():
            word += 1
        numbers.append(word)
    return numbers
