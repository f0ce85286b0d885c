"""Text of all kinds for property tests, and tokens that make it up."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from hypothesis import strategies as st

from transforms.text.tokens import Token

_PIECES = st.sampled_from(
    "Hello, world. don't (see) “quoted” ‘Don’t!’ 3.50 $5 50% R&D — … ?! -- ... ¿Qué? Straße ЁЖ привет. «Oui» "
    "[x] # @you e.g. Mr. A. 你好， 世界。 図書館は 「はい」 안녕하세요. שלום، مرحبا؟ हिन्दी। ภาษาไทย"
    " é ﬁ İ 👩‍👩‍👧 🇸🇪 ❤️ 𝒳 葛󠄀".split(" ")
)
_GLUE = st.sampled_from(["", " ", " ", "  ", "\n", "\u00a0", "\u3000"])
_ANYTHING = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)

TEXTS = st.one_of(
    st.lists(st.tuples(_PIECES, _GLUE), max_size=10).map(lambda parts: "".join(a + b for a, b in parts)), _ANYTHING
).map(str.strip)
"""Stripped, as engines return it."""
LANGUAGES = st.sampled_from(["en", "de", "zh", "yue", "ja", "th", "ar", None])


def tokens_of(text: str, cuts: Sequence[int]) -> list[Token]:
    """The text in pieces, divided at `cuts` as far as they lie inside."""
    edges = [0, *sorted({cut for cut in cuts if 0 < cut < len(text)}), len(text)]
    return [Token(start, end) for start, end in pairwise(edges) if start < end]
