"""The recordings in speech/: short ones in voices that were never trained on, and their true words and times."""

import csv
from pathlib import Path
from random import Random

import numpy as np
import soundfile
from grammar import punctuated, sentence
from sounds import Utterance, coloured_noise, in_silence, joined
from voices import RATE_HZ, Speaker

SEED = 21
SAID = [  # file, language, voice, words a minute, words
    ("where_is_anna.wav", "English", "en-us+m3", 150, "where is Anna"),
    ("no.wav", "English", "en+f4", 160, "no"),
    ("dog_and_cat.flac", "English", "en-gb-x-rp+f4", 142, "the dog sees the black cat"),
    ("green_window.flac", "English", "en+m6", 158, "who opens the green window"),
    ("red_house.flac", "English", "en-us+steph", 146, "no Peter wants the red house and the garden"),
    ("numbers.flac", "English", "en-gb-x-rp+m3", 138, "seven zero nine twenty-one five"),
    ("please_dont.flac", "English", "en-us+f4", 150, "please don't"),
    ("wo_ist_der_vogel.wav", "German", "de+m3", 150, "wo ist der Vogel"),
    ("hund_und_katze.flac", "German", "de+f4", 146, "der Hund sieht das Haus und die Katze"),
    ("eins_bis_fuenf.flac", "German", "de+m6", 142, "eins zwei drei vier fünf"),
    ("garten.flac", "German", "de+steph", 154, "der Garten ist nicht grün"),
]
MINUTE = ("a_minute.flac", "English", "en-us+m3", 150)
MINUTE_S, LONGEST_SENTENCE_S = 60, 6
PAUSE_S = (0.6, 1.0)
NOISE_DB = -40  # below the speech, as of a quiet room
ISO_CODES = {"English": "en", "German": "de", "None": ""}
RECORDING_COLUMNS = ("uri", "language", "reference", "duration_ms", "voice")
WORD_COLUMNS = ("uri", "word", "start_ms", "end_ms")


def make_demo_speech(folder: Path) -> None:
    """Write the recordings, recordings.tsv and words.tsv."""
    folder.mkdir(parents=True, exist_ok=True)
    speaker, noise_rng = Speaker(), np.random.default_rng(SEED)
    recordings, words = [], []

    def add(uri: str, spoken: Utterance, voice: str) -> None:
        soundfile.write(folder / uri, spoken.samples, RATE_HZ, subtype="PCM_16")
        duration_ms = round(1000 * spoken.seconds)
        recordings.append((uri, ISO_CODES[spoken.language], spoken.text, duration_ms, voice))
        for word, (start_s, end_s) in zip(spoken.words, spoken.times_s, strict=True):
            words.append((uri, word, round(1000 * start_s), round(1000 * end_s)))

    for uri, language, voice, speed, said in SAID:
        spoken = _say(speaker, punctuated(said.split()), language, voice, speed)
        add(uri, _in_a_quiet_room(in_silence(spoken, 0.3, 0.3), noise_rng), voice)
    uri, language, voice, speed = MINUTE
    add(uri, _in_a_quiet_room(_a_minute(speaker, language, voice, speed), noise_rng), voice)
    add("silence.wav", Utterance(np.zeros(3 * RATE_HZ, np.float32)), "")
    add("hiss.flac", Utterance((0.05 * noise_rng.standard_normal(3 * RATE_HZ)).astype(np.float32)), "")
    _write(folder / "recordings.tsv", RECORDING_COLUMNS, recordings)
    _write(folder / "words.tsv", WORD_COLUMNS, words)


def _say(speaker: Speaker, words: list[str], language: str, voice: str, speed: int) -> Utterance:
    samples, times_s = speaker.say(" ".join(words), voice, words_per_minute=speed)
    if times_s is None:
        raise ValueError(f"espeak-ng joins words of {words}")
    return Utterance(samples[: np.flatnonzero(np.abs(samples) > 1e-3)[-1] + 1], language, words, times_s)


def _a_minute(speaker: Speaker, language: str, voice: str, speed: int) -> Utterance:
    """Sentences of at most 6 s, drawn from the grammar, with pauses at which a detector can cut."""
    rng, parts, length_s = Random(SEED), [], 0.0
    while length_s < MINUTE_S:
        try:
            spoken = _say(speaker, sentence(rng, language, 10), language, voice, speed)
        except ValueError:
            continue
        if len(spoken.words) < 3 or spoken.seconds > LONGEST_SENTENCE_S:
            continue
        parts.append(in_silence(spoken, 0.0 if parts else 0.3, rng.uniform(*PAUSE_S)))
        length_s += parts[-1].seconds
    return joined(parts)


def _in_a_quiet_room(spoken: Utterance, noise_rng: np.random.Generator) -> Utterance:
    samples = 0.5 * spoken.samples / np.abs(spoken.samples).max()
    noise = coloured_noise(noise_rng, len(samples), 0.5)
    level = np.sqrt(np.mean(samples**2)) * 10 ** (NOISE_DB / 20)
    samples = samples + noise / np.sqrt(np.mean(noise**2)) * level
    return Utterance(samples.astype(np.float32), spoken.language, spoken.words, spoken.times_s)


def _write(path: Path, columns: tuple[str, ...], rows: list[tuple]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
