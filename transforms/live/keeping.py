"""What sessions say, kept as it comes: their sound as FLAC, and what was told of each utterance as rows of
schemas.tables.LIVE_UTTERANCES.

While a session goes on, its sound lies in a folder of this machine, locked (flock). Once it is over it is brought to
its place, and so is what a server that was killed has left there, by the next one or by another that shares the folder.
"""

from __future__ import annotations

import datetime
import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from schemas.config import SAMPLE_RATE_HZ, FetchConfig
from schemas.table import audio_id_of
from transforms.logs import tell
from transforms.publishing.transcript import speaker_of
from transforms.stores.fetch import local_path, spelled
from transforms.stores.files import write_whole
from transforms.stores.scratch import held, hold
from transforms.text.segments import confidence_of

_EVERY_S = 2.0
"""How often rows are written: so much of them is lost with a server, and none of the sound they were read from; and how
much sound with a machine."""
_BETWEEN = "_"
"""In the spool's names, between day and session."""
_ROWS = "rows"
_COPIED_BYTES = 1 << 20


class Kept:
    """One session: `uri` is where its sound lies once it is over."""

    def __init__(self, keeper: Keeper, uri: str, path: Path) -> None:
        self._keeper, self.uri, self._path = keeper, uri, path
        self._file: Any = None
        self._lock: int | None = None
        self._failed = False
        self._unsafe_s = 0.0
        """Sound that the machine, not the process, may lose: each flush waits for the disk."""

    def hear(self, samples: NDArray[np.float32]) -> None:
        """The next of its sound: float32, 16 kHz, 1-D or (samples, channels). If it cannot be written that is told
        once, and the rest is not kept."""
        if self._failed or not len(samples):
            return
        try:
            if self._file is None:
                self._begin(1 if samples.ndim == 1 else samples.shape[1])
            self._file.write(np.clip(np.round(samples * 32768), -32768, 32767).astype(np.int16))
            self._unsafe_s += len(samples) / SAMPLE_RATE_HZ
            if self._unsafe_s >= _EVERY_S:
                self._file.flush()
                self._unsafe_s = 0.0
        except (OSError, soundfile.LibsndfileError) as error:
            self._failed = True
            self._keeper.fail(f"the sound of {self.uri} is not kept from here on: {error}")

    def said(self, row: Mapping[str, Any]) -> None:
        """An utterance, as a row of chunks."""
        self._keeper.add(self.uri, row)

    def end(self) -> None:
        """No more comes."""
        if self._file is not None:
            with suppress(soundfile.LibsndfileError):  # of a full disk, which was told of
                self._file.close()
        if self._lock is not None:
            os.close(self._lock)

    def _begin(self, channels: int) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(self._path, os.O_RDONLY | os.O_CREAT, 0o644)
        hold(self._lock)
        self._file = soundfile.SoundFile(self._path, "w", SAMPLE_RATE_HZ, channels, "PCM_16", format="FLAC")


class Keeper:
    """A context manager; a thread of its own writes. `folder`: a path or uri for the sound; `spool`: the folder of this
    machine where it lies meanwhile. `append` writes rows; if it raises they are tried again. `about`: what all rows
    have."""

    def __init__(
        self,
        folder: str,
        spool: Path,
        fetch: FetchConfig,
        about: Mapping[str, Any],
        append: Callable[[Sequence[Mapping[str, Any]]], None],
    ) -> None:
        self._folder, self._spool, self._fetch, self._about, self._append = folder, spool, fetch, dict(about), append
        self._bell = threading.Condition()
        self._rows: list[dict[str, Any]] = []
        self._stopped = False
        self._said: set[str] = set()
        self._thread = threading.Thread(target=self._work, daemon=True, name="keeper")
        self.on_failure: Callable[[], None] = lambda: None

    def __enter__(self) -> Keeper:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._bell:
            self._stopped = True
            self._bell.notify_all()
        self._thread.join()
        if self._rows:
            self.fail(f"{len(self._rows)} utterances are not in the tables; their sound is kept")

    def begin(self, number: str) -> Kept:
        day = datetime.datetime.now(datetime.UTC).date().isoformat()
        uri = spelled(f"{self._folder.rstrip('/')}/{day}/{number}.flac", self._fetch)
        return Kept(self, uri, self._spool / f"{day}{_BETWEEN}{number}.flac")

    def add(self, uri: str, row: Mapping[str, Any]) -> None:
        said = {
            **{name: row[name] for name in ("channel", "start_ms", "end_ms", "text", "language", "words", "flags")},
            "speaker": speaker_of(row["channel"]),
            "audio_id": audio_id_of(uri),
            "uri": uri,
            "utterance_index": row["chunk_index"],
            "confidence": confidence_of(row["words"] or ()),
            "said_at": datetime.datetime.now(datetime.UTC),
        }
        with self._bell:
            self._rows.append(said | self._about)

    def fail(self, sentence: str) -> None:
        self.on_failure()
        tell(sentence, logging.ERROR)

    def _work(self) -> None:
        stopped = False
        while not stopped:
            with self._bell:
                stopped = self._bell.wait_for(lambda: self._stopped, _EVERY_S)
            self._try(_ROWS, "utterances wait to be written", self._write)
            for path in sorted(self._spool.glob("*.flac")):
                self._try(path.name, f"{path} waits to be brought to {self._folder}", partial(self._bring, path))

    def _try(self, what: str, otherwise: str, act: Callable[[], None]) -> None:
        """What fails, for whatever reason, is told once and tried again: there is nobody else to do it."""
        try:
            act()
            self._said.discard(what)
        except Exception as error:
            if what not in self._said:
                self._said.add(what)
                self.fail(f"{otherwise}: {type(error).__name__}: {error}")

    def _write(self) -> None:
        with self._bell:
            rows = list(self._rows)
        if rows:
            self._append(rows)
            with self._bell:
                del self._rows[: len(rows)]

    def _bring(self, path: Path) -> None:
        """To its place, if its session is over, and no other server has brought it."""
        day, _, name = path.name.partition(_BETWEEN)
        # Nothing is in it where it is not locked yet.
        if not path.exists() or not path.stat().st_size or (lock := held(path)) is None:
            return
        try:
            folder = f"{self._folder.rstrip('/')}/{day}"
            local = local_path(folder)
            if local is not None:
                local.mkdir(parents=True, exist_ok=True)
                path.replace(local / name)
            else:
                with path.open("rb") as file:
                    write_whole(folder, name, iter(partial(file.read, _COPIED_BYTES), b""), self._fetch)
                path.unlink()
        finally:
            os.close(lock)
