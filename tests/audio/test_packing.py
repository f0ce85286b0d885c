from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.config import PackingConfig, VadConfig
from transforms.audio.packing import ChunkSpan, Packer
from transforms.audio.vad import Span

_RATE = 16_000


class Setting(NamedTuple):
    vad: VadConfig
    packing: PackingConfig

    def packer(self) -> Packer:
        return Packer(self.vad, self.packing)


_SETTINGS = st.builds(
    lambda pad_ms, chunk_s, gap_s: Setting(
        VadConfig(pad_ms=pad_ms), PackingConfig(max_chunk_s=chunk_s, max_gap_s=gap_s)
    ),
    st.sampled_from([0, 1, 30, 400, 5000]),
    st.sampled_from([2.0, 5.03, 28.0]),
    st.sampled_from([0.0, 0.5, 2.0, 40.0]),
)


@st.composite
def _speech(draw: st.DrawFn) -> tuple[Setting, list[Span], int]:
    """Spans in order as VAD gives them, neighbours that touch included, and the length of the stream."""
    setting = draw(_SETTINGS)
    longest = setting.packer().max_span_samples
    at, spans = 0, []
    gaps = st.sampled_from([0, 1, 5000]) | st.integers(0, 8 * _RATE)
    for gap, length in draw(st.lists(st.tuples(gaps, st.integers(1, longest) | st.just(longest)), max_size=25)):
        spans.append(Span(at + gap, at + gap + length))
        at += gap + length
    return setting, spans, at + draw(st.sampled_from([0, 1, 20_000]))


def _packed(setting: Setting, spans: Sequence[Span], total: int) -> list[ChunkSpan]:
    packer = setting.packer()
    return [chunk for span in spans for chunk in packer.push(span)] + packer.finish(total)


@given(_speech())
def test_every_span_is_in_exactly_one_chunk(speech: tuple[Setting, list[Span], int]) -> None:
    chunks = _packed(*speech)
    for span in speech[1]:
        assert sum(chunk.start <= span.start and span.end <= chunk.end for chunk in chunks) == 1
    assert sum(chunk.speech_samples for chunk in chunks) == sum(span.end - span.start for span in speech[1])


@given(_speech())
@example((Setting(VadConfig(pad_ms=5000), PackingConfig(max_chunk_s=2.0)), [Span(90_000, 100_000)], 200_000))
def test_chunks_are_in_order_apart_inside_the_stream_and_never_too_long(
    speech: tuple[Setting, list[Span], int],
) -> None:
    setting, _, total = speech
    chunks = _packed(*speech)
    assert all(0 <= chunk.start < chunk.end <= total for chunk in chunks)
    assert all(before.end <= after.start for before, after in pairwise(chunks))
    assert all(chunk.end - chunk.start <= setting.packing.max_chunk_s * _RATE for chunk in chunks)


@given(_speech(), st.data())
def test_it_does_not_matter_when_silence_is_told(speech: tuple[Setting, list[Span], int], data: st.DataObject) -> None:
    """`advance` lets a chunk come earlier; it may not change it. And no chunk begins before `needed_from`."""
    setting, spans, total = speech
    packer, chunks, needed = setting.packer(), [], 0
    settled = 0
    for index, span in enumerate([*spans, None]):
        latest = total if span is None else span.start
        for later in sorted(data.draw(st.lists(st.integers(settled, latest), max_size=3), label=f"advance {index}")):
            settled = later
            new = packer.advance(settled)
            assert all(chunk.start >= needed for chunk in new)
            chunks += new
            needed = packer.needed_from(settled)
        new = packer.finish(total) if span is None else packer.push(span)
        assert all(chunk.start >= needed for chunk in new)
        chunks += new
        settled = latest
        needed = max(needed, packer.needed_from(settled))
    assert chunks == _packed(setting, spans, total)


@given(_speech())
def test_padding_never_reaches_into_the_speech_of_a_neighbour(speech: tuple[Setting, list[Span], int]) -> None:
    setting, spans, total = speech
    pad = setting.vad.pad_ms * _RATE // 1000
    for chunk in _packed(setting, spans, total):
        inside = [span for span in spans if chunk.start <= span.start and span.end <= chunk.end]
        assert inside[0].start - chunk.start <= pad
        assert chunk.end - inside[-1].end <= pad
        assert not [span for span in spans if span not in inside and span.start < chunk.end and chunk.start < span.end]


@given(_speech())
def test_a_long_silence_always_ends_a_chunk(speech: tuple[Setting, list[Span], int]) -> None:
    setting, spans, _ = speech
    gap = max(setting.packing.max_gap_s * _RATE, 2 * setting.vad.pad_ms * 16)
    chunks = _packed(*speech)
    for before, after in pairwise(spans):
        if after.start - before.end > gap:
            assert not [chunk for chunk in chunks if chunk.start < before.end and after.start < chunk.end]


def _at(*seconds: float) -> list[Span]:
    ends = [int(second * _RATE) for second in seconds]
    return [Span(start, end) for start, end in zip(ends[::2], ends[1::2], strict=True)]


def test_a_full_chunk_ends_at_the_longest_pause_of_its_second_half() -> None:
    setting = Setting(VadConfig(pad_ms=0), PackingConfig(max_chunk_s=10, max_gap_s=2))
    spans = _at(0, 1, 2.5, 5.5, 6.5, 8, 8.3, 9.5, 9.8, 12)
    chunks = _packed(setting, spans, 15 * _RATE)
    assert [(chunk.start / _RATE, chunk.end / _RATE) for chunk in chunks] == [(0, 5.5), (6.5, 12)]


def test_short_speech_is_packed_together_and_padded_on_both_sides() -> None:
    setting = Setting(VadConfig(pad_ms=400), PackingConfig(max_chunk_s=28, max_gap_s=2))
    chunks = _packed(setting, _at(0.1, 1, 2, 3, 10, 11), 11 * _RATE + 1600)
    assert [(chunk.start / _RATE, chunk.end / _RATE) for chunk in chunks] == [(0, 3.4), (9.6, 11.1)]


def test_neighbours_share_the_pause_between_them() -> None:
    """Only speech that was cut for its length leaves chunks that touch."""
    setting = Setting(VadConfig(pad_ms=400), PackingConfig(max_chunk_s=4, max_gap_s=2))
    chunks = _packed(setting, _at(1, 4, 4.5, 7), 10 * _RATE)
    assert [(chunk.start / _RATE, chunk.end / _RATE) for chunk in chunks] == [(0.6, 4.25), (4.25, 7.4)]


def test_silence_lets_a_chunk_go_before_the_stream_ends() -> None:
    packer = Setting(VadConfig(), PackingConfig(max_gap_s=2)).packer()
    (span,) = _at(1, 2)
    assert packer.push(span) == []
    assert packer.advance(int(3.9 * _RATE)) == []
    assert packer.needed_from(int(3.9 * _RATE)) == int(0.6 * _RATE)
    assert len(packer.advance(int(4.1 * _RATE))) == 1
    assert packer.needed_from(int(60 * _RATE)) == int(59.6 * _RATE)


@pytest.mark.parametrize("span", [Span(15, 30), Span(40, 40), Span(50, 45)])
def test_spans_out_of_order_are_refused(span: Span) -> None:
    packer = Setting(VadConfig(), PackingConfig()).packer()
    packer.push(Span(10, 20))
    with pytest.raises(ValueError, match="in order"):
        packer.push(span)
