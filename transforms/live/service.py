"""The engines at work for all requests at once: one Transcriber in a thread of its own, and a thread for each recording
that is being read."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Literal

from schemas.config import AUTO_PER_CHUNK, Config
from schemas.parts import are_whole
from schemas.tables import CHUNKS
from transforms.audio.front import Chunk, Closing, StageClock, Work
from transforms.engines import Hypothesis, Utterance, languages_of, unload
from transforms.errors import MachineError, RecordingError
from transforms.logs import tell
from transforms.recognition.languages import only_spoken
from transforms.recognition.rows import TaskSpec
from transforms.recognition.transcriber import Transcriber


@dataclass(frozen=True)
class Peeked:
    """The reading of what is still being said in an order; `id` as it was asked for."""

    id: Any
    reading: Hypothesis | RecordingError


Delivery = dict[str, Any] | Peeked | MachineError | None
"""A row of the table chunks, or a reading in between; None after all of them, or what ended it before."""

_NOTHING = dict.fromkeys(CHUNKS.names)
_BATCHES_IN_HAND = 2
"""Of one recording, so that a long one leaves room for others."""
_LOADED_AGAIN_S = 5.0
_LOADS_IN_A_ROW = 3


@dataclass
class Order:
    """A recording that is being transcribed, with the `config` that cuts it into chunks. `deliver` is called in the
    service's thread. `in_hand_s`: audio of what is with the engines, by part, channel and chunk. `first`: how the first
    part was closed."""

    work: Work
    config: Config
    deliver: Callable[[Delivery], None]
    withdrawn: bool = False
    in_hand_s: dict[tuple[int, int | None, int], float] = field(default_factory=dict)
    first: dict[str, Any] | None = None
    closed: dict[int, bool] = field(default_factory=dict)
    """The parts whose rows are all there, and whether another follows."""

    @property
    def complete(self) -> bool:
        """Later parts may be closed before earlier ones."""
        return are_whole(self.closed)


def work_of(
    number: str, uri: str | None, language: str | None, context: str | None, channels: Literal["mix", "split"] = "mix"
) -> Work:
    """What was sent, as a row of the job's work; without `uri` it is still being said."""
    source: Literal["given"] | None = "given" if language not in (None, AUTO_PER_CHUNK) else None
    return Work(number, "", "", uri, None, language, source, context, channels, 0, None, {})


