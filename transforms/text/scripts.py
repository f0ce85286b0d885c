"""Scripts that write no blanks between words, and the languages that are written in them."""

from __future__ import annotations

CHARACTER_LANGUAGES = frozenset({"zh", "yue"})
"""A word is one character."""
UNSPACED_LANGUAGES = frozenset({"ja", "th", "lo", "my", "km", "bo"})
"""Written without spaces, but a character is no word: dictionaries know the words."""
COUNTED_IN_CHARACTERS = (CHARACTER_LANGUAGES | UNSPACED_LANGUAGES) - {"bo"}
"""Whose errors are counted in characters: those that the Whisper paper (appendix C) counts so, and Cantonese and Khmer,
which are written so, too. Tibetan divides its syllables with a mark."""

HAN = r"\u2e80-\u2fdf\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
"""Chinese characters, as the inside of a regular expression's brackets."""
UNSPACED = rf"[{HAN}\u3000-\u30ff\uff00-\uffef\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u0f00-\u0fff]"
"""A regular expression: a character of a script that writes no blanks between words."""
