from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.config import AUTO_PER_CHUNK
from tests.kit.works import work
from transforms.audio.front import Chunk, Work
from transforms.engines import Hypothesis
from transforms.recognition.languages import LanguageBook, Ready


@dataclass(frozen=True)
class Answer:
    """What the engine says of a chunk that it is to detect the language of; language None: it fails."""

    language: str | None
    probability: float = 0.9
    text: str = "said"
    fails: bool = False
    seconds: float = 1.0

    def hypothesis(self, given: str | None) -> Hypothesis | None:
        if self.fails:
            return None
        language, probability = (self.language, self.probability) if given is None else (given, 1.0)
        return Hypothesis(f"{self.text} in {language}" if self.text else "", language, probability, (), 1, None)


_ANSWERS = st.builds(
    Answer,
    language=st.sampled_from(["en", "de", "fr", None]),
    probability=st.sampled_from([0.1, 0.3, 0.5, 0.9]),
    text=st.sampled_from(["said", "said", ""]),
    fails=st.integers(0, 5).map(lambda number: number == 0),
    seconds=st.sampled_from([0.5, 1.0, 20.0]),
)
Outcome = dict[tuple[str, int], tuple[str | None, Hypothesis | None]]
"""(recording, chunk_index): the language it was recognized in the last time, and what stands."""


def _chunks(job: Work, answers: list[Answer]) -> list[Chunk]:
    return [
        Chunk(job, None, index, index * 1000, index * 1000 + 900, np.zeros(int(answer.seconds * 16_000), np.float32))
        for index, answer in enumerate(answers)
    ]


def _run(recordings: list[list[Answer]], order: random.Random | None, language: str | None = None) -> Outcome:
    """Plays a task: chunks come in, each recording's in their order, and ready ones are answered in any order; with
    `order` None one recording after the other."""
    book, ready, done = LanguageBook(), [], Outcome()
    jobs = [work(b"-", audio_id=str(number), language=language) for number in range(len(recordings))]
    waiting = [[*_chunks(job, answers), None] for job, answers in zip(jobs, recordings, strict=True)]

    def stand(found: list[Any]) -> None:
        for chunk, hypothesis in found:
            key = (chunk.work.audio_id, chunk.chunk_index)
            assert key not in done, "a chunk stands twice"
            done[key] = (hypothesis.language if hypothesis else None, hypothesis)

    while any(waiting) or ready:
        sources = [index for index, left in enumerate(waiting) if left]
        if sources and (not ready or order is None or order.random() < 0.5):
            source = order.choice(sources) if order else sources[0]
            event = waiting[source].pop(0)
            if event is None:
                standing, more = book.close(jobs[source])
                stand(standing)
                ready += more
            else:
                ready += book.offer(event)
        else:
            item = ready.pop(order.randrange(len(ready)) if order else 0)
            answer = recordings[int(item.chunk.work.audio_id)][item.chunk.chunk_index].hypothesis(item.language)
            if item.language is None:
                standing, more = book.heard(item.chunk, answer)
                stand(standing)
                ready += more
            if item.language is not None or answer is None:
                stand([(item.chunk, answer)])
    assert book.held_s == pytest.approx(0, abs=1e-6)
    return done


@given(st.lists(st.lists(_ANSWERS, max_size=6), min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_the_outcome_does_not_depend_on_order_or_company(recordings: list[list[Answer]], order: random.Random) -> None:
    outcome = _run(recordings, order)
    assert set(outcome) == {(str(r), c) for r, answers in enumerate(recordings) for c in range(len(answers))}
    alone = {
        (str(number), index): found
        for number, answers in enumerate(recordings)
        for (_, index), found in _run([answers], None).items()
    }
    assert outcome == alone


@given(st.lists(_ANSWERS, min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_one_language_a_recording_where_any_is_known(answers: list[Answer], order: random.Random) -> None:
    heard = [found for _, found in _run([answers], order).values() if found is not None]
    assert len({hypothesis.language for hypothesis in heard} - {None}) <= 1


def test_a_given_language_is_taken_at_once() -> None:
    book, job = LanguageBook(), work(b"-", language="sv")
    chunks = _chunks(job, [Answer(None)] * 3)
    assert [book.offer(chunk) for chunk in chunks] == [[Ready(chunk, "sv")] for chunk in chunks]
    assert book.language(job) == "sv"


def test_later_chunks_wait_for_the_first_clear_one() -> None:
    book, job = LanguageBook(), work(b"-")
    first, second, third = _chunks(job, [Answer("en", 0.2), Answer("de", 0.8), Answer(None)])
    assert book.offer(first) == [Ready(first, None)]
    assert (book.offer(second), book.offer(third)) == ([], [])
    assert book.held_s == 2.0
    assert book.heard(first, Answer("en", 0.2).hypothesis(None)) == ([], [Ready(second, None)])
    assert book.held_s == 1.0
    clear = Answer("de", 0.8).hypothesis(None)
    standing, ready = book.heard(second, clear)
    assert standing == [(second, clear)]
    assert ready == [Ready(first, "de"), Ready(third, "de")]
    assert (book.language(job), book.held_s) == ("de", 0.0)


@pytest.mark.parametrize(
    ("answers", "language"),
    [
        ([Answer("en", 0.4, seconds=1), Answer("de", 0.1, seconds=20)], "de"),
        ([Answer("en", 0.4), Answer("de", 0.3), Answer("de", 0.3)], "de"),
        ([Answer("fr", 0.3), Answer("de", 0.3)], "de"),
        ([Answer("en", 0.9, text=""), Answer("de", 0.49, seconds=0.5)], "en"),
        ([Answer(None, fails=True), Answer("en", 0.1)], "en"),
        ([Answer(None), Answer(None)], None),
    ],
)
def test_without_a_clear_chunk_all_of_them_vote(answers: list[Answer], language: str | None) -> None:
    outcome = _run([answers], None)
    assert {found[0] for found in outcome.values() if found[1]} == {language}


def test_the_parts_of_a_recording_and_a_forgotten_one_are_strangers() -> None:
    book, job = LanguageBook(), work(b"-")
    (chunk,) = _chunks(job, [Answer("en")])
    book.offer(chunk)
    book.heard(chunk, Answer("en").hypothesis(None))
    assert book.language(job) == "en"
    assert book.language(work(b"-", part_index=1)) is None
    book.forget(job)
    assert book.language(job) is None


@given(st.lists(_ANSWERS, max_size=6), st.randoms(use_true_random=False))
def test_per_chunk_each_chunk_has_the_language_heard_in_it(answers: list[Answer], order: random.Random) -> None:
    outcome = _run([answers], order, AUTO_PER_CHUNK)
    expected = {("0", index): answer.hypothesis(None) for index, answer in enumerate(answers)}
    assert outcome == {key: (found.language if found else None, found) for key, found in expected.items()}


def test_per_chunk_no_chunk_waits_and_no_language_is_decided() -> None:
    book, job = LanguageBook(), work(b"-", language=AUTO_PER_CHUNK)
    chunks = _chunks(job, [Answer("en", 0.1), Answer("de"), Answer(None)])
    assert [book.offer(chunk) for chunk in chunks] == [[Ready(chunk, None)] for chunk in chunks]
    assert book.held_s == 0.0
    clear = Answer("de").hypothesis(None)
    assert book.heard(chunks[1], clear) == ([(chunks[1], clear)], [])
    assert book.close(job) == ([], [])
    assert book.language(job) is None