class Service:
    """A context manager: the engines are loaded in its thread, and loaded again when they are lost. `died` is called
    when they cannot be had again."""

    def __init__(self, spec: TaskSpec, died: Callable[[], None]) -> None:
        self._spec, self._died = spec, died
        self._most_in_hand_s = _BATCHES_IN_HAND * spec.config.batching.max_padded_audio_s
        self._front = only_spoken(languages_of(spec.recognizer))
        self._bell = threading.Condition()
        self._inbox: deque[Chunk | Closing] = deque()
        self._peeks: deque[tuple[tuple[str, Any], Utterance]] = deque()
        self._orders: dict[str, Order] = {}
        self._stopped = False
        self._thread = threading.Thread(target=self._run, daemon=True, name="service")
        self.on_loss: Callable[[], None] = lambda: None
        self.on_effort: Callable[[float, float], None] = lambda busy_s, audio_s: None
        """Told again and again for how long the recognizer was at work, and of how much audio."""
        self.ready = False
        """True while the engines are loaded."""
        self.waiting_s = 0.0
        """Audio that waits for an engine, in seconds: what admission goes by."""

    def __enter__(self) -> Service:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._bell:
            self._stopped = True
            self._bell.notify_all()
        self._thread.join()

    @property
    def orders(self) -> int:
        return len(self._orders)

    def begin(self, work: Work, config: Config, deliver: Callable[[Delivery], None]) -> Order:
        """Transcribes a recording, whose audio_id no other has that is at work. What is wrong with it is told by its
        closing row."""
        order = self.open(work, config, deliver)
        threading.Thread(target=self._read, args=(order,), daemon=True, name=f"front-{work.audio_id}").start()
        return order

    def open(self, work: Work, config: Config, deliver: Callable[[Delivery], None]) -> Order:
        """The same for what is still being said: its chunks, and at last its closing, are to be offered."""
        order = Order(work, config, deliver)
        with self._bell:
            self._orders[work.audio_id] = order
        return order

    def offer(self, order: Order, event: Chunk | Closing) -> None:
        """Takes the next event of an open order."""
        with self._bell:
            if isinstance(event, Chunk):
                order.in_hand_s[event.work.part_index, event.channel, event.chunk_index] = event.audio_s
            self._inbox.append(event)
            self._bell.notify_all()

    def has_room(self, order: Order) -> bool:
        return sum(order.in_hand_s.values()) < self._most_in_hand_s

    def peek(self, order: Order, id: Any, utterance: Utterance) -> None:
        """Reads what is still being said; the answer is delivered as Peeked."""
        with self._bell:
            self._peeks.append(((order.work.audio_id, id), utterance))
            self._bell.notify_all()

    def withdraw(self, order: Order) -> None:
        """Nobody waits for it any more: nothing of it is delivered, and no more of it is read."""
        with self._bell:
            order.withdrawn = True
            self._bell.notify_all()

    def _read(self, order: Order) -> None:
        """Part after part, as the job does them: the later ones in the language that the first was found to be in."""
        work: Work | None = order.work
        while work is not None:
            closing = self._read_part(order, work)
            work = self._next_part(order, work) if closing.continues else None

    def _read_part(self, order: Order, work: Work) -> Closing:
        closing = Closing(work)
        try:
            for event in self._front(work, order.config, StageClock()):
                if not self._put(order, event):
                    break
                if isinstance(event, Closing):
                    return event
        except Exception as error:
            name = type(error).__name__
            tell(f"the front end failed: {name}: {error}", logging.ERROR, audio_id=work.audio_id)
            closing.error = RecordingError("decode", name, f"{work.name} could not be read: {name}; please report it")
        self.offer(order, closing)
        return closing

    def _next_part(self, order: Order, work: Work) -> Work | None:
        with self._bell:
            self._bell.wait_for(lambda: self._stopped or order.withdrawn or order.first is not None)
            if self._stopped:
                return None
        # Of an order that was withdrawn the next part is begun, too: it ends at once, and the order with it.
        found = None if work.language_source == "given" or order.first is None else order.first["language"]
        if found is not None:
            work = replace(work, language=found, language_source="detected")
        return replace(work, part_index=work.part_index + 1)

    def _put(self, order: Order, event: Chunk | Closing) -> bool:
        """Waits until there is room; False if nobody wants it any more."""
        with self._bell:
            self._bell.wait_for(lambda: self._stopped or order.withdrawn or self.has_room(order))
            if self._stopped or order.withdrawn:
                return False
        self.offer(order, event)
        return True

    def _run(self) -> None:
        failed = 0
        while not self._stopped:
            try:
                began_at = time.monotonic()
                transcriber = Transcriber(self._spec, self._bell, lambda closing, undone: None, fair=True)
                tell(f"engine '{self._spec.engine_name}' is loaded ({time.monotonic() - began_at:.0f} s)")
                self.ready = True
                self._serve(transcriber)
            except Exception as error:
                failed = 1 if self.ready else failed + 1
                self._lose(error)
                if failed == _LOADS_IN_A_ROW:
                    self._died()
                    return
                with self._bell:
                    self._bell.wait_for(lambda: self._stopped, _LOADED_AGAIN_S)

    def _serve(self, transcriber: Transcriber) -> None:
        while True:
            with self._bell:
                self._bell.wait_for(lambda: self._inbox or self._peeks or transcriber.ready or self._stopped)
                if self._stopped:
                    return
            self._go_round(transcriber)

    def _go_round(self, transcriber: Transcriber) -> None:
        """Once: what has come is taken, what can be done is done, what is there is delivered."""
        with self._bell:
            events, self._inbox = self._inbox, deque()
            peeks, self._peeks = self._peeks, deque()
        for event in events:
            if event.work.audio_id in self._orders:
                transcriber.take(event)
        for id, utterance in peeks:
            transcriber.peek(id, utterance)
        transcriber.go_on()
        transcriber.hurry()
        peeked, transcriber.peeked = transcriber.peeked, []
        for (audio_id, id), reading in peeked:
            if (order := self._orders.get(audio_id)) is not None and not order.withdrawn:
                order.deliver(Peeked(id, reading))
        rows, transcriber.rows = transcriber.rows, []
        for row in rows:
            self._deliver(_NOTHING | row)
        self.waiting_s = transcriber.waiting_s
        self.on_effort(*transcriber.effort())

    def _deliver(self, row: dict[str, Any]) -> None:
        order = self._orders[row["audio_id"]]
        with self._bell:
            order.in_hand_s.pop((row["part_index"], row["channel"], row["chunk_index"]), None)
            if closing := row["closing"]:
                order.closed[row["part_index"]] = closing["continues"]
                if row["part_index"] == 0:
                    order.first = closing
            if order.complete:
                del self._orders[row["audio_id"]]
            self._bell.notify_all()
        if not order.withdrawn:
            order.deliver(row)
            if order.complete:
                order.deliver(None)

    def _lose(self, error: Exception) -> None:
        """The engines are gone, and with them all that they had in hand."""
        tell(f"the engines are lost: {type(error).__name__}: {error}", logging.ERROR)
        self.on_loss()
        with self._bell:
            orders, self._orders = list(self._orders.values()), {}
            self._inbox.clear()
            self._peeks.clear()
            self.ready, self.waiting_s = False, 0.0
            for order in orders:
                order.withdrawn = True
            self._bell.notify_all()
        for order in orders:
            order.deliver(MachineError("the server lost its engine while it was at work on this; try again"))
        unload()
