"""A transcript against its reference: errors in words and characters, whether the confidences were right, and how far
the word times are off. Plain functions; references.py and evaluations.py bring them to the tables."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from transforms.text.normalize import normalizer

Word = Mapping[str, Any]
"""A row of the table words, or of reference words: word, start_ms, end_ms, confidence."""
Span = tuple[int, int]
"""First token and the one after the last."""
Opcode = tuple[str, int, int, int, int]
"""A kind (equal, replace, delete, insert) and the spans it has in the reference and in the hypothesis."""
Piece = tuple[str, str]
"""A kind (equal, delete, insert) and the text of it."""

BINS = 10
_KINDS = {"equal": "equal", "replace": "substitute", "delete": "delete", "insert": "insert"}


def score(
    reference: str,
    hypothesis: str,
    language: str | None,
    words: Sequence[Word] = (),
    reference_words: Sequence[Word] = (),
    *,
    simplified: bool = False,
) -> dict[str, Any]:
    """The columns of EVALUATIONS that come from the texts. `words` are those of `hypothesis` in order, for calibration
    and times; `reference_words` those of `reference`, where its times are known. `simplified`: traditional
    Chinese counts as simplified.

    The alignment is one with the fewest errors (Levenshtein), as jiwer's and sclite's; a word of several normalized
    tokens ("won't") is right if all of them are.
    """
    normal = normalizer(language, simplified=simplified)
    expected, found = normal.tokens(reference), normal.tokens(hypothesis)
    aligned = opcodes(expected, found)
    counts = dict.fromkeys(_KINDS, 0)
    for kind, first, last, found_first, found_last in aligned:
        counts[kind] += max(last - first, found_last - found_first)
    errors = counts["replace"] + counts["delete"] + counts["insert"]
    characters, character_errors = _characters(normal.joined(expected), normal.joined(found))
    pairs = [
        (token, found_first + token - first)
        for kind, first, last, found_first, _ in aligned
        if kind == "equal"
        for token in range(first, last)
    ]
    clean = functools.lru_cache(maxsize=100_000)(lambda word: tuple(normal.tokens(word)))
    spans = spans_of(words, found, clean)
    return {
        "normalization": normal.name,
        "unit": normal.unit,
        "words": len(expected),
        "substitutions": counts["replace"],
        "deletions": counts["delete"],
        "insertions": counts["insert"],
        "wer": errors / len(expected) if expected else None,
        "characters": characters,
        "character_errors": character_errors,
        "cer": character_errors / characters if characters else None,
        "alignment": [
            {
                "kind": _KINDS[kind],
                "reference": normal.joined(expected[first:last]) or None,
                "hypothesis": normal.joined(found[found_first:found_last]) or None,
            }
            for kind, first, last, found_first, found_last in aligned
        ],
        "calibration": calibration(words, spans, {token for _, token in pairs}),
        **_times(pairs, words, spans, reference_words, spans_of(reference_words, expected, clean)),
    }


def opcodes(reference: Sequence[str], hypothesis: Sequence[str]) -> list[Opcode]:
    """What turns the reference into the hypothesis with the fewest errors, in order; a replaced stretch is as long on
    both sides."""
    from rapidfuzz.distance import Levenshtein

    return [
        (code.tag, code.src_start, code.src_end, code.dest_start, code.dest_end)
        for code in Levenshtein.opcodes(reference, hypothesis)
    ]


def _characters(reference: str, hypothesis: str) -> tuple[int, int]:
    from rapidfuzz.distance import Levenshtein

    return len(reference), Levenshtein.distance(reference, hypothesis)


def spans_of(words: Sequence[Word], tokens: Sequence[str], clean: Callable[[str], Sequence[str]]) -> list[Span | None]:
    """Which of `tokens`, which are the normalized text of all words, each word became.

    Normalization looks beyond a word ("twenty one" is one token, "21"): such words share their tokens. None for a word
    of which nothing is left ("uh", a dash).
    """
    alone = [(token, index) for index, word in enumerate(words) for token in clean(word["word"])]
    spans: list[Span | None] = [None] * len(words)

    def widen(owners: Iterable[int], first: int, last: int) -> None:
        for owner in owners if first < last else ():
            before = spans[owner]
            spans[owner] = (min(first, before[0]), max(last, before[1])) if before else (first, last)

    at, token = 0, 0  # where the last equal stretch ended: all in between belongs together
    for kind, first, last, token_first, token_last in opcodes([text for text, _ in alone], tokens):
        if kind == "equal":
            widen({owner for _, owner in alone[at:first]}, token, token_first)
            for offset in range(last - first):
                widen([alone[first + offset][1]], token_first + offset, token_first + offset + 1)
            at, token = last, token_last
    widen({owner for _, owner in alone[at:]}, token, len(tokens))
    return spans


def calibration(words: Sequence[Word], spans: Sequence[Span | None], right: set[int]) -> list[dict[str, Any]]:
    """Words with a confidence by tenths of it. `right` are the tokens that the reference has, too."""
    bins: dict[int, dict[str, Any]] = {}
    for word, span in zip(words, spans, strict=True):
        confidence = word.get("confidence")
        if span is None or confidence is None:
            continue
        index = min(int(confidence * BINS), BINS - 1)
        found = bins.setdefault(index, {"bin": index, "words": 0, "right": 0, "confidence_sum": 0.0})
        found["words"] += 1
        found["right"] += right.issuperset(range(*span))
        found["confidence_sum"] += confidence
    return [bins[index] for index in sorted(bins)]


def calibration_error(bins: Iterable[Mapping[str, Any]]) -> float | None:
    """Expected calibration error (Naeini et al. 2015): how far confidence and the share of right words are apart, over
    bins weighted by their words; 0 is perfect. None without words."""
    bins = list(bins)
    total = sum(found["words"] for found in bins)
    return sum(abs(found["right"] - found["confidence_sum"]) for found in bins) / total if total else None


def _times(
    pairs: Sequence[tuple[int, int]],
    words: Sequence[Word],
    spans: Sequence[Span | None],
    reference_words: Sequence[Word],
    reference_spans: Sequence[Span | None],
) -> dict[str, Any]:
    """timed_words and time_errors: of a word of several tokens, its start counts at the first and its end at the
    last."""
    if not reference_words:
        return {"timed_words": None, "time_errors": None}
    starts, ends = _edges(spans)
    reference_starts, reference_ends = _edges(reference_spans)
    found, errors = dict(pairs), []
    for index, (word, span) in enumerate(zip(reference_words, reference_spans, strict=True)):
        if span is None:
            continue
        first, last = span[0], span[1] - 1
        start = starts.get(found.get(first, -1)) if reference_starts[first] == index else None
        end = ends.get(found.get(last, -1)) if reference_ends[last] == index else None
        error = {
            "word": word["word"],
            "start_error_ms": None if start is None else _difference(words[start]["start_ms"], word["start_ms"]),
            "end_error_ms": None if end is None else _difference(words[end]["end_ms"], word["end_ms"]),
        }
        if error["start_error_ms"] is not None or error["end_error_ms"] is not None:
            errors.append(error)
    timed = sum(word["start_ms"] is not None for word in reference_words)
    return {"timed_words": timed, "time_errors": errors}


def _edges(spans: Sequence[Span | None]) -> tuple[dict[int, int], dict[int, int]]:
    """By token, the word that starts and the one that ends with it: of words that share a token, the first and the
    last."""
    starts: dict[int, int] = {}
    ends: dict[int, int] = {}
    for index, span in enumerate(spans):
        if span is not None:
            starts.setdefault(span[0], index)
            ends[span[1] - 1] = index
    return starts, ends


def _difference(found_ms: int | None, reference_ms: int | None) -> int | None:
    return None if found_ms is None or reference_ms is None else found_ms - reference_ms


def difference(alignment: Sequence[Mapping[str, Any]], unit: str, around: int = 4, most: int = 8) -> list[Piece]:
    """The differences of an alignment with `around` words (or characters) of agreement before and after each, to be
    shown to a person; after `most` differences it ends in '…'."""
    pieces: list[Piece] = []
    differences = 0
    for position, stretch in enumerate(alignment):
        if stretch["kind"] != "equal":
            differences += 1
            if differences > most:
                return [*pieces, ("equal", "…")]
            pieces += [("delete", stretch["reference"])] if stretch["reference"] else []
            pieces += [("insert", stretch["hypothesis"])] if stretch["hypothesis"] else []
            continue
        gap = " " if unit == "word" else ""
        tokens = stretch["reference"].split() if unit == "word" else list(stretch["reference"])
        head = 0 if position == 0 else around
        tail = 0 if position == len(alignment) - 1 else around
        if len(tokens) > head + tail + 1:
            tokens = [*tokens[:head], "…", *tokens[len(tokens) - tail :]]
        pieces.append(("equal", gap.join(tokens)))
    return pieces
